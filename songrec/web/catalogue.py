"""The CSV of Spotify tracks: reading it, and drawing songs from it."""

import dataclasses
import hashlib
import json
import lzma
import zipfile
import zlib
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from songrec.errors import LibraryError, UsageError
from songrec.names import fold
from songrec.web.ledger import Entry
from songrec.web.spotify import is_track_id

URL = (
    "https://huggingface.co/datasets/maharshipandya/spotify-tracks-dataset/resolve/main/dataset.csv"
)
_ENDINGS = ("", ".gz", ".bz2", ".xz", ".zip")
# What pandas and the decompressors raise for a file that is not CSV, damaged or truncated;
# pandas' own errors and a zip of several files are ValueErrors.
_UNREADABLE = (ValueError, OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
_TEXT_COLUMNS = ("track_id", "artists", "album_name", "track_name", "track_genre")
_COLUMNS = (*_TEXT_COLUMNS, "duration_ms", "explicit")


@dataclasses.dataclass(frozen=True)
class Wish:
    """What to draw. It identifies a sample, so that the same command continues it.

    Attributes
    ----------
    source
        The CSV, where it is not the default one.
    genres
        Only these; all if empty.
    limit
        Maximum number of songs over all genres; None for no limit.
    """

    per_genre: int
    source: str = ""
    genres: tuple[str, ...] = ()
    limit: int | None = None
    seed: int | None = None

    @property
    def sample(self) -> str:
        """A short name of this wish."""
        text = json.dumps(dataclasses.astuple(self))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def find_csv(data: Path) -> Path:
    """Return the default CSV, plain or compressed; the plain path if there is none."""
    plain = data / "spotify_tracks.csv"
    paths = [plain.with_name(plain.name + ending) for ending in _ENDINGS]
    return next((path for path in paths if path.exists()), plain)


def read_csv(path: Path) -> pd.DataFrame:
    """Read the tracks of a CSV, plain or compressed; rows without id or title are dropped.

    Returns
    -------
    pandas.DataFrame
        Columns track_id, artists (joined by ";"), album_name, track_name, track_genre as text,
        duration_ms as int, explicit as bool.

    Raises
    ------
    LibraryError
        If it is missing, is not CSV, or lacks a column.
    """
    try:
        # A band may be called "None" or "NA": no text means "missing" here.
        table = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            usecols=lambda column: column in _COLUMNS,
            encoding="utf-8",
            encoding_errors="replace",
        )
    except FileNotFoundError as error:
        raise LibraryError(f"there is no {path}; leave out --csv to download one") from error
    except _UNREADABLE as error:
        raise LibraryError(f"{path} cannot be read as CSV: {error}") from error
    missing = [column for column in _TEXT_COLUMNS if column not in table.columns]
    if missing:
        raise LibraryError(
            f"{path} has no column {missing[0]!r}; it needs {', '.join(_TEXT_COLUMNS)}"
        )
    table = table.reindex(columns=list(_COLUMNS), fill_value="")
    length_ms = pd.to_numeric(table["duration_ms"], errors="coerce")
    table["duration_ms"] = length_ms.fillna(0).clip(0, 1 << 40).astype(np.int64)
    table["explicit"] = table["explicit"].str.lower().isin(("true", "1"))
    usable = table["track_id"].map(is_track_id) & (table["track_name"] != "")
    usable &= table["artists"].str.strip("; ") != ""
    if not usable.any():
        raise LibraryError(f"{path} holds no track with an id, an artist and a title")
    return table[usable]


def draw(
    table: pd.DataFrame, wish: Wish, left_out: Collection[str], is_there: Callable[[str], bool]
) -> list[Entry]:
    """Draw songs from each genre, none twice: neither by track id nor by artist and title.

    Parameters
    ----------
    table
        As `read_csv` returns it.
    wish
        How many, of what.
    left_out
        Track ids not to draw.
    is_there
        Returns whether a song of that name is in the library.

    Returns
    -------
    list of Entry
        In an order that mixes the genres. A genre with too few songs gives all it has.

    Raises
    ------
    UsageError
        If a genre is unknown.
    """
    by_genre = {str(genre): rows for genre, rows in table.groupby("track_genre", sort=True)}
    unknown = [genre for genre in wish.genres if genre not in by_genre]
    if unknown:
        raise UsageError(
            f"the CSV has no genre {unknown[0]!r}; it has: {', '.join(sorted(by_genre))}"
        )
    rng = np.random.default_rng(wish.seed)
    taken_ids, taken_names = set(left_out), set[str]()
    chosen: list[tuple[float, Entry]] = []
    # Genres with the fewest songs choose first, else larger ones take songs they share.
    genres = sorted(wish.genres or by_genre, key=lambda g: by_genre[g]["track_name"].nunique())
    for genre in genres:
        rows = by_genre[genre]
        n_drawn = 0
        for row in rng.permutation(len(rows)).tolist():
            if n_drawn == wish.per_genre:
                break
            entry = _entry(rows, row)
            name = fold(entry.name)
            if entry.track_id in taken_ids or name in taken_names or is_there(entry.name):
                continue
            taken_ids.add(entry.track_id)
            taken_names.add(name)
            chosen.append((rng.random(), entry))
            n_drawn += 1
    chosen.sort(key=lambda pair: (pair[0], pair[1].track_id))
    return [entry for _, entry in chosen][: wish.limit]


def _entry(rows: pd.DataFrame, number: int) -> Entry:
    row = dict(zip(rows.columns, rows.iloc[number].tolist(), strict=True))
    return Entry(
        track_id=row["track_id"],
        artists=row["artists"],
        title=row["track_name"],
        album=row["album_name"],
        genre=row["track_genre"],
        duration_ms=int(row["duration_ms"]),
        explicit=bool(row["explicit"]),
    )


def genres_of(text: Sequence[str]) -> tuple[str, ...]:
    """Return genres as given by repeated or comma-joined flags, sorted, each once."""
    return tuple(sorted({part.strip() for item in text for part in item.split(",")} - {""}))
