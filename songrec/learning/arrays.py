"""The training data as arrays on disk: laid out by a plan, filled song by song, opened."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from songrec.advice import Advice
from songrec.errors import LibraryError
from songrec.learning.plan import SPLITS, Plan
from songrec.sound.recipe import RECIPE
from songrec.store.database import Database, SliceFolder
from songrec.store.marks import check_mark, write_mark
from songrec.store.slices import read_slices

WITH_TEST_SONGS = Advice("load_training_data.py", ("--size", "0.8"))
REBUILD = Advice("load_training_data.py", ("--size", "0.8", "--force"))
_NO_TEST_NOTE = "NO_TEST_SET.txt"


def allocate(plan: Plan, folder: Path) -> None:
    """Write the arrays of labels, and arrays of pictures with nothing in them yet; see `fill`.

    Files: `{split}_x.npy` (uint8 [n, n_mels, slice_frames]), `{split}_y.npy` (int64 [n], position
    in the classes), `{split}_song.npy` (int64 [n], row in `songs.csv`), for train, test and,
    where the split has one, valid; `songs.csv`, `labels.json`.
    """
    folder.mkdir(parents=True)
    for split in SPLITS:
        n_slices = plan.n_slices(split)
        if split == "valid" and n_slices == 0:
            continue
        rows = plan.table[plan.table["split"] == split]
        numbers = [plan.classes.index(label) for label in rows["label"]]
        np.save(
            folder / f"{split}_y.npy",
            np.repeat(np.array(numbers, dtype=np.int64), rows["n_slices"]),
        )
        np.save(
            folder / f"{split}_song.npy", np.repeat(rows.index.to_numpy(np.int64), rows["n_slices"])
        )
        shape = (n_slices, RECIPE.n_mels, RECIPE.slice_frames)
        if n_slices == 0:
            np.save(folder / f"{split}_x.npy", np.empty(shape, dtype=np.uint8))
        else:
            path = folder / f"{split}_x.npy"
            np.lib.format.open_memmap(path, "w+", np.uint8, shape).flush()
            _reserve(path)
    plan.table.to_csv(folder / "songs.csv", index=False)
    if plan.n_slices("test") == 0:
        (folder / _NO_TEST_NOTE).write_text(
            "There is no test set, so the training cannot say how good the network is on songs\n"
            "it has not seen. To keep one song in five as a test set:\n\n"
            "    python load_training_data.py --size 0.8\n",
            encoding="utf-8",
        )
    content = {"label": plan.label, "classes": plan.classes, "digest": plan.digest}
    (folder / "labels.json").write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    write_mark(folder)


def _reserve(path: Path) -> None:
    """Allocate a sparse file's space: writing to a memory map on a full disk kills the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)


def fill(folder: Path, plan: Plan, folders: list[SliceFolder]) -> None:
    """Copy the slices of the planned songs to their rows.

    Raises
    ------
    BadPictureError
        If a slice is damaged.
    """
    path_of = {folder.key: folder.path for folder in folders}
    for split, rows in plan.table.groupby("split"):
        pictures = np.load(folder / f"{split}_x.npy", mmap_mode="r+")
        for row in rows.itertuples():
            pictures[row.start : row.start + row.n_slices] = read_slices(path_of[row.key])
        pictures.flush()


def digest_there(database: Database) -> str | None:
    """Return the digest of the plan of the arrays on disk; None where there are none."""
    try:
        labels = json.loads((database.arrays_dir / "labels.json").read_text("utf-8"))
        return str(labels["digest"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclasses.dataclass(frozen=True)
class SplitArrays:
    """The slices of one split, memory-mapped.

    Attributes
    ----------
    x : np.ndarray [shape=(n, n_mels, slice_frames), dtype=uint8]
    y : np.ndarray [shape=(n,), dtype=int64]
    song : np.ndarray [shape=(n,), dtype=int64]
        Row of the slice's song in `TrainingData.songs`.
    """

    x: np.ndarray
    y: np.ndarray
    song: np.ndarray


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What `load_training_data.py` wrote; `valid` and `test` are None where empty."""

    label: str
    classes: list[str]
    digest: str
    songs: pd.DataFrame
    train: SplitArrays
    valid: SplitArrays | None
    test: SplitArrays | None


def open_arrays(database: Database) -> TrainingData:
    """Open the arrays for training.

    Raises
    ------
    LibraryError
        If they are missing or do not fit together.
    RecipeMismatchError
        If they were made with another recipe.
    """
    folder = database.arrays_dir
    check_mark(folder, REBUILD)
    try:
        labels = json.loads((folder / "labels.json").read_text("utf-8"))
        splits = {split: _open_split(folder, split) for split in SPLITS}
        songs = pd.read_csv(folder / "songs.csv", dtype={"song": str}, keep_default_na=False)
    except FileNotFoundError as error:
        raise LibraryError(f"{error.filename} is missing", WITH_TEST_SONGS) from error
    except (ValueError, KeyError) as error:
        raise LibraryError(f"{folder} is damaged ({error})", REBUILD) from error
    train = splits["train"]
    if train is None:
        raise LibraryError(f"{folder} holds no training slices", REBUILD)
    return TrainingData(
        labels["label"],
        labels["classes"],
        labels["digest"],
        songs,
        train,
        splits["valid"],
        splits["test"],
    )


def _open_split(folder: Path, split: str) -> SplitArrays | None:
    if split == "valid" and not (folder / "valid_x.npy").exists():
        return None
    y = np.load(folder / f"{split}_y.npy")
    if len(y) == 0:
        return None
    x = np.load(folder / f"{split}_x.npy", mmap_mode="r")
    song = np.load(folder / f"{split}_song.npy")
    if not len(x) == len(y) == len(song):
        raise ValueError(f"the {split} arrays differ in length")
    return SplitArrays(x, y, song)
