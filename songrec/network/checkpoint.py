"""`model.pt`: the trained network and all that is needed to use it correctly."""

import dataclasses
import io
import pickle
import struct
from pathlib import Path
from typing import Any

import torch

import model as network
from songrec import __version__
from songrec.errors import ModelError, RecipeMismatchError
from songrec.files import atomic_path
from songrec.network.modelfile import HOW_TO_GET_ONE, TRAIN_ONE, missing_model
from songrec.sound.recipe import RECIPE

_FORMAT = 1

# What torch.load may raise for a file that is not a model.
LOAD_ERRORS = (
    RuntimeError,
    pickle.UnpicklingError,
    struct.error,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AssertionError,
)


@dataclasses.dataclass(frozen=True)
class TrainedModel:
    """A trained network and what is stored with it.

    Attributes
    ----------
    architecture
        What `model.build` makes the network from.
    label
        What its classes are: "genre", "artist" or "album".
    metrics, settings
        How well it did on the test songs and how it was trained; plain numbers and text.
    version
        Version of this project that trained it.
    """

    classifier: network.Network
    architecture: dict[str, Any]
    label: str
    classes: list[str]
    metrics: dict[str, Any]
    settings: dict[str, Any]
    version: str = __version__


def serialised(content: dict[str, Any]) -> memoryview:
    """Return what torch.save would write; its own writer hides a full disk's error."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getbuffer()


def save_model(path: Path, trained: TrainedModel) -> None:
    """Write `model.pt`, whole or not at all.

    Everything in it is a tensor or a plain Python value, so that it loads with
    `weights_only=True`: a numpy scalar would not.
    """
    content = {
        "format": _FORMAT,
        "version": trained.version,
        "architecture": trained.architecture,
        "label": trained.label,
        "classes": trained.classes,
        "recipe": dataclasses.asdict(RECIPE),
        "recipe_digest": RECIPE.digest,
        "metrics": trained.metrics,
        "settings": trained.settings,
        "weights": trained.classifier.state_dict(),
    }
    with atomic_path(path, durable=True) as part:
        part.write_bytes(serialised(content))


def load_model(path: Path) -> TrainedModel:
    """Read `model.pt`; the network comes in evaluation mode, on the CPU.

    Raises
    ------
    ModelError
        If the file is missing, is not a model of this project, or is damaged.
    RecipeMismatchError
        If the network was trained on pictures of another recipe.
    """
    if not path.is_file():
        raise missing_model(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except LOAD_ERRORS as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise ModelError(
            f"{path} is not a model that can be loaded ({reason}); {HOW_TO_GET_ONE}",
            TRAIN_ONE,
        ) from error
    if not isinstance(content, dict) or "architecture" not in content:
        raise ModelError(f"{path} is not a model of this project; {HOW_TO_GET_ONE}", TRAIN_ONE)
    if content.get("format") != _FORMAT:
        raise ModelError(
            f"{path} has format {content.get('format')}, this version reads {_FORMAT}; "
            f"{HOW_TO_GET_ONE}",
            TRAIN_ONE,
        )
    if content.get("recipe_digest") != RECIPE.digest:
        raise RecipeMismatchError(
            f"{path} was trained with recipe {content.get('recipe_digest')}, this version makes "
            f"pictures with {RECIPE.digest}; {HOW_TO_GET_ONE}",
            TRAIN_ONE,
        )
    try:
        classifier = network.build(content["architecture"], len(content["classes"]))
        classifier.load_state_dict(content["weights"])
        return TrainedModel(
            classifier.eval(),
            content["architecture"],
            content["label"],
            content["classes"],
            content["metrics"],
            content["settings"],
            content["version"],
        )
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise ModelError(
            f"{path} does not fit its own description ({error!r}); {HOW_TO_GET_ONE}",
            TRAIN_ONE,
        ) from error
