"""What every script shares: common flags, exit status, one-line errors."""

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

from songrec.advice import Advice
from songrec.cli.commands import DEFAULT_DATA, ROOT, SHIPPED_MODEL, commands
from songrec.errors import InterruptedRunError, SongRecError, UsageError
from songrec.names import printable
from songrec.runs.options import Options, available_cores
from songrec.store.database import Database

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
_INSTALL = Advice("pip", ("install", "-r", "requirements.txt"))
_LARGEST_INT = 2**31 - 1


class Parser(argparse.ArgumentParser):
    """An argument parser whose help is the script's docstring and whose errors are one line.

    Parameters
    ----------
    description
        The script's docstring.
    file
        The script's `__file__`.
    """

    def __init__(self, description: str | None, file: str) -> None:
        super().__init__(
            prog=Path(file).resolve().relative_to(ROOT).as_posix(),
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
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
    """Raise `UsageError` if two systems to compare have the same name."""
    twice = [name for number, name in enumerate(names) if name in names[:number]]
    if twice:
        raise UsageError(f"the name {twice[0]!r} is taken: choose another one")


def add_systems_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--vectors`, `--matrix` and `--fuse`, which name other systems to compare with."""
    parser.add_argument(
        "--vectors",
        action="append",
        default=[],
        type=named_file,
        metavar="NAME=FILE",
        help="one more system: an .npz with arrays `songs` and `vectors`; may be repeated",
    )
    parser.add_argument(
        "--matrix",
        action="append",
        default=[],
        type=named_file,
        metavar="NAME=FILE",
        help="one more system: an .npz with arrays `songs` and `distances`, a row a query; "
        "may be repeated",
    )
    parser.add_argument(
        "--fuse",
        action="append",
        default=[],
        metavar="A+B",
        help="one more system: the mean of the mutual proximities of two or more that are named; "
        "may be repeated",
    )


def add_model_flag(parser: argparse.ArgumentParser, text: str) -> None:
    """Add `--model`, the file of the network; by default the one beside the scripts."""
    parser.add_argument("--model", type=Path, default=SHIPPED_MODEL, metavar="FILE", help=text)


def add_data_flag(parser: argparse._ActionsContainer) -> None:
    """Add `--data`, the folder of both databases."""
    parser.add_argument(
        "--data",
        type=Path,
        default=DEFAULT_DATA,
        metavar="DIR",
        help="folder of the databases (default: data)",
    )


def add_common_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of `Options` to a stage's parser."""
    add_basic_flags(parser)
    group = parser.add_argument_group("flags every stage shares")
    group.add_argument("--limit", type=positive_int, metavar="N", help="process at most N songs")
    group.add_argument("--force", action="store_true", help="redo what is already there")
    group.add_argument(
        "--retry-skipped", action="store_true", help="try songs again that were skipped before"
    )
    group.add_argument("--dry-run", action="store_true", help="only list what would be done")


def add_basic_flags(parser: argparse.ArgumentParser, *, with_data: bool = True) -> None:
    """Add the flags of `Options` that make sense to every script that reads a database.

    Parameters
    ----------
    with_data
        Whether the script reads the one database that `--data` names.
    """
    group = parser.add_argument_group("flags every script shares")
    if with_data:
        add_data_flag(group)
    group.add_argument(
        "-j",
        "--jobs",
        type=positive_int,
        default=available_cores(),
        metavar="N",
        help="default: all cores",
    )
    group.add_argument("-q", "--quiet", action="store_true", help="no bar, no closing line")
    group.add_argument(
        "-v", "--verbose", action="store_true", help="name each skipped song; show tracebacks"
    )


def add_mode_flag(parser: argparse.ArgumentParser) -> None:
    """Add `-m Train|Test`, which chooses the database."""
    parser.add_argument(
        "-m",
        "--mode",
        type=str.capitalize,
        choices=("Train", "Test"),
        required=True,
        help="Train: data/train_db, what the network learns from; "
        "Test: data/song_db, the songs to recommend among",
    )


def options_from(args: argparse.Namespace) -> Options:
    """Build the options of a run from parsed arguments."""
    fields = {field.name for field in dataclasses.fields(Options)}
    given = {name: value for name, value in vars(args).items() if name in fields}
    return Options(**given, as_command=lambda advice: commands(advice, args))


def database_from(args: argparse.Namespace) -> Database:
    """Return the database that `-m Train|Test` and `--data` choose."""
    of_mode = Database.training if args.mode == "Train" else Database.library
    return of_mode(args.data)


def exit_status(*, all_failed: bool) -> int:
    """Return the exit status of a run over songs: 1 only where every one of them failed."""
    return EXIT_FAILED if all_failed else EXIT_OK


def run(
    body: Callable[[argparse.Namespace], int],
    parser: argparse.ArgumentParser,
    argv: list[str] | None,
) -> int:
    """Parse `argv`, call `body`, and turn known errors and Ctrl-C into a line and an exit status.

    Parameters
    ----------
    body
        The script's work; it returns the exit status.
    parser
        The script's parser.
    argv
        Arguments without the program's name; None for those of the process.

    Returns
    -------
    int
        0 fine; 1 a known failure, or nothing could be done; 2 wrong usage; 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        # A song name may contain what the terminal cannot encode; that must not end the run.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    args = parser.parse_args(argv)
    try:
        return body(args)
    except (SongRecError, OSError, ModuleNotFoundError, KeyboardInterrupt) as error:
        if getattr(args, "verbose", False) and not isinstance(error, KeyboardInterrupt):
            traceback.print_exc()
        status, line = _verdict(error, args)
        if isinstance(error, SongRecError) and error.advice:
            line += f"; run: {commands(error.advice, args, parser.prog, argv)}"
        if line:
            print(f"{parser.prog}: {printable(line)}", file=sys.stderr)
        return status


def _verdict(error: BaseException, args: argparse.Namespace) -> tuple[int, str]:
    """Return the exit status for an error and the line that reports it."""
    status, line = EXIT_FAILED, str(error)
    match error:
        case UsageError():
            status = EXIT_USAGE
        case InterruptedRunError():
            status = EXIT_INTERRUPTED
        case KeyboardInterrupt():
            status, line = EXIT_INTERRUPTED, "interrupted; what is finished is kept"
        case BrokenPipeError():
            # The reader of stdout (head, say) has left; a second error at exit helps nobody.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            status, line = EXIT_OK, ""
        case ModuleNotFoundError():
            line = f"{error.name} is not installed; run: {commands([_INSTALL], args)}"
        case OSError():
            line = f"{error.filename}: " if error.filename else ""
            line += error.strerror or str(error)
    return status, line


def print_json(content: object) -> None:
    """Print plain values as one line of JSON that any parser accepts; NaN becomes null."""
    is_unicode = (sys.stdout.encoding or "utf-8").lower().replace("-", "").startswith("utf")
    print(json.dumps(_finite(content), ensure_ascii=not is_unicode, allow_nan=False))


def _finite(content: object) -> object:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
