"""The training data as arrays on disk, laid out by a plan and filled song by song."""

import dataclasses
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd

from songrec.errors import LabelError, LibraryError
from songrec.files import fingerprint
from songrec.learning.splits import draw_test_songs
from songrec.names import join_name
from songrec.sound.recipe import RECIPE
from songrec.store.database import Database, Song
from songrec.store.marks import check_mark, write_mark
from songrec.store.slices import read_slices, slice_files
from songrec.store.tracks import Label

SPLITS = ("train", "valid", "test")
REBUILD = "python load_training_data.py --force"
_NO_TEST_NOTE = "NO_TEST_SET.txt"

# What must not stand on both sides when a label is learnt. An artist label needs the artist on
# both sides, so what is kept apart is one step finer.
_GROUP_OF: dict[str, str | None] = {"genre": "artist", "artist": "album", "album": None}


_NOTED_SHARE = 0.1
_COLUMNS = ["song", "key", "artist", "album", "label", "split", "n_slices", "fingerprint"]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which song goes into which array, at which rows.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a song: song, key, artist, album, label, split, n_slices, start
        (row in its array), fingerprint (of the folder of slices).
    label
        What is learnt.
    classes
        The labels; `y` holds positions in this list.
    notes
        What the user should know about the split.
    """

    table: pd.DataFrame
    label: Label
    classes: list[str]
    notes: list[str]

    def n_slices(self, split: str) -> int:
        """Count the slices of a split."""
        return int(self.table.loc[self.table["split"] == split, "n_slices"].sum())

    def summary(self) -> str:
        """Say how many songs and slices each split has."""
        parts = []
        for split in SPLITS:
            n_songs = int((self.table["split"] == split).sum())
            if n_songs or split == "test":
                parts.append(f"{split} {n_songs} songs ({self.n_slices(split)} slices)")
        return f"{len(self.classes)} {self.label} labels: " + ", ".join(parts)

    @property
    def digest(self) -> str:
        """A digest that changes when any song, label, split or the recipe does."""
        text = self.table.to_csv(index=False) + self.label + RECIPE.digest
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def make_plan(
    songs: list[Song],
    tracks: pd.DataFrame,
    *,
    label: Label,
    size: float,
    split: str,
    seed: int,
) -> Plan:
    """Match songs with labels and decide the split.

    Parameters
    ----------
    songs
        Songs with slices; `name` is looked up in `tracks`, `path` is the folder of slices.
    tracks
        What `read_tracks` returns.
    size
        Share of the songs that train, 0 < size <= 1; unused with split "official".
    split
        "random", or "official" to obey the column `split`.
    seed
        Of the random split.

    Raises
    ------
    LabelError
        If fewer than two classes are left, or `official` finds no training song.
    """
    rows = [
        {
            "song": song.name,
            "key": song.key,
            "artist": tracks.at[song.name, "artist"],
            "album": tracks.at[song.name, "album"],
            "label": _label_of(tracks.loc[song.name], label),
            "split": tracks.at[song.name, "split"],
            "n_slices": len(slice_files(song.path)),
            "fingerprint": fingerprint(song.path),
        }
        for song in songs
        if song.name in tracks.index
    ]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    notes = []
    if len(songs) > len(table):
        notes.append(f"{len(songs) - len(table)} songs are not in tracks.csv and are left out")
    labelled = table[table["label"] != ""].sort_values(["song", "key"], ignore_index=True)
    if len(table) > len(labelled):
        notes.append(f"{len(table) - len(labelled)} songs have no {label} and are left out")
    if labelled.empty:
        example = f" such as {songs[0].name!r}" if songs and len(table) < len(songs) else ""
        raise LabelError(
            f"no song with slices has a {label} in tracks.csv: nothing to learn "
            f"({len(songs) - len(table)} of {len(songs)} songs{example} are not in it)"
        )

    if split == "official":
        labelled, more = _obey_split(labelled)
    else:
        labelled, more = _draw_split(labelled, label, size, seed)
    classes = sorted(set(labelled.loc[labelled["split"] == "train", "label"]))
    if len(classes) < 2:
        raise LabelError(
            f"the training songs have only one {label} ({classes[0]!r}): there is nothing to "
            "tell apart; label more songs in tracks.csv"
        )
    # Slices of a song stand together, and the songs of a split in order of name.
    labelled = labelled.sort_values(["split", "song", "key"], ignore_index=True)
    after = labelled.groupby("split")["n_slices"].cumsum()
    labelled["start"] = after - labelled["n_slices"]
    return Plan(labelled, label, classes, notes + more)


def _label_of(track: pd.Series, label: Label) -> str:
    """Return what is learnt of a song; albums of one title by two artists are two."""
    if label == "album" and track["album"]:
        return join_name(track["artist"], track["album"])
    return str(track[label])


def _obey_split(table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Keep the songs that have a split, and of the others' classes those that are trained."""
    notes = []
    kept = table[table["split"] != ""]
    if len(kept) < len(table):
        notes.append(f"{len(table) - len(kept)} songs have no split and are left out")
    trained = set(kept.loc[kept["split"] == "train", "label"])
    if not trained:
        raise LabelError("the column split of tracks.csv marks no labelled song as train")
    known = kept[kept["label"].isin(trained)]
    if len(known) < len(kept):
        notes.append(f"{len(kept) - len(known)} songs of labels that no song trains are left out")
    return known.reset_index(drop=True), notes


def _draw_split(
    table: pd.DataFrame, label: Label, size: float, seed: int
) -> tuple[pd.DataFrame, list[str]]:
    """Split at random, keeping together what `_GROUP_OF` says."""
    group = _GROUP_OF[label]
    # A song that is there in two formats is one song, whatever is known of its artist.
    names = table[group] if group else [""] * len(table)
    groups = [
        f"{group} {name}" if name else f"song {song}"
        for name, song in zip(names, table["song"], strict=True)
    ]
    is_test = draw_test_songs(list(table["label"]), groups, 1.0 - size, seed)
    table = table.assign(split=np.where(is_test, "test", "train"))
    if size >= 1.0:
        return table, []
    notes = []
    share = float(is_test.mean())
    if abs(share - (1.0 - size)) > _NOTED_SHARE:
        notes.append(f"{share:.0%} of the songs test: few {group or 'song'}s make a coarse split")
    untested = sorted(set(table["label"]) - set(table.loc[is_test, "label"]))
    if untested:
        names = ", ".join(untested[:5]) + (", ..." if len(untested) > 5 else "")
        together = f"song or only one {group}" if group else "song"
        notes.append(f"only trained, not tested, for having only one {together}: {names}")
    return table, notes


def allocate(plan: Plan, folder: Path) -> None:
    """Write the arrays of labels, and empty arrays of pictures for `fill` to fill.

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
            "No song tests: there is no test set, so the training cannot say how good the\n"
            "network is on songs it has not seen. For one song in five as a test set:\n\n"
            "    python load_training_data.py --size 0.8\n",
            encoding="utf-8",
        )
    content = {"label": plan.label, "classes": plan.classes, "digest": plan.digest}
    (folder / "labels.json").write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    write_mark(folder)


def _reserve(path: Path) -> None:
    """Give a sparse file its space now: writing to a map on a full disk kills the process."""
    if hasattr(os, "posix_fallocate"):
        with path.open("r+b") as handle:
            os.posix_fallocate(handle.fileno(), 0, path.stat().st_size)


def fill(folder: Path, plan: Plan, songs: list[Song]) -> None:
    """Copy the slices of the planned songs (`path` is their folder) to their rows.

    Raises
    ------
    BadPictureError
        If a slice is damaged.
    """
    folders = {song.key: song.path for song in songs}
    for split, rows in plan.table.groupby("split"):
        pictures = np.load(folder / f"{split}_x.npy", mmap_mode="r+")
        for row in rows.itertuples():
            pictures[row.start : row.start + row.n_slices] = read_slices(folders[row.key])
        pictures.flush()


def digest_there(database: Database) -> str | None:
    """Return the digest of the plan that the arrays on disk were made by, if they are there."""
    try:
        return json.loads((database.arrays_dir / "labels.json").read_text("utf-8"))["digest"]
    except (OSError, ValueError, KeyError):
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
        raise LibraryError(
            f"{error.filename} is missing; run: python load_training_data.py --size 0.8"
        ) from error
    except (ValueError, KeyError) as error:
        raise LibraryError(f"{folder} is damaged ({error}); run: {REBUILD}") from error
    train = splits["train"]
    if train is None:
        raise LibraryError(f"{folder} holds no training slices; run: {REBUILD}")
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
