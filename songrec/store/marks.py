"""The mark in a folder of specs, slices or arrays: the recipe it was made with."""

import dataclasses
import json
from pathlib import Path

from songrec.advice import Advice
from songrec.errors import RecipeMismatchError
from songrec.files import atomic_path
from songrec.sound.recipe import RECIPE

MARK_NAME = "recipe.json"


def check_mark(folder: Path, *rebuild: Advice) -> None:
    """Refuse a folder that was made with another recipe.

    Parameters
    ----------
    folder
        A folder of specs, slices or arrays; one without a mark passes.
    *rebuild
        What rebuilds the folder.

    Raises
    ------
    RecipeMismatchError
        If the folder's mark holds another digest than `RECIPE`'s, or cannot be read.
    """
    mark = folder / MARK_NAME
    try:
        digest = json.loads(mark.read_text(encoding="utf-8"))["digest"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeMismatchError(f"{mark} is damaged ({error})", *rebuild) from error
    if digest != RECIPE.digest:
        raise RecipeMismatchError(
            f"{folder} was made with recipe {digest}, this version uses {RECIPE.digest}",
            *rebuild,
        )


def write_mark(folder: Path) -> None:
    """Write the current recipe and its digest into `folder`."""
    content = {"digest": RECIPE.digest, **dataclasses.asdict(RECIPE)}
    with atomic_path(folder / MARK_NAME) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
