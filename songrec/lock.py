"""One run at a time, where two would only fetch the same things twice."""

import contextlib
from collections.abc import Iterator

from filelock import FileLock, Timeout

from songrec.database import Database
from songrec.errors import LibraryError


@contextlib.contextmanager
def one_at_a_time(database: Database, script: str) -> Iterator[None]:
    """Hold the right to run `script` on `database`; the system takes it back from the killed.

    Raises
    ------
    LibraryError
        If another run has it.
    """
    database.root.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(database.root / f".{script}.lock", timeout=0):
            yield
    except Timeout as error:
        raise LibraryError(
            f"another {script}.py is at work in {database.root}; wait until it has ended"
        ) from error
