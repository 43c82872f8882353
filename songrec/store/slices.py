"""Slices: a folder of 128x128 pictures per song, cut from its spectrogram."""

import dataclasses
from pathlib import Path, PurePosixPath

import numpy as np

from songrec.errors import BadPictureError, LibraryError, UnusableAudioError
from songrec.files import atomic_path, is_own, remove_empty_parents
from songrec.names import composed
from songrec.sound.mel import cut
from songrec.sound.recipe import RECIPE
from songrec.store.database import Database, SliceFolder, Spec
from songrec.store.pictures import Origin, read_origin, read_picture, save_png


def has_current_slices(database: Database, key: str) -> bool:
    """Return whether the slices of a song are complete and match its spectrogram.

    Slices that do not record how many there are count as complete.
    """
    folder = database.slices_path(key)
    made = read_origin(first_slice(folder))
    if made is None or made.recipe != RECIPE.digest:
        return False
    if dataclasses.replace(made, n_slices=None) != _spec_origin(database, key):
        return False
    return made.n_slices is None or len(slice_files(folder)) == made.n_slices


def first_slice(folder: Path) -> Path:
    """Return the path of the first slice, which carries the song's `Origin`."""
    return folder / "0000.png"


def _spec_origin(database: Database, key: str) -> Origin | None:
    """Return what the spectrogram was made from; where it does not say, the picture itself."""
    spec = database.spec_path(key)
    return read_origin(spec) or Origin.of(f"{key}.png", spec)


def write_slices(database: Database, spec: Spec) -> None:
    """Cut a spectrogram into its folder of slices, whole or not at all.

    Raises
    ------
    SongError
        If the spectrogram is damaged, of another recipe, or shorter than one slice.
    DiskFullError
        If there is no space left.
    """
    origin = _spec_origin(database, spec.key)
    if origin is not None and origin.recipe != RECIPE.digest:
        raise BadPictureError(f"{spec.file} was made with another recipe")
    save_slices(database, spec.key, cut(read_picture(spec.path)), origin)


def save_slices(database: Database, key: str, slices: np.ndarray, origin: Origin | None) -> None:
    """Write the slices of a song as a folder of pictures, whole or not at all.

    Parameters
    ----------
    slices : np.ndarray [shape=(n_slices, n_mels, slice_frames), dtype=uint8]
    origin
        What they were made from; stored in the first slice, with the number of slices.

    Raises
    ------
    SongError
        If there is no slice, or the folder is a link.
    DiskFullError
        If there is no space left.
    """
    folder = database.slices_path(key)
    if len(slices) == 0:
        raise UnusableAudioError(f"{key}.png is shorter than one slice")
    if not is_own(folder, database.slices_dir):
        raise BadPictureError(f"{folder} is a link; slices are never written through links")
    noted = origin and dataclasses.replace(origin, n_slices=len(slices))
    with atomic_path(folder) as part:
        part.mkdir()
        for number, picture in enumerate(slices):
            save_png(part / f"{number:04d}.png", picture, noted if number == 0 else None)


def has_own_slices(database: Database, key: str) -> bool:
    """Return whether the slices of a song were made by this project, and are no link."""
    folder = database.slices_path(key)
    return read_origin(first_slice(folder)) is not None and is_own(folder, database.slices_dir)


def remove_slices(database: Database, key: str) -> bool:
    """Delete the slices of a song if this project made them; return whether it did.

    Other files in the folder stay, and so do slices that are reached through a link or do not
    record their origin.
    """
    folder = database.slices_path(key)
    if not has_own_slices(database, key):
        return False
    # The first slice goes last: what a run killed here leaves is still recognised.
    for path in sorted(slice_files(folder), reverse=True):
        if not path.is_symlink():
            path.unlink(missing_ok=True)
    remove_empty_parents(folder / "0000.png", database.slices_dir)
    return True


def slice_files(folder: Path) -> list[Path]:
    """List the slices of one song in order of time."""
    return sorted(folder.glob("[0-9]*.png"), key=lambda path: (len(path.name), path.name))


def read_slices(folder: Path) -> np.ndarray:
    """Read all slices of one song [shape=(n_slices, n_mels, slice_frames), dtype=uint8].

    Raises
    ------
    BadPictureError
        If one is damaged, missing or of another size, or there is none.
    """
    pictures = [read_picture(path) for path in slice_files(folder)]
    origin = read_origin(first_slice(folder))
    if origin is not None and origin.recipe != RECIPE.digest:
        raise BadPictureError(f"{folder} was made with another recipe")
    if origin is not None and origin.n_slices not in {None, len(pictures)}:
        raise BadPictureError(f"{folder} holds {len(pictures)} of {origin.n_slices} slices")
    if not pictures or any(picture.shape[1] != RECIPE.slice_frames for picture in pictures):
        raise BadPictureError(f"{folder} holds no slices {RECIPE.slice_frames} columns wide")
    return np.stack(pictures)


def slice_folders(database: Database) -> list[SliceFolder]:
    """List the songs that have slices, sorted by key.

    File and name are those of the audio the slices came from, so that they match
     `tracks.csv` even when the audio itself is gone.

    Raises
    ------
    LibraryError
        If there is none.
    """
    keys = database.slice_keys()
    if not keys:
        raise LibraryError(f"no slices in {database.slices_dir.absolute()}", database.make_slices())
    folders = []
    for key in keys:
        path = database.slices_path(key)
        origin = read_origin(first_slice(path))
        file = origin.file if origin else f"{key}.png"
        name = composed(file.removesuffix(PurePosixPath(file).suffix))
        folders.append(SliceFolder(key, path, file, name))
    return folders


def check_slices(folder: SliceFolder) -> None:
    """Read all slices of a song, to find out whether any is damaged.

    Raises
    ------
    BadPictureError
        If one is damaged or missing.
    """
    read_slices(folder.path)
