"""The project's structure: layers, sizes and requirements."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import ROOT

# From low to high: a module imports only from its own layer and from lower ones.
LAYERS = [
    {"advice", "errors", "names", "files"},
    {"sound"},
    {"store"},
    {"network"},
    {"runs"},
    {"recommend"},
    {"learning"},
    {"web"},
    {"intake"},
    {"evaluation"},
    {"cli"},
]
# A layer of its own below the package: the networks, which know nothing of it.
NETWORKS = "model"
USERS_OF_NETWORKS = {"network", "learning"}
SCRIPTS = sorted(p.name for p in ROOT.glob("*.py") if p.stem != NETWORKS)
MODULES = sorted((ROOT / "songrec").rglob("*.py"))
FRONT_ENDS = [
    *(ROOT / name for name in SCRIPTS),
    *(p for folder in ("training", "benchmarks", "tools") for p in (ROOT / folder).rglob("*.py")),
]
HEAVY = {"torch", "torchaudio", "librosa", "matplotlib", "pandas", "scipy", "PIL", "soundfile"}


def in_repository(path):
    return path.relative_to(ROOT).as_posix()


def imports_of(path, top_level_only=False):
    """Return the modules a file imports; within functions too, unless only the top level.

    `from a.b import c` counts as a.b and as a.b.c, which may be a module as well.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else ast.walk(tree)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{in_repository(path)}: imports are absolute"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def layer_of(name):
    """Return the number of the layer of a module of the package, given without "songrec."."""
    first = name.partition(".")[0]
    (number,) = (n for n, names in enumerate(LAYERS) if first in names)
    return number


def imported_from_package(path):
    """Return what a file imports from songrec, without "songrec."."""
    names = {name.removeprefix("songrec.") for name in imports_of(path) if "songrec." in name}
    return {name for name in names if (ROOT / "songrec" / name.partition(".")[0]).is_dir()
            or (ROOT / f"songrec/{name.partition('.')[0]}.py").is_file()}  # fmt: skip


def test_every_import_goes_to_the_same_layer_or_a_lower_one():
    wrong = []
    for path in MODULES:
        own = path.relative_to(ROOT / "songrec").with_suffix("").as_posix().replace("/", ".")
        if own == "__init__":
            continue
        for other in imported_from_package(path):
            if layer_of(other) > layer_of(own):
                wrong.append(f"{own} imports {other}")
    assert not wrong


def test_every_part_of_the_package_has_a_layer():
    parts = {path.stem for path in (ROOT / "songrec").iterdir() if path.stem[0] != "_"}
    assert parts == set.union(*LAYERS)


def test_modules_of_a_layer_do_not_import_each_other_in_circles():
    graph = {
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): imports_of(path)
        for path in MODULES
    }
    done, under_way = set(), []

    def visit(name):
        assert name not in under_way, f"circle: {[*under_way, name]}"
        if name in graph and name not in done:
            under_way.append(name)
            for other in graph[name] - {name}:
                visit(other)
            done.add(under_way.pop())

    for name in graph:
        visit(name)


def test_only_scripts_import_the_command_line():
    users = {
        path
        for path in MODULES
        if {n.partition(".")[0] for n in imported_from_package(path)} & {"cli"}
    }
    assert {path.parent.name for path in users} <= {"cli"}


@pytest.mark.parametrize("path", FRONT_ENDS, ids=in_repository)
def test_scripts_of_the_root_are_imported_by_nobody(path):
    stems = {Path(name).stem for name in SCRIPTS} - {path.stem}
    assert not {name.partition(".")[0] for name in imports_of(path)} & stems


def test_the_package_takes_only_the_networks_from_outside():
    outside = {Path(name).stem for name in SCRIPTS} | {"training", "benchmarks", "tools", "tests"}
    for path in MODULES:
        roots = {name.partition(".")[0] for name in imports_of(path)}
        assert not roots & outside, in_repository(path)
        assert NETWORKS not in roots or path.parent.name in USERS_OF_NETWORKS, in_repository(path)
    assert not {n for n in imports_of(ROOT / f"{NETWORKS}.py") if n.startswith("songrec")}


@pytest.mark.parametrize(
    ("where", "unwanted"),
    [
        (".", "sys.path." + "insert"),
        (".", "noqa: " + "E402"),
        ("songrec", "run: " + "python"),
        ("songrec", "python " + "spotify_"),
    ],
)
def test_what_stands_nowhere(where, unwanted):
    listed = [
        "git",
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        f"{where}/*.py",
    ]
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found = [f for f in files.split() if unwanted in (ROOT / f).read_text(encoding="utf-8")]
    assert files and not found


def test_the_root_holds_the_scripts():
    assert {
        *("add_song.py", "evaluate.py", "fma_dl.py", "load_csv.py", "load_training_data.py"),
        *("recommender.py", "spotify_slices.py", "spotify_specs.py", "summary.py"),
    } <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_start_light_and_fit_on_two_screens(script):
    at_top = {name.partition(".")[0] for name in imports_of(ROOT / script, top_level_only=True)}
    assert not at_top & HEAVY
    assert len((ROOT / script).read_text().splitlines()) <= 170
    code = f"import sys, {Path(script).stem}; print(sorted(set(sys.modules) & {HEAVY!r}))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
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


def test_the_same_versions_of_the_checkers_run_everywhere():
    pinned = dict(
        re.findall(r"^(ruff|mypy)==(.*)$", (ROOT / "requirements-dev.txt").read_text(), re.M)
    )
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert f"rev: v{pinned['ruff']}\n" in hooks and "entry: .venv/bin/mypy\n" in hooks
