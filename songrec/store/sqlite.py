"""SQLite databases, opened one way, with errors that name the file."""

import contextlib
import errno
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from songrec.advice import Advice
from songrec.errors import LibraryError
from songrec.files import raise_if_full

BUSY_TIMEOUT_S = 60.0
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# The low byte is the primary result code; the rest refines it.
_KIND = 0xFF


def connect(path: Path, schema: str, version: int) -> sqlite3.Connection:
    """Open a database and create its tables if they are missing.

    Parameters
    ----------
    schema
        Statements that create the tables; run once, on a new file or an older version.
    version
        Of the schema, kept as `PRAGMA user_version`.

    Raises
    ------
    LibraryError
        If the file has a newer schema.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
    try:
        found = version_of(connection)
        if found > version:
            raise LibraryError(f"{path} was written by a newer version of this project")
        if found < version:
            connection.executescript(f"BEGIN;{schema};PRAGMA user_version = {version:d};COMMIT;")
    except (sqlite3.Error, LibraryError):
        connection.close()
        raise
    return connection


def connect_read_only(path: Path) -> sqlite3.Connection:
    """Open an existing database for reading; no file is written, not even beside it."""
    uri = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(uri, timeout=BUSY_TIMEOUT_S, uri=True)


def version_of(connection: sqlite3.Connection) -> int:
    """Return the version of a database's schema; 0 for a new file."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def is_damaged(error: sqlite3.Error) -> bool:
    """Return whether the file is damaged or not a database, rather than busy."""
    return _kind(error) in _DAMAGE


@contextlib.contextmanager
def translated(path: Path, *advice: Advice) -> Iterator[None]:
    """Turn SQLite errors into errors that name the file.

    Parameters
    ----------
    path
        The database.
    *advice
        What repairs a damaged one.

    Raises
    ------
    DiskFullError
        If there is no space left.
    LibraryError
        If another run has it locked, or it is damaged or cannot be written.
    """
    try:
        yield
    except sqlite3.Error as error:
        kind = _kind(error)
        if kind == sqlite3.SQLITE_FULL:
            raise_if_full(OSError(errno.ENOSPC, str(error)), path)
        if kind in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise LibraryError(
                f"{path} is in use by another run; wait until that has finished and run the same "
                "command again"
            ) from error
        if kind in _DAMAGE:
            raise LibraryError(f"{path} is damaged ({error})", *advice) from error
        raise LibraryError(f"{path} cannot be used ({error})") from error


def _kind(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & _KIND
