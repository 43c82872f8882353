"""The project's structure: layers, sizes and requirements."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT

SCRIPTS = sorted(p.name for p in ROOT.glob("*.py") if p.name != "model.py")


MODULES = sorted((ROOT / "songrec").glob("*.py"))


HEAVY = {"torch", "torchaudio", "librosa", "matplotlib", "pandas", "scipy", "PIL", "soundfile"}


def imports_of(path, top_level_only=False):
    """Return the modules a file imports; within functions too, unless only the top level."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "songrec":
                found |= {f"songrec.{alias.name}" for alias in node.names}
    return found


def test_the_root_holds_the_scripts_of_the_design():
    fixed = {
        "fma_dl.py",
        "spotify_specs.py",
        "spotify_slices.py",
        "load_training_data.py",
        "add_song.py",
        "load_csv.py",
        "recommender.py",
        "summary.py",
    }
    assert fixed <= set(SCRIPTS) and (ROOT / "model.py").exists()


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_import_the_package_and_never_each_other(script):
    others = {Path(name).stem for name in SCRIPTS} - {Path(script).stem}
    assert not {name.partition(".")[0] for name in imports_of(ROOT / script)} & others


def test_the_package_takes_only_the_network_from_the_root():
    stems = {Path(name).stem for name in SCRIPTS}
    for module in MODULES:
        assert not imports_of(module) & stems, module.name
    users = {module.stem for module in MODULES if "model" in imports_of(module)}
    assert users <= {"training", "embedding", "checkpoint"}
    assert not {n for n in imports_of(ROOT / "model.py") if n.startswith("songrec")}


def test_data_flows_one_way_through_the_package():
    graph = {
        f"songrec.{module.stem}": {n for n in imports_of(module) if n.startswith("songrec.")}
        for module in MODULES
    }
    done, under_way = set(), []

    def visit(name):
        assert name not in under_way, f"circle: {[*under_way, name]}"
        if name not in done:
            under_way.append(name)
            for other in graph.get(name, ()):
                visit(other)
            done.add(under_way.pop())

    for name in graph:
        visit(name)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_start_light_and_fit_on_two_screens(script):
    at_top = {name.partition(".")[0] for name in imports_of(ROOT / script, top_level_only=True)}
    assert not at_top & HEAVY
    assert len((ROOT / script).read_text().splitlines()) <= 170
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {Path(script).stem}; "
    code += f"print(sorted(set(sys.modules) & {HEAVY!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_functions_are_documented():
    for module in [*MODULES, ROOT / "model.py", *(ROOT / name for name in SCRIPTS)]:
        tree = ast.parse(module.read_text())
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
        for node in [*tree.body, *(node for a_class in classes for node in a_class.body)]:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{module.name}: {node.name}"


def test_requirements_name_what_the_code_imports():
    named = {
        re.split(r"[<>=~\[ ]", line)[0].lower()
        for file in ("requirements.txt", "requirements-peers.txt")
        for line in (ROOT / file).read_text().splitlines()
        if line and not line.startswith("#")
    }
    used = set()
    for path in [*MODULES, *ROOT.glob("*.py"), *(ROOT / "tools").glob("*.py")]:
        used |= {name.partition(".")[0] for name in imports_of(path)}
    local = {Path(name).stem for name in SCRIPTS} | {"songrec", "model"}
    named = {name.replace("-", "_") for name in named}
    missing = used - set(sys.stdlib_module_names) - local - named - {"PIL"}
    assert not missing
    required = "torch torchaudio librosa numpy pandas pillow spotdl requests tqdm torchinfo"
    assert set(required.split()) <= named
    # spotdl runs as a command; torchaudio is imported by name where it can be.
    unused = named - used - {"pillow", "spotdl", "torchaudio"}
    assert not unused, f"required but not used: {unused}"
