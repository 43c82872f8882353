"""SQLite databases, opened one way, with errors that name the file."""

import contextlib
import errno
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from songrec.advice import Advice
from songrec.errors import LibraryError
from songrec.files import raise_if_full

BUSY_TIMEOUT_S = 60.0
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# The low byte is the primary result code; the rest refines it.
_KIND = 0xFF


def connect(path: Path, steps: Sequence[str]) -> sqlite3.Connection:
    """Open a database and bring its tables up to date.

    Parameters
    ----------
    steps
        Scripts: the first creates the tables, each further one turns a layout into the next. How
        many have been run is kept as `PRAGMA user_version`; the missing ones are run.

    Raises
    ------
    LibraryError
        If the file has a newer schema.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S)
    try:
        found = version_of(connection)
        if found > len(steps):
            raise LibraryError(f"{path} was written by a newer version of this project")
        if found < len(steps):
            _bring_up_to_date(connection, steps)
    except (sqlite3.Error, LibraryError):
        connection.close()
        raise
    return connection


def _bring_up_to_date(connection: sqlite3.Connection, steps: Sequence[str]) -> None:
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        # Read again: another run may have done this while this one waited for the lock.
        for version in range(version_of(connection) + 1, len(steps) + 1):
            for statement in _statements(steps[version - 1]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version:d}")


def _statements(script: str) -> Iterator[str]:
    """Split a script into its statements; `executescript` would end the transaction."""
    statement = ""
    for part in script.split(";"):
        statement += part
        if statement.strip() and sqlite3.complete_statement(f"{statement};"):
            yield statement
            statement = ""
        else:
            statement += ";"  # of a comment


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
