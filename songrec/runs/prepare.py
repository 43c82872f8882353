"""One song from its audio file to its spectrogram and slices, decoded once."""

from pathlib import Path

import numpy as np

from songrec.advice import Advice
from songrec.sound.audio import load_audio
from songrec.sound.mel import cut, mel_picture
from songrec.store.database import Database, Song
from songrec.store.marks import check_mark, write_mark
from songrec.store.pictures import Origin, has_current_spec, write_picture
from songrec.store.slices import has_current_slices, save_slices


def write_spec(database: Database, song: Song) -> str | None:
    """Decode `song` and write its spectrogram; return a remark about the file, if any.

    Raises
    ------
    SongError
        If the file cannot be decoded or holds nothing to compare.
    DiskFullError
        If there is no space left.
    """
    origin = Origin.of(song.file, song.path)
    picture, remark = draw(song.path)
    write_picture(database.spec_path(song.key), picture, origin)
    return remark


def prepare(database: Database, song: Song) -> str | None:
    """Make the spectrogram and the slices of `song` in one go, otherwise as `write_spec`."""
    origin = Origin.of(song.file, song.path)
    picture, remark = draw(song.path)
    write_drawn(database, song, picture, origin)
    return remark


def draw(path: Path) -> tuple[np.ndarray, str | None]:
    """Decode a file and draw its spectrogram [shape=(n_mels, n_frames), dtype=uint8].

    The second value is a remark about the file, if any; errors are those of `load_audio`.
    """
    samples, remark = load_audio(path)
    return mel_picture(samples), remark


def write_drawn(database: Database, song: Song, picture: np.ndarray, origin: Origin | None) -> None:
    """Write the spectrogram and the slices of a song whose picture is already computed."""
    write_picture(database.spec_path(song.key), picture, origin)
    save_slices(database, song.key, cut(picture), origin)


def is_prepared(database: Database, song: Song) -> bool:
    """Return whether the spectrogram and slices of `song` were made from the current file."""
    return has_current_spec(database, song) and has_current_slices(database, song.key)


def check_recipe(database: Database) -> None:
    """Refuse a library whose specs or slices were made with another recipe, before any work.

    Raises
    ------
    RecipeMismatchError
        With advice to rebuild them.
    """
    rebuild: tuple[Advice, ...] = (database.make_specs("--force"), database.make_slices("--force"))
    check_mark(database.specs_dir, *rebuild)
    check_mark(database.slices_dir, *rebuild)


def mark_recipe(database: Database) -> None:
    """Record in the folders of specs and slices which recipe they are made with."""
    write_mark(database.specs_dir)
    write_mark(database.slices_dir)
