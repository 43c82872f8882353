"""The frame every root script runs in: common flags, exit status, one-line errors."""

import argparse
import dataclasses
import json
import math
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from songrec.errors import InterruptedRunError, SongRecError, UsageError

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
_LARGEST_INT = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags that every stage shares.

    Attributes
    ----------
    jobs
        Processes (or threads of the network) to use.
    limit
        Most songs to do in this run; None for all.
    """

    jobs: int
    limit: int | None = None
    force: bool = False
    retry_skipped: bool = False
    dry_run: bool = False
    quiet: bool = False
    verbose: bool = False


class Parser(argparse.ArgumentParser):
    """An argument parser whose help is the script's docstring and whose errors are one line."""

    def __init__(self, description: str | None) -> None:
        super().__init__(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )

    def format_help(self) -> str:
        """Return the help; what the script does comes first, then its flags."""
        description, self.description = self.description, None
        text = super().format_help()
        self.description = description
        return f"{(description or '').strip()}\n\n{text}"

    def error(self, message: str) -> NoReturn:
        """Print one line to stderr and exit with status 2."""
        self.exit(EXIT_USAGE, f"{self.prog}: {message} (see {self.prog} -h)\n")


def positive_int(text: str) -> int:
    """Read a whole number of at least 1, for argparse."""
    return _int_from(text, 1)


def not_negative_int(text: str) -> int:
    """Read a whole number of at least 0, for argparse."""
    return _int_from(text, 0)


def _int_from(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"{text} is too small: it must be {least} or more")
    if number > _LARGEST_INT:
        raise argparse.ArgumentTypeError(f"{text} is too large")
    return number


def named_file(text: str) -> tuple[str, Path]:
    """Read "name=file", for argparse."""
    name, separator, file = text.partition("=")
    if not (name and separator and file):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=FILE")
    return name, Path(file)


def refuse_same_names(names: list[str]) -> None:
    """Raise `UsageError` if two systems that shall be compared have the same name."""
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise UsageError(f"the name {twice[0]!r} is taken: give the file another")


def add_vectors_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--vectors`, which names other systems to compare with."""
    parser.add_argument(
        "--vectors",
        action="append",
        default=[],
        type=named_file,
        metavar="NAME=FILE",
        help="one more system: an .npz with arrays `songs` and `vectors`; may be repeated",
    )


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `Options` to a stage's parser."""
    add_basic_flags(parser)
    group = parser.add_argument_group("flags every stage shares")
    group.add_argument("--limit", type=positive_int, metavar="N", help="do at most N songs now")
    group.add_argument("--force", action="store_true", help="do again what is already there")
    group.add_argument(
        "--retry-skipped", action="store_true", help="try again what was skipped before"
    )
    group.add_argument("--dry-run", action="store_true", help="only list what would be done")


def add_basic_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `Options` that make sense to every script that reads a database."""
    group = parser.add_argument_group("flags every script shares")
    group.add_argument(
        "--data", type=Path, default=Path("data"), metavar="DIR", help="databases (default: data)"
    )
    group.add_argument(
        "-j", "--jobs", type=positive_int, default=_cores(), metavar="N", help="default: all cores"
    )
    group.add_argument("-q", "--quiet", action="store_true", help="no bar, no closing line")
    group.add_argument(
        "-v", "--verbose", action="store_true", help="tell each skip; tracebacks of errors"
    )


def add_mode_flag(parser: argparse.ArgumentParser) -> None:
    """Add `-m Train|Test`, which chooses the database."""
    parser.add_argument(
        "-m",
        "--mode",
        choices=("Train", "Test"),
        required=True,
        help="Train: data/train_db, what the network learns from; "
        "Test: data/song_db, the songs to recommend among",
    )


def options_from(args: argparse.Namespace) -> Options:
    """Take the shared flags out of parsed arguments."""
    fields = {field.name for field in dataclasses.fields(Options)}
    return Options(**{name: value for name, value in vars(args).items() if name in fields})


def run(body: Callable[[argparse.Namespace], int], args: argparse.Namespace) -> int:
    """Call `body(args)` and turn known errors and Ctrl-C into a line and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        # A song name may hold what the terminal's encoding cannot show; it must not end the run.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        return body(args)
    except (SongRecError, OSError, ModuleNotFoundError, KeyboardInterrupt) as error:
        if getattr(args, "verbose", False) and not isinstance(error, KeyboardInterrupt):
            traceback.print_exc()
        status, line = _verdict(error)
        if line:
            print(f"{Path(sys.argv[0]).name}: {line}", file=sys.stderr)
        return status


def _verdict(error: BaseException) -> tuple[int, str]:
    """Return the exit status for an error and the line that tells it."""
    status, line = EXIT_FAILED, str(error)
    match error:
        case UsageError():
            status = EXIT_USAGE
        case InterruptedRunError():
            status = EXIT_INTERRUPTED
        case KeyboardInterrupt():
            status, line = EXIT_INTERRUPTED, "interrupted; run the same command to go on"
        case BrokenPipeError():
            # The reader of stdout (head, say) has left; a second error at exit helps nobody.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status, line = EXIT_OK, ""
        case ModuleNotFoundError():
            line = f"{error.name} is not installed; run: make setup, and use .venv/bin/python"
        case OSError():
            line = f"{error.filename}: " if error.filename else ""
            line += error.strerror or str(error)
    return status, line


def print_json(content: object) -> None:
    """Print plain values as one line of JSON that any reader takes; NaN becomes null."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    print(json.dumps(_finite(content), ensure_ascii=not is_unicode, allow_nan=False))


def _finite(content: object) -> object:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content


def printable(text: str) -> str:
    """Return `text` without what would move the cursor or end the line."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
