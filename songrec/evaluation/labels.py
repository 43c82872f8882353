"""The labels that recommendations are scored by: from `tracks.csv`, else from the files' tags."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd

from songrec.errors import LabelError
from songrec.intake.tags import read_labels
from songrec.names import composed
from songrec.store.database import Database, Song
from songrec.store.tracks import COLUMNS, read_tracks


@dataclasses.dataclass(frozen=True)
class LabelledSongs:
    """Labels of the songs of a library, "" where unknown; arrays of text [shape=(n,)]."""

    artist: np.ndarray
    album: np.ndarray
    genre: np.ndarray

    def __getitem__(self, rows: Sequence[int]) -> "LabelledSongs":
        return LabelledSongs(self.artist[rows], self.album[rows], self.genre[rows])

    @property
    def groups(self) -> np.ndarray:
        """Number of each song's artist [shape=(n,)]; a song without one is its own group."""
        own = [name if name else f"\x00{row}" for row, name in enumerate(self.artist)]
        return np.unique(np.array(own, dtype=object), return_inverse=True)[1]


def label_songs(
    database: Database, songs: Sequence[Song], split: str | None
) -> tuple[list[int], LabelledSongs]:
    """Return the rows of the songs with known labels, and the labels.

    Parameters
    ----------
    split
        Only songs of this split of `tracks.csv`; None for all.

    Raises
    ------
    LabelError
        If there are labels for fewer than two songs, or neither artists nor genres.
    """
    if split or database.tracks_csv.exists():
        source = str(database.tracks_csv)
        tracks = read_tracks(database.tracks_csv)
    else:
        source = f"{database.tracks_csv} is missing, and the tags in {database.songs_dir}"
        tracks = _tracks_by_tags(songs)
    names = [composed(song.name) for song in songs]
    rows = [
        row
        for row, name in enumerate(names)
        if name in tracks.index and split in {None, tracks.at[name, "split"]}
    ]
    if len(rows) < 2:
        of_split = f" of split {split}" if split else ""
        raise LabelError(f"{source} lists {len(rows)} of these songs{of_split}; 2 are needed")
    known = tracks.loc[[names[row] for row in rows]]
    if not (known["artist"].any() or known["genre"].any()):
        raise LabelError(f"{source} name neither artist nor genre of these songs")
    columns = (known[name].to_numpy(dtype=object) for name in ("artist", "album", "genre"))
    return rows, LabelledSongs(*columns)


def _tracks_by_tags(songs: Sequence[Song]) -> pd.DataFrame:
    """Return a table as `read_tracks` does, from the tags of the songs' files."""
    tags = [read_labels(song.path) if song.path.is_file() else ("", "", "") for song in songs]
    table = pd.DataFrame(tags, columns=["artist", "album", "genre"], dtype=object)
    table["song"] = [composed(song.name) for song in songs]
    table = table.reindex(columns=list(COLUMNS), fill_value="")
    return table.drop_duplicates("song").set_index("song")
