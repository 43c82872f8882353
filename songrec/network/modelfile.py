"""`model.pt` as a file: what needs no torch."""

import hashlib
from pathlib import Path

from songrec.advice import Advice
from songrec.errors import ModelError

TRAIN_ONE = Advice("recommender.py", ("-m", "Train"))
HOW_TO_GET_ONE = "get the shipped one back with `git checkout model.pt`, or train one"


def missing_model(path: Path) -> ModelError:
    """Return the error for a missing model file."""
    return ModelError(f"there is no model at {path}; {HOW_TO_GET_ONE}", TRAIN_ONE)


def model_digest(path: Path) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a model file.

    Raises
    ------
    ModelError
        If it is missing or cannot be read.
    """
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()[:16]
    except (FileNotFoundError, IsADirectoryError) as error:
        raise missing_model(path) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
