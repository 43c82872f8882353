"""Which song goes into which array: labels matched, the split decided, rows assigned."""

import dataclasses
import hashlib

import numpy as np
import pandas as pd

from songrec.errors import LabelError
from songrec.files import fingerprint
from songrec.learning.splits import draw_test_songs
from songrec.names import join_name
from songrec.sound.recipe import RECIPE
from songrec.store.database import SliceFolder
from songrec.store.slices import slice_files
from songrec.store.tracks import Label

SPLITS = ("train", "valid", "test")

# What stays on one side of the split for each label. An artist that is a class needs songs
# on both sides, so albums are kept whole instead.
_GROUP_OF: dict[str, str | None] = {"genre": "artist", "artist": "album", "album": None}

_NOTED_SHARE = 0.1
_COLUMNS = ["song", "key", "artist", "album", "label", "split", "n_slices", "fingerprint"]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which song goes into which array, and to which rows.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a song: song, key, artist, album, label, split, n_slices, start
        (row in its array), fingerprint (of the folder of slices).
    label
        What the classes are.
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
    folders: list[SliceFolder],
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
    folders
        The songs with slices; their `name` is looked up in `tracks`.
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
            "song": folder.name,
            "key": folder.key,
            "artist": tracks.at[folder.name, "artist"],
            "album": tracks.at[folder.name, "album"],
            "label": _label_of(tracks.loc[folder.name], label),
            "split": tracks.at[folder.name, "split"],
            "n_slices": len(slice_files(folder.path)),
            "fingerprint": fingerprint(folder.path),
        }
        for folder in folders
        if folder.name in tracks.index
    ]
    table = pd.DataFrame(rows, columns=_COLUMNS)
    notes = []
    if len(folders) > len(table):
        notes.append(f"{len(folders) - len(table)} songs are not in tracks.csv and are left out")
    labelled = table[table["label"] != ""].sort_values(["song", "key"], ignore_index=True)
    if len(table) > len(labelled):
        notes.append(f"{len(table) - len(labelled)} songs have no {label} and are left out")
    if labelled.empty:
        example = f" such as {folders[0].name!r}" if len(table) < len(folders) else ""
        raise LabelError(
            f"no song with slices has a {label} in tracks.csv: nothing to learn "
            f"({len(folders) - len(table)} of {len(folders)} songs{example} are not in it)"
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
    """Return a song's class; albums with the same title by two artists are two classes."""
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
        notes.append(
            f"{len(kept) - len(known)} songs of labels without a training song are left out"
        )
    return known.reset_index(drop=True), notes


def _draw_split(
    table: pd.DataFrame, label: Label, size: float, seed: int
) -> tuple[pd.DataFrame, list[str]]:
    """Split at random, keeping together what `_GROUP_OF` says."""
    group = _GROUP_OF[label]
    # A song in two formats is one song, whatever is known of its artist.
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
        few = f"few {group or 'song'}s"
        notes.append(f"{share:.0%} of the songs are test songs: with {few} the split is coarse")
    untested = sorted(set(table["label"]) - set(table.loc[is_test, "label"]))
    if untested:
        names = ", ".join(untested[:5]) + (", ..." if len(untested) > 5 else "")
        together = f"song or only one {group}" if group else "song"
        notes.append(f"trained but not tested, with only one {together}: {names}")
    return table, notes
