"""The flags of `recommender.py -m Recommend`, and which flags go with which mode."""

import argparse

from songrec.cli import not_negative_int, positive_int
from songrec.errors import UsageError
from songrec.settings import settings_from


def add_question_flags(parser: argparse.ArgumentParser) -> None:
    """Add what is asked, and how, to the script's parser."""
    group = parser.add_argument_group("-m Recommend")
    group.add_argument(
        "song", nargs="?", metavar="SONG", help="its name, a part of it, or an audio file"
    )
    group.add_argument(
        "n",
        nargs="?",
        type=positive_int,
        default=3,
        metavar="N",
        help="how many to recommend (default: 3)",
    )
    group.add_argument(
        "--also",
        action="append",
        default=[],
        metavar="SONG",
        help="one more song that the answers should sound like; may be repeated",
    )
    group.add_argument(
        "--max-per-artist",
        type=not_negative_int,
        default=3,
        metavar="N",
        help="at most so many songs of one artist (default: 3; 0: no limit)",
    )
    group.add_argument(
        "--keep-versions",
        action="store_true",
        help="also other versions (live, remastered, ...) of a song that is in the answer",
    )
    group.add_argument(
        "--ranking",
        choices=("full", "cosine"),
        default="full",
        help="full: all that is heard, without hubs (default); cosine: the network's vectors only",
    )
    group.add_argument("--json", action="store_true", help="print the answer as JSON")


def refuse_flags_of_other_mode(args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Raise `UsageError` for what the mode would silently ignore."""
    asked = {"song", "n", "also", "json", "max_per_artist", "keep_versions", "ranking"}
    ignored = {
        "Train": asked | {"limit", "retry_skipped", "force"},
        "Recommend": set(vars(settings_from(args))) | {"resume"},
    }[args.mode]
    given = [n for n in sorted(ignored) if getattr(args, n) != parser.get_default(n)]
    if given:
        flags = ", ".join(n if n in {"song", "n"} else "--" + n.replace("_", "-") for n in given)
        raise UsageError(f"-m {args.mode} does not take {flags}")
