"""Files and folders that appear whole or not at all."""

import contextlib
import errno
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from songrec.errors import DiskFullError, LibraryError, UndecodableError

_HOST = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:40] or "host"
_PART = re.compile(
    r"^\.(?P<host>[A-Za-z0-9-]+)\.(?P<pid>\d+)\.(?P<started>\d+)\.[0-9a-f]{8}\.part$"
)
_STALE_PART_S = 24 * 3600.0


def part_name() -> str:
    """Return a hidden name that no other process uses and that `remove_stale_parts` recognises."""
    pid = os.getpid()
    return f".{_HOST}.{pid}.{_started(pid)}.{secrets.token_hex(4)}.part"


@contextlib.contextmanager
def atomic_path(final: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `final`, which takes its place when the block succeeds.

    Parameters
    ----------
    final
        The final path. A folder already there is replaced.
    durable
        Flush the file to the device first; for content that is expensive to recreate.

    Raises
    ------
    DiskFullError
        If the device or the quota is full; nothing is left behind.
    """
    part = final.parent / part_name()
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        yield part
        if durable:
            with part.open("rb") as handle:
                os.fsync(handle.fileno())
        if part.is_dir():
            _replace_folder(part, final)
        else:
            part.replace(final)
    except OSError as error:
        remove_path(part)
        raise_if_full(error, final)
        raise
    except BaseException:
        remove_path(part)
        raise


def _replace_folder(part: Path, final: Path) -> None:
    """Move folder `part` to `final`, replacing a folder there, even if two runs do so at once."""
    put_aside = []
    try:
        while True:
            try:
                part.rename(final)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            old = final.parent / part_name()
            with contextlib.suppress(FileNotFoundError):
                final.rename(old)
                put_aside.append(old)
    finally:
        # Not earlier: removing takes long, and `final` would be missing meanwhile.
        for old in put_aside:
            remove_path(old)


def remove_path(path: Path) -> None:
    """Remove a file, link or folder if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def is_own(path: Path, top: Path) -> bool:
    """Return whether neither `path` nor a folder between it and `top` is a link."""
    between = [path, *(folder for folder in path.parents if top in folder.parents)]
    return not any(one.is_symlink() for one in between)


def remove_empty_parents(path: Path, top: Path) -> None:
    """Remove the folders between `path` and `top` that are empty now."""
    for folder in path.parents:
        if folder == top:
            break
        try:
            folder.rmdir()
        except OSError:  # it is not empty, or another run was faster
            break


def fingerprint(path: Path) -> str:
    """Return "size-mtime_ns" of a file or folder, or "gone"; it changes with the file."""
    try:
        status = path.stat()
    except OSError:
        return "gone"
    return f"{status.st_size}-{status.st_mtime_ns}"


def regular_size(path: Path) -> int:
    """Return the size in bytes of a file that can be read to its end.

    Raises
    ------
    UndecodableError
        If it cannot be opened, or is no regular file: reading a pipe or a device may never end.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise UndecodableError(f"cannot be opened: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise UndecodableError("is not a regular file")
    return status.st_size


def raise_if_full(error: OSError, path: Path) -> None:
    """Turn "no space left" and "quota exceeded" into a `DiskFullError` that names the file."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise DiskFullError(
            f"the disk is full: could not write {path}; finished work is kept, "
            "free some space and run the same command again"
        ) from error


@contextlib.contextmanager
def one_at_a_time(folder: Path, script: str) -> Iterator[None]:
    """Let only one `script` run on `folder`; the system releases the lock of a killed process.

    Raises
    ------
    LibraryError
        If another one is running.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / f".{script}.lock", timeout=0):
            yield
    except Timeout as error:
        raise LibraryError(
            f"another {script}.py is running on {folder}; wait until it has finished"
        ) from error


def is_part(name: str) -> bool:
    """Return whether `part_name` made a file name."""
    return _PART.match(name) is not None


def remove_stale_part(path: Path) -> None:
    """Remove a temporary file or folder whose process is gone (killed, or a lost machine)."""
    match = _PART.match(path.name)
    if match is None:
        return
    try:
        age_s = time.time() - path.lstat().st_mtime
    except FileNotFoundError:
        return
    is_mine = match["host"] == _HOST
    if age_s > _STALE_PART_S or (is_mine and not _is_alive(int(match["pid"]), match["started"])):
        remove_path(path)


def remove_stale_parts(folder: Path) -> None:
    """Remove the temporary files of killed processes from a folder, if there is one."""
    if folder.is_dir():
        for path in folder.iterdir():
            remove_stale_part(path)


def _is_alive(pid: int, started: str) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    # Process ids are reused; the same process also has the same start time.
    return _started(pid) == started


def _started(pid: int) -> str:
    """Return the start time of a process in kernel ticks.

    "0" where there is no /proc, "" for a zombie.
    """
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "0"
    # The 22nd field; the second, the name, may contain spaces and brackets.
    fields = status.rpartition(")")[2].split()
    return "" if fields[0] in {"Z", "X"} else fields[19]
