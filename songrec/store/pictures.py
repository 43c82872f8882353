"""Spectrograms and slices as grey PNG files that record what they were made from."""

import dataclasses
import json
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from songrec.errors import BadPictureError
from songrec.files import atomic_path, is_own, remove_empty_parents
from songrec.sound.recipe import RECIPE
from songrec.store.database import Database, Song

_ORIGIN_KEY = "songrec"


@dataclasses.dataclass(frozen=True)
class Origin:
    """Which file a picture was made from, kept as JSON in a text chunk of its PNG.

    Attributes
    ----------
    file
        Path of the audio below `songs/`.
    size, mtime_ns
        Of that file when the picture was made: another size or time means a changed file.
    recipe
        Digest of the recipe.
    n_slices
        In the first slice of a song: how many slices it has. None elsewhere.
    """

    file: str
    size: int
    mtime_ns: int
    recipe: str
    n_slices: int | None = None

    @classmethod
    def of(cls, file: str, path: Path) -> "Origin | None":
        """Return the origin of a picture made from `path` now; None if the file is gone."""
        try:
            status = path.stat()
        except OSError:
            return None
        return cls(file, status.st_size, status.st_mtime_ns, RECIPE.digest)


def has_current_spec(database: Database, song: Song) -> bool:
    """Return whether the spectrogram of `song` was made from the current file by this recipe."""
    made = read_origin(database.spec_path(song.key))
    now = Origin.of(song.file, song.path)
    # A song whose file cannot be reached now (an unplugged disk) keeps its spectrogram.
    return made is not None and (made == now or now is None)


def has_own_spec(database: Database, key: str) -> bool:
    """Return whether the spectrogram of a song was made by this project, and is no link."""
    path = database.spec_path(key)
    return read_origin(path) is not None and is_own(path, database.specs_dir)


def remove_spec(database: Database, key: str) -> bool:
    """Delete the spectrogram of a song if this project made it; return whether it did.

    Only pictures made by this project record their origin; any others are left alone.
    """
    path = database.spec_path(key)
    if not has_own_spec(database, key):
        return False
    path.unlink(missing_ok=True)
    remove_empty_parents(path, database.specs_dir)
    return True


def write_picture(path: Path, picture: np.ndarray, origin: Origin | None) -> None:
    """Write a grey picture [shape=(n_mels, n_frames), dtype=uint8] as PNG, whole or not at all."""
    with atomic_path(path) as part:
        save_png(part, picture, origin)


def save_png(path: Path, picture: np.ndarray, origin: Origin | None) -> None:
    """Save a grey picture as PNG at `path` itself, whatever its extension."""
    info = PngImagePlugin.PngInfo()
    if origin is not None:
        noted = {name: value for name, value in vars(origin).items() if value is not None}
        info.add_itxt(_ORIGIN_KEY, json.dumps(noted))
    image = Image.fromarray(np.ascontiguousarray(picture))
    # Level 1 compresses a spectrogram nearly as well as level 6, in a third of the time.
    image.save(path, format="PNG", compress_level=1, pnginfo=info)


def read_picture(path: Path) -> np.ndarray:
    """Read a picture [shape=(n_mels, n_frames), dtype=uint8].

    Raises
    ------
    BadPictureError
        If the file is damaged, or is not a grey PNG of the recipe's height.
    """
    name = f"{path.parent.name}/{path.name}"  # Every song has a 0001.png.
    try:
        with Image.open(path) as image:
            picture = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadPictureError(f"{name} is not a picture that can be read ({error})") from error
    if picture.dtype != np.uint8 or picture.ndim != 2 or picture.shape[0] != RECIPE.n_mels:
        raise BadPictureError(
            f"{name} is not a grey picture {RECIPE.n_mels} high (shape {picture.shape})"
        )
    return picture


def read_origin(path: Path) -> Origin | None:
    """Return what a picture was made from; None where there is no picture or it does not say."""
    try:
        with Image.open(path) as image:
            return Origin(**json.loads(image.info[_ORIGIN_KEY]))
    except (OSError, SyntaxError, ValueError, KeyError, TypeError):
        return None
