"""Openly licensed music from Debian's archive: packages of game music, never installed."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from songrec.errors import DownloadError

_TIMEOUT_S = 600.0
_STDERR_TAIL = 200


def can_download() -> bool:
    """Return whether this machine can download packages from Debian's archive.

    As root it also fetches the list of packages, which a new machine does not have yet. If that
    times out, a package would too.
    """
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return False
    if os.name == "posix" and os.geteuid() == 0:
        try:
            _run(["apt-get", "update", "-qq"], Path("/"))
        except DownloadError:
            return False
    return True


def unpack_package(package: str, folder: Path) -> None:
    """Download a package and unpack its files into `folder`, without installing it.

    Raises
    ------
    DownloadError
        If the archive cannot be reached or has no such package.
    """
    with tempfile.TemporaryDirectory(prefix="songrec-") as scratch:
        done = _run(["apt-get", "download", "-qq", package], Path(scratch))
        archives = list(Path(scratch).glob("*.deb"))
        if done.returncode != 0 or not archives:
            raise DownloadError(f"could not download {package}: {_last_line(done.stderr)}")
        folder.mkdir(parents=True, exist_ok=True)
        done = _run(["dpkg-deb", "-x", str(archives[0]), str(folder.resolve())], Path(scratch))
        if done.returncode != 0:
            raise DownloadError(f"could not unpack {package}: {_last_line(done.stderr)}")


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, cwd=folder, check=False, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise DownloadError(f"{command[0]} did not finish in {_TIMEOUT_S:.0f} s") from error


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:_STDERR_TAIL] if lines else "no reason given"
