"""The settings of a training, light to import; their defaults are the design's recipe."""

import argparse
import dataclasses

from songrec.cli import not_negative_int, positive_int


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How the network is trained; kept in `model.pt`.

    Attributes
    ----------
    architecture
        "ResidualCNN", the design's network, or "StridedCNN", many times cheaper a slice.
    loss
        "cross-entropy", or "focal", which gives hard slices more weight.
    optimizer
        "adamw", or "sgd" with momentum 0.9.
    augment
        Mask random times and bands of the training pictures.
    seed
        Of the weights, the order of slices and the masks.
    """

    architecture: str = "ResidualCNN"
    epochs: int = 16
    batch_size: int = 128
    learning_rate: float = 0.001
    weight_decay: float = 0.01
    loss: str = "cross-entropy"
    optimizer: str = "adamw"
    augment: bool = True
    seed: int = 0


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each of `TrainingSettings` to a script's parser."""
    default = TrainingSettings()
    group = parser.add_argument_group("flags of -m Train")
    group.add_argument(
        "--architecture",
        choices=("ResidualCNN", "StridedCNN"),
        default=default.architecture,
        help="StridedCNN is many times cheaper a slice (default: ResidualCNN)",
    )
    group.add_argument("--epochs", type=positive_int, default=default.epochs, metavar="N")
    group.add_argument("--batch-size", type=_two_or_more, default=default.batch_size, metavar="N")
    group.add_argument(
        "--learning-rate", type=_positive, default=default.learning_rate, metavar="X"
    )
    group.add_argument(
        "--weight-decay", type=_not_negative, default=default.weight_decay, metavar="X"
    )
    group.add_argument("--loss", choices=("cross-entropy", "focal"), default=default.loss)
    group.add_argument("--optimizer", choices=("adamw", "sgd"), default=default.optimizer)
    group.add_argument(
        "--augment",
        action=argparse.BooleanOptionalAction,
        default=default.augment,
        help="mask random times and bands of the pictures (default: yes)",
    )
    group.add_argument("--seed", type=not_negative_int, default=default.seed, metavar="N")
    group.add_argument(
        "--resume", action="store_true", help="go on after the last whole epoch of a stopped run"
    )


def settings_from(args: argparse.Namespace) -> TrainingSettings:
    """Take the training's settings out of parsed arguments."""
    names = [field.name for field in dataclasses.fields(TrainingSettings)]
    return TrainingSettings(**{name: getattr(args, name) for name in names})


def _two_or_more(text: str) -> int:
    number = positive_int(text)
    if number < 2:
        raise argparse.ArgumentTypeError("a batch of one has no spread to norm by: 2 or more")
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
