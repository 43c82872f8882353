"""A spectrogram cut into slices: a folder of 128x128 pictures a song."""

from pathlib import Path, PurePosixPath

import numpy as np

from songrec.database import Database, Song
from songrec.errors import BadPictureError, LibraryError, UnusableAudioError
from songrec.files import atomic_path
from songrec.names import composed
from songrec.picture import Origin, read_origin, read_picture, save_png
from songrec.recipe import RECIPE


def cut(picture: np.ndarray) -> np.ndarray:
    """Cut a picture into consecutive slices; the rest after the last whole one is dropped.

    Parameters
    ----------
    picture : np.ndarray [shape=(n_mels, n_frames), dtype=uint8]

    Returns
    -------
    np.ndarray [shape=(n_slices, n_mels, slice_frames), dtype=uint8]
    """
    n_slices = picture.shape[1] // RECIPE.slice_frames
    whole = picture[:, : n_slices * RECIPE.slice_frames]
    return whole.reshape(picture.shape[0], n_slices, RECIPE.slice_frames).transpose(1, 0, 2)


def has_current_slices(database: Database, song: Song) -> bool:
    """Tell whether the slices of `song` were cut from its spectrogram as it is."""
    made = read_origin(first_slice(database.slices_path(song.key)))
    if made is None or made.recipe != RECIPE.digest:
        return False
    return made == _spec_origin(database, song)


def first_slice(folder: Path) -> Path:
    """Return the slice that every folder of slices has and that carries the song's `Origin`."""
    return folder / "0000.png"


def _spec_origin(database: Database, song: Song) -> Origin | None:
    """Return what the spectrogram was made from; where it does not say, the picture itself."""
    spec = database.spec_path(song.key)
    return read_origin(spec) or Origin.of(f"{song.key}.png", spec)


def write_slices(database: Database, song: Song) -> str | None:
    """Cut the spectrogram of `song` into its folder of slices, whole or not at all.

    Raises
    ------
    SongError
        If the spectrogram is damaged, of another recipe, or shorter than one slice.
    DiskFullError
        If there is no space left.
    """
    spec = database.spec_path(song.key)
    origin = _spec_origin(database, song)
    if origin is not None and origin.recipe != RECIPE.digest:
        raise BadPictureError(
            f"{spec.name} was made with another recipe; run: "
            f"python spotify_specs.py -m {database.mode}"
        )
    slices = cut(read_picture(spec))
    if len(slices) == 0:
        raise UnusableAudioError(f"{spec.name} is shorter than one slice")
    with atomic_path(database.slices_path(song.key)) as part:
        part.mkdir()
        for number, picture in enumerate(slices):
            save_png(part / f"{number:04d}.png", picture, origin if number == 0 else None)
    return None


def slice_files(folder: Path) -> list[Path]:
    """List the slices of one song in order of time."""
    return sorted(folder.glob("[0-9]*.png"), key=lambda path: (len(path.name), path.name))


def read_slices(folder: Path) -> np.ndarray:
    """Read all slices of one song [shape=(n_slices, n_mels, slice_frames), dtype=uint8].

    Raises
    ------
    BadPictureError
        If one is damaged or of another size, or there is none.
    """
    pictures = [read_picture(path) for path in slice_files(folder)]
    if not pictures or any(picture.shape[1] != RECIPE.slice_frames for picture in pictures):
        raise BadPictureError(f"{folder} holds no slices {RECIPE.slice_frames} columns wide")
    return np.stack(pictures)


def songs_with_slices(database: Database) -> list[Song]:
    """List the songs that have slices; `path` is the folder of slices.

    File and name are those of the audio the slices came from, so that they can be matched
    with `tracks.csv` even when the audio itself is gone.

    Raises
    ------
    LibraryError
        If there is none.
    """
    keys = database.slice_keys()
    if not keys:
        raise LibraryError(
            f"no slices in {database.slices_dir}; run: python spotify_slices.py -m {database.mode}"
        )
    songs = []
    for key in keys:
        folder = database.slices_path(key)
        origin = read_origin(first_slice(folder))
        file = origin.file if origin else f"{key}.png"
        name = composed(file.removesuffix(PurePosixPath(file).suffix))
        songs.append(Song(file, name, key, folder))
    return songs


def check_slices(song: Song) -> str | None:
    """Read all slices of a song whose `path` is their folder, to be sure that one can.

    Raises
    ------
    BadPictureError
        If one is damaged.
    """
    read_slices(song.path)
    return None
