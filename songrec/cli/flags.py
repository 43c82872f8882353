"""The flags of `recommender.py`, and which of them go with which mode."""

import argparse
import dataclasses

from songrec.cli.frame import not_negative_int, positive_int
from songrec.errors import UsageError
from songrec.learning.settings import TrainingSettings


def add_question_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of a question to a script's parser."""
    group = parser.add_argument_group("-m Recommend")
    group.add_argument(
        "song",
        nargs="?",
        metavar="SONG",
        help="its name, part of the name, an audio file, or its Spotify link",
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
        help="maximum number of songs per artist (default: 3; 0: no limit)",
    )
    group.add_argument(
        "--keep-versions",
        action="store_true",
        help="also recommend other versions (live, remastered, ...) of the same recording",
    )
    group.add_argument(
        "--ranking",
        choices=("full", "cosine"),
        default="full",
        help="full: vectors, timbre and patterns, without hubs (default); "
        "cosine: the network's vectors only",
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


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each of `TrainingSettings` to a script's parser."""
    default = TrainingSettings()
    group = parser.add_argument_group("flags of -m Train")
    group.add_argument(
        "--architecture",
        choices=("ResidualCNN", "StridedCNN"),
        default=default.architecture,
        help="StridedCNN takes a sixth of the multiply-adds (default: ResidualCNN)",
    )
    for name, of_type, metavar in (
        ("epochs", positive_int, "N"),
        ("batch_size", _two_or_more, "N"),
        ("learning_rate", _positive, "X"),
        ("weight_decay", _not_negative, "X"),
        ("seed", not_negative_int, "N"),
    ):
        group.add_argument(
            "--" + name.replace("_", "-"),
            type=of_type,
            default=getattr(default, name),
            metavar=metavar,
            help="default: %(default)s",
        )
    group.add_argument(
        "--loss",
        choices=("cross-entropy", "focal"),
        default=default.loss,
        help="default: %(default)s",
    )
    group.add_argument(
        "--optimizer",
        choices=("adamw", "sgd"),
        default=default.optimizer,
        help="default: %(default)s",
    )
    group.add_argument(
        "--augment",
        action=argparse.BooleanOptionalAction,
        default=default.augment,
        help="mask random times and bands of the pictures (default: yes)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="continue an interrupted training after its last complete epoch",
    )


def settings_from(args: argparse.Namespace) -> TrainingSettings:
    """Build the settings of a training from parsed arguments."""
    names = [field.name for field in dataclasses.fields(TrainingSettings)]
    return TrainingSettings(**{name: getattr(args, name) for name in names})


def _two_or_more(text: str) -> int:
    number = positive_int(text)
    if number < 2:
        raise argparse.ArgumentTypeError("batch normalisation needs 2 or more")
    return number


def _positive(text: str) -> float:
    value = _not_negative(text)
    if value == 0.0:
        raise argparse.ArgumentTypeError("it must be above 0")
    return value


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0.0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is out of range")
    return value
