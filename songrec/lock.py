"""One run at a time, where two would only fetch the same things twice."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from songrec.errors import LibraryError


@contextlib.contextmanager
def one_at_a_time(folder: Path, script: str) -> Iterator[None]:
    """Hold the right to run `script` on `folder`; the system takes it back from the killed.

    Raises
    ------
    LibraryError
        If another run has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / f".{script}.lock", timeout=0):
            yield
    except Timeout as error:
        raise LibraryError(
            f"another {script}.py is at work in {folder}; wait until it has ended"
        ) from error
