"""Advice as commands that can be pasted, with the flags in use."""

import argparse
import shlex
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from songrec.advice import Advice

# The folder of the root scripts; the model that comes with the project lies there too.
ROOT = Path(__file__).resolve().parents[2]
DEFAULT_DATA = Path("data")
SHIPPED_MODEL = ROOT / "model.pt"
_MODES = {"training": "Train", "library": "Test"}
_SCRIPTS_WITH_MODE = {"spotify_specs.py", "spotify_slices.py", "evaluate.py"}
_SCRIPTS_WITH_MODEL = {"recommender.py", "evaluate.py", "summary.py"}


def commands(
    advice: Iterable[Advice],
    args: argparse.Namespace,
    prog: str = "",
    argv: list[str] | None = None,
) -> str:
    """Return advice as commands that can be pasted, with the flags in use.

    Parameters
    ----------
    advice
        What to run, in this order.
    args
        Of the running script: its `data` and `model` go into the commands.
    prog, argv
        The running script and its arguments, for advice to run it again.
    """
    return " && ".join(_command(one, args, prog, argv) for one in advice)


def _command(advice: Advice, args: argparse.Namespace, prog: str, argv: list[str] | None) -> str:
    if not advice.program:
        given = list(sys.argv[1:] if argv is None else argv)
        kept = [word for word in given if word not in {*advice.without, *advice.arguments}]
        return shlex.join([*_script(prog), *kept, *advice.arguments])
    if advice.program == "pip":
        words = [_short(ROOT / w) if (ROOT / w).is_file() else w for w in advice.arguments]
        return shlex.join([_python(), "-m", "pip", *words])
    if not advice.program.endswith(".py"):
        in_root = [] if Path.cwd() == ROOT else ["-C", str(ROOT)]
        place = in_root if advice.program in {"make", "git"} else []
        return shlex.join([advice.program, *place, *advice.arguments])
    words = _script(advice.program)
    if advice.program in _SCRIPTS_WITH_MODE and advice.kind:
        words += ["-m", _MODES[advice.kind]]
    data = getattr(args, "data", DEFAULT_DATA)
    if data != DEFAULT_DATA and advice.program != "summary.py":
        words += ["--data", str(data)]
    model = getattr(args, "model", None)
    if advice.program in _SCRIPTS_WITH_MODEL and model not in {None, SHIPPED_MODEL}:
        words += ["--model", str(model)]
    # Arguments last, so that the user can append one.
    return shlex.join([*words, *advice.arguments])


def _script(name: str) -> list[str]:
    """Return the interpreter and a script's path, as short as they work from this folder."""
    return [_python(), _short(ROOT / name)]


def _python() -> str:
    """Return how to call this interpreter: "python" where that is the one on PATH."""
    on_path = shutil.which("python")
    here = Path(sys.executable or "python")
    return "python" if on_path and Path(on_path).parent == here.parent else _short(here)


def _short(path: Path) -> str:
    """Return a path relative to the current folder where it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
