"""What is stored about a library's songs: `song_db/vectors.db`, an SQLite database."""

import contextlib
import dataclasses
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from songrec.errors import DiskFullError
from songrec.files import part_name
from songrec.sound.patterns import projection_digest
from songrec.sound.recipe import RECIPE
from songrec.sound.timbre import N_NUMBERS, Timbres
from songrec.store.descriptions import (
    N_DISTANCES,
    N_SCALES,
    Descriptions,
    References,
    Scales,
)
from songrec.store.sqlite import connect, connect_read_only, is_damaged, translated, version_of

_Buffer = bytes | bytearray
_Row = tuple[str | bytes | int | None, ...]
_FIRST_LAYOUT = """
-- Of other layouts nothing is kept: it can be made again from the slices.
DROP TABLE IF EXISTS songs;
DROP TABLE IF EXISTS reference_songs;
CREATE TABLE IF NOT EXISTS songs_3 (
    key TEXT PRIMARY KEY,       -- of the song, as in slices/
    fingerprint TEXT NOT NULL,  -- of its folder of slices when it was embedded
    model TEXT NOT NULL,        -- digest of the model.pt that embedded it
    recipe TEXT NOT NULL,       -- digests of the picture's recipe and the patterns' projection
    vector BLOB NOT NULL,       -- float32: mean of the slices' latent vectors
    timbre BLOB NOT NULL,       -- float32: Timbres.to_numbers
    patterns BLOB NOT NULL,     -- float32: patterns.pattern_vector
    classes BLOB NOT NULL,      -- float32: mean of the slices' class probabilities
    scale BLOB                  -- float64: mean and deviation of Scales; NULL: not measured yet
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reference_songs_3 (
    model TEXT, recipe TEXT,
    n_library INTEGER NOT NULL, -- songs in the library when they were drawn
    vectors BLOB NOT NULL, timbres BLOB NOT NULL, patterns BLOB NOT NULL, classes BLOB NOT NULL,
    PRIMARY KEY (model, recipe)
) WITHOUT ROWID;
-- The tables as they are called now; a database of the first layout keeps its rows.
ALTER TABLE songs_3 RENAME TO songs;
ALTER TABLE reference_songs_3 RENAME TO reference_songs;
CREATE TABLE titles (
    title TEXT PRIMARY KEY,     -- as shown
    folded TEXT NOT NULL        -- names.fold of it, which looking up among many is slow without
) WITHOUT ROWID;
"""
# Without class probabilities; scales that were measured with them are measured again.
_SECOND_LAYOUT = """
ALTER TABLE songs RENAME TO songs_with_classes;
CREATE TABLE songs (
    key TEXT PRIMARY KEY,       -- of the song, as in slices/
    fingerprint TEXT NOT NULL,  -- of its folder of slices when it was embedded
    model TEXT NOT NULL,        -- digest of the model.pt that embedded it
    recipe TEXT NOT NULL,       -- digests of the picture's recipe and the patterns' projection
    vector BLOB NOT NULL,       -- float32: mean of the slices' latent vectors
    timbre BLOB NOT NULL,       -- float32: Timbres.to_numbers
    patterns BLOB NOT NULL,     -- float32: patterns.pattern_vector
    scale BLOB                  -- float64: Scales.to_numbers. NULL: not measured yet
) WITHOUT ROWID;
INSERT INTO songs
    SELECT key, fingerprint, model, recipe, vector, timbre, patterns, NULL FROM songs_with_classes;
DROP TABLE songs_with_classes;
DROP TABLE reference_songs;
CREATE TABLE reference_songs (
    model TEXT, recipe TEXT,
    n_library INTEGER NOT NULL, -- songs in the library when they were drawn
    scale BLOB NOT NULL,        -- float64: mean and deviation of References
    vectors BLOB NOT NULL, timbres BLOB NOT NULL, patterns BLOB NOT NULL,
    PRIMARY KEY (model, recipe)
) WITHOUT ROWID;
"""
_LAYOUTS = (_FIRST_LAYOUT, _SECOND_LAYOUT)
_COMMIT_EVERY_S = 1.0


@dataclasses.dataclass(frozen=True)
class StoredSongs:
    """What the store holds for one model and recipe, sorted by key.

    Attributes
    ----------
    fingerprints
        Key -> fingerprint of its slices; the order is that of the rows.
    descriptions
        What the songs are compared by.
    scales
        NaN where not measured yet.
    """

    fingerprints: dict[str, str]
    descriptions: Descriptions
    scales: Scales


class VectorStore:
    """Stores what songs are compared by; every row names the model and recipe that made it.

    A context manager. Writes are committed about once a second, so that a killed run loses
    little. A damaged database is renamed and replaced by an empty one, since everything in it can
    be computed again from the slices.

    Parameters
    ----------
    path
        The database.
    model
        Digest of the model whose songs are read and written.

    Attributes
    ----------
    was_damaged
        Whether a damaged database was replaced.

    Raises
    ------
    DiskFullError, LibraryError
        For errors of SQLite.
    """

    def __init__(self, path: Path, model: str) -> None:
        self.path = path
        self.model = model
        self.recipe = _recipe()
        self.was_damaged = False
        self._last_commit_s = time.monotonic()
        with translated(self.path):
            try:
                self._connection = self._connect()
            except sqlite3.DatabaseError as error:
                if not is_damaged(error):
                    raise
                self.path.replace(self.path.with_name(f"vectors.db.damaged{part_name()}"))
                self.was_damaged = True
                self._connection = self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.path, _LAYOUTS)
        try:
            # Reads every page once: some milliseconds per thousand songs.
            if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
                damage = sqlite3.DatabaseError("the database is damaged")
                damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise damage
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def load(self) -> StoredSongs:
        """Return all songs of this model and recipe."""
        missing = np.full(N_SCALES, np.nan).tobytes()
        fingerprints: dict[str, str] = {}
        # Collected row by row, so that memory holds a large library only once.
        blobs = [bytearray() for _ in range(4)]
        for key, made_from, scale, *numbers in self._read(
            "SELECT key, fingerprint, scale, vector, timbre, patterns FROM songs "
            "WHERE model = ? AND recipe = ? ORDER BY key"
        ):
            fingerprints[key] = made_from
            for blob, number in zip(blobs, (scale or missing, *numbers), strict=True):
                blob.extend(number)
        scales = np.frombuffer(blobs[0], dtype="<f8").reshape(-1, N_SCALES)
        return StoredSongs(fingerprints, _descriptions(*blobs[1:]), Scales.from_numbers(scales))

    def put(self, key: str, fingerprint: str, description: Descriptions) -> None:
        """Store one song, replacing its row."""
        row = (key, fingerprint, self.model, self.recipe, *_blobs(description), None)
        self._write("INSERT OR REPLACE INTO songs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [row])

    def put_scales(self, keys: Iterable[str], scales: Scales) -> None:
        """Store the scales of songs."""
        rows = [
            (numbers.tobytes(), key, self.model, self.recipe)
            for key, numbers in zip(keys, scales.to_numbers().astype("<f8"), strict=True)
        ]
        self._write("UPDATE songs SET scale = ? WHERE key = ? AND model = ? AND recipe = ?", rows)

    def references(self) -> tuple[int, References] | None:
        """Return the reference songs and how many songs they were drawn from, if there are any."""
        rows = list(
            self._read(
                "SELECT n_library, scale, vectors, timbres, patterns FROM reference_songs "
                "WHERE model = ? AND recipe = ?"
            )
        )
        if not rows:
            return None
        n_library, scale, *numbers = rows[0]
        scales = np.frombuffer(scale, dtype="<f8").reshape(-1, 2, N_DISTANCES)
        return n_library, References(_descriptions(*numbers), scales[:, 0], scales[:, 1])

    def put_references(self, n_library: int, references: References) -> None:
        """Store new reference songs and drop every scale measured on the old ones."""
        scale = np.stack([references.mean, references.deviation], axis=1).astype("<f8").tobytes()
        row: _Row = (self.model, self.recipe, n_library, scale, *_blobs(references.songs))
        self._write("DELETE FROM reference_songs", [()])
        self._write("INSERT INTO reference_songs VALUES (?, ?, ?, ?, ?, ?, ?)", [row])
        self._write("UPDATE songs SET scale = NULL", [()])

    def remove(self, keys: Iterable[str]) -> None:
        """Delete songs."""
        self._write("DELETE FROM songs WHERE key = ?", [(key,) for key in keys])

    def folded_titles(self) -> dict[str, str]:
        """Return the folded form of every title that `put_folded_titles` stored."""
        with translated(self.path):
            return dict(self._connection.execute("SELECT title, folded FROM titles").fetchall())

    def put_folded_titles(self, folded: Mapping[str, str]) -> None:
        """Store the folded forms of titles."""
        self._write("INSERT OR REPLACE INTO titles VALUES (?, ?)", list(folded.items()))

    def _read(self, statement: str) -> Iterator[tuple[Any, ...]]:
        with translated(self.path):
            yield from self._connection.execute(statement, (self.model, self.recipe))

    def _write(self, statement: str, rows: Sequence[_Row]) -> None:
        with translated(self.path):
            self._connection.executemany(statement, rows)
        if time.monotonic() - self._last_commit_s > _COMMIT_EVERY_S:
            self.commit()

    def commit(self) -> None:
        """Commit what was written so far."""
        with translated(self.path):
            self._connection.commit()
        self._last_commit_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.closing(self._connection):
            if not isinstance(error, DiskFullError):
                self.commit()


def known_fingerprints(path: Path, model: str) -> dict[str, str]:
    """Return key -> fingerprint of the songs of this model, without writing anything.

    Empty if the database is missing, damaged or of another layout.

    Raises
    ------
    LibraryError
        If another run has it locked.
    """
    if not path.exists():
        return {}
    statement = "SELECT key, fingerprint FROM songs WHERE model = ? AND recipe = ?"
    with translated(path):
        try:
            with contextlib.closing(connect_read_only(path)) as database:
                if version_of(database) == 0:
                    statement = statement.replace("songs", "songs_3")
                return dict(database.execute(statement, (model, _recipe())).fetchall())
        except sqlite3.DatabaseError as error:
            if is_damaged(error) or "no such table" in str(error):
                return {}
            raise


def _recipe() -> str:
    """Return the digests of everything but the model that determines what is stored."""
    return f"{RECIPE.digest}+{projection_digest()}"


def _blobs(songs: Descriptions) -> tuple[bytes, ...]:
    numbers = (songs.vectors, songs.timbres.to_numbers(), songs.patterns)
    return tuple(np.ascontiguousarray(x, dtype="<f4").tobytes() for x in numbers)


def _descriptions(vectors: _Buffer, timbres: _Buffer, patterns: _Buffer) -> Descriptions:
    numbers = np.frombuffer(timbres, dtype="<f4").reshape(-1, N_NUMBERS)
    n_songs = len(numbers)

    def rows(blob: _Buffer) -> np.ndarray:
        flat = np.frombuffer(blob, dtype="<f4")
        return flat.reshape(n_songs, len(flat) // max(n_songs, 1))

    return Descriptions(rows(vectors), Timbres.from_numbers(numbers), rows(patterns))
