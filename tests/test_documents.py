"""Help texts and documents: the commands and links in them work."""

import ast
import importlib
import re
import shlex
import sys

import pytest

from tests.running import ROOT, run_script
from tests.test_structure import MODULES, SCRIPTS

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "training/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]


def commands_in(text):
    """Return the argument lists of the lines that call a root script."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*(?:\$ )?(?:\.venv/bin/)?python3? ((?:\w+/)*\w+\.py\b.*)$", line)
        if match:
            found.append(shlex.split(match[1].partition("  #")[0], comments=True))
    return found


def check_command(words):
    script, *arguments = words
    path = ROOT / script
    assert path.exists(), script
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # as when it is run: scripts there import each other
    importlib.import_module(path.stem).build_parser().parse_args(arguments)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_says_what_it_does_and_names_commands_that_work(script):
    done = run_script(script, "-h", env={"COLUMNS": "100"})
    assert done.returncode == 0
    docstring = ast.get_docstring(ast.parse((ROOT / script).read_text()))
    first = docstring.splitlines()[0]
    assert done.stdout.startswith(first)
    assert "reads" in docstring and "writes" in docstring
    examples = [words for words in commands_in(docstring) if words[0] == script]
    assert len(examples) >= 2
    for words in examples:
        check_command(words)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_commands_in_the_documents_work(document):
    text = document.read_text(encoding="utf-8")
    commands = commands_in(text)
    for words in commands:
        check_command(words)
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^\s*(?:\$ )?make (\w+)", text, re.MULTILINE))
    assert named <= targets
    assert commands or named


@pytest.mark.parametrize("document", sorted(ROOT.glob("*.md")) + DOCUMENTS[2:], ids=str)
def test_links_in_the_documents_lead_somewhere(document):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text(encoding="utf-8")):
        if not re.match(r"https?:", target):
            assert (document.parent / target).exists(), target


def test_the_architecture_describes_every_folder_and_module():
    text = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
    described = []
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        folder = section.partition("\n")[0].strip("`")
        described += [folder + name for name in re.findall(r"^- `(\w+\.py)`: \S", section, re.M)]
    modules = [m.relative_to(ROOT).as_posix() for m in MODULES if m.stem != "__init__"]
    assert sorted(described) == sorted(modules)


def test_what_the_architecture_says_to_change_is_where_it_says():
    text = (ROOT / "docs/ARCHITECTURE.md").read_text(encoding="utf-8")
    table = text.partition("## Where to change what")[2].partition("\n## ")[0]
    for row in table.strip().splitlines()[2:]:
        where = row.split("|")[2]
        files = re.findall(r"`((?:\w+/)*\w+\.py)[ `]", where)
        paths = [path for f in files for path in (ROOT / "songrec" / f, ROOT / f) if path.exists()]
        assert files and len(paths) == len(files), row
        code = "".join(path.read_text(encoding="utf-8") for path in paths)
        names = set(re.findall(r"`([\w.]+)`", where))
        for name in names - {n for n in names if re.search(r"\.(py|pt|npz)$", n)}:
            assert name.split(".")[-1].rstrip("…") in code, f"{name}: {row}"


def test_no_document_has_an_unfilled_place():
    for document in DOCUMENTS:
        assert "@@" not in document.read_text(encoding="utf-8"), document
