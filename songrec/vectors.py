"""The remembered vectors of a library: `song_db/vectors.db`, an SQLite database."""

import contextlib
import dataclasses
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from songrec.files import part_name, raise_if_full

_SCHEMA = """
CREATE TABLE IF NOT EXISTS vectors (
    key TEXT PRIMARY KEY,       -- of the song, as in slices/
    fingerprint TEXT NOT NULL,  -- of its folder of slices when the vector was made
    model TEXT NOT NULL,        -- digest of the model.pt that made it
    recipe TEXT NOT NULL,       -- digest of the picture's recipe
    vector BLOB NOT NULL        -- float32, little-endian
) WITHOUT ROWID
"""
_BUSY_TIMEOUT_S = 60.0
_COMMIT_EVERY_S = 1.0


@dataclasses.dataclass(frozen=True)
class StoredVectors:
    """What the store holds for one model and recipe.

    Attributes
    ----------
    fingerprints
        Key -> fingerprint of its slices; the order is that of the rows of `matrix`.
    matrix : np.ndarray [shape=(n, n_dims), dtype=float32]
    """

    fingerprints: dict[str, str]
    matrix: np.ndarray


class VectorStore:
    """Keeps one vector a song; every vector knows the model and recipe it belongs to.

    Use it as a context. What is written is kept from second to second, so that a killed run
    loses little. A damaged database is put aside and begun anew, since all in it can be made
    again from the slices.
    """

    def __init__(self, path: Path, model: str, recipe: str) -> None:
        self.path = path
        self.model = model
        self.recipe = recipe
        self.was_damaged = False
        self._last_commit_s = time.monotonic()
        try:
            self._connection = self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            self.path.replace(self.path.with_name(f"vectors.db.damaged{part_name()}"))
            self.was_damaged = True
            self._connection = self._connect()

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S)
        try:
            connection.execute(_SCHEMA)
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def load(self) -> StoredVectors:
        """Return all vectors of this model and recipe, sorted by key."""
        rows = self._connection.execute(
            "SELECT key, fingerprint, vector FROM vectors WHERE model = ? AND recipe = ? "
            "ORDER BY key",
            (self.model, self.recipe),
        ).fetchall()
        matrix = np.frombuffer(b"".join(row[2] for row in rows), dtype="<f4")
        n_dims = len(matrix) // len(rows) if rows else 0
        return StoredVectors({row[0]: row[1] for row in rows}, matrix.reshape(len(rows), n_dims))

    def put(self, key: str, fingerprint: str, vector: np.ndarray) -> None:
        """Remember the vector [shape=(n_dims,)] of a song, in place of an older one."""
        blob = np.ascontiguousarray(vector, dtype="<f4").tobytes()
        row = (key, fingerprint, self.model, self.recipe, blob)
        self._write("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)", [row])

    def remove(self, keys: Iterable[str]) -> None:
        """Forget the songs `keys`."""
        self._write("DELETE FROM vectors WHERE key = ?", [(key,) for key in keys])

    def _write(self, statement: str, rows: list[tuple[str | bytes, ...]]) -> None:
        try:
            self._connection.executemany(statement, rows)
            if time.monotonic() - self._last_commit_s > _COMMIT_EVERY_S:
                self.commit()
        except sqlite3.OperationalError as error:
            self._raise_if_full(error)
            raise

    def commit(self) -> None:
        """Make what was written so far safe."""
        try:
            self._connection.commit()
        except sqlite3.OperationalError as error:
            self._raise_if_full(error)
            raise
        self._last_commit_s = time.monotonic()

    def _raise_if_full(self, error: sqlite3.OperationalError) -> None:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise_if_full(OSError(28, str(error)), self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with contextlib.closing(self._connection):
            self.commit()
