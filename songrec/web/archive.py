"""Zips, on disk or on a server, checked before anything is unpacked."""

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

import remotezip
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from songrec.errors import ArchiveError, DownloadError
from songrec.files import atomic_path
from songrec.web import download

# Songs and tables compress a few times at most; a zip bomb compresses thousands of times.
MAX_RATIO = 100
_HARMLESS_BYTES = 1 << 20
# bzip2 expands up to 20,000 times, and zipfile decompresses each block it reads at once.
_READ_BYTES = 1 << 13
_SYMLINK = 0o120000


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip on disk.

    Raises
    ------
    ArchiveError
        If it is not a zip, or holds a name outside its folder.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise ArchiveError(
            f"{path} is not a readable zip ({error}); delete it and run the same command again"
        ) from error
    _check_names(archive, str(path))
    return archive


def open_remote_zip(url: str) -> zipfile.ZipFile:
    """Open a zip on a server; reading it sends range requests.

    Raises
    ------
    ArchiveError
        If it is not a zip, or holds a name outside its folder.
    DownloadError
        If it is not there, or the server does not answer range requests.
    """
    session = requests.Session()
    session.headers.update(download.HEADERS)
    retry = Retry(
        total=download.MAX_TRIES - 1,
        backoff_factor=0.5,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    session.mount("http://", HTTPAdapter(max_retries=retry))
    session.mount("https://", HTTPAdapter(max_retries=retry))
    timeout_s = (download.CONNECT_TIMEOUT_S, download.READ_TIMEOUT_S)
    try:
        archive: zipfile.ZipFile = remotezip.RemoteZip(url, session=session, timeout=timeout_s)
    except remotezip.RangeNotSupported as error:
        raise DownloadError(
            f"the server of {url} does not answer range requests, so single songs cannot be "
            "taken from it; leave out --limit to download the whole zip, or use another --url"
        ) from error
    except remotezip.RemoteIOError as error:
        if "404 Client Error" in str(error):
            raise DownloadError(f"there is no {url} (HTTP 404); is the address right?") from error
        raise DownloadError(
            f"{url} could not be read ({download.reason(error)}); check the network and run the "
            "same command again"
        ) from error
    except (zipfile.BadZipFile, remotezip.RemoteZipError, EOFError) as error:
        raise ArchiveError(f"{url} is not a readable zip ({error})") from error
    _check_names(archive, url)
    return archive


def _check_names(archive: zipfile.ZipFile, where: str) -> None:
    """Refuse a zip that holds a link or a name outside its folder: it is malicious."""
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        drive = ":" in name.partition("/")[0]
        if name.startswith("/") or drive or ".." in PurePosixPath(name).parts:
            raise ArchiveError(
                f"{where} holds the unsafe name {info.filename!r}; nothing was unpacked"
            )
        if info.external_attr >> 16 & 0o170000 == _SYMLINK:
            raise ArchiveError(f"{where} holds the link {info.filename!r}; nothing was unpacked")


def check_sizes(members: Iterable[zipfile.ZipInfo], max_bytes: int, where: str) -> int:
    """Return the unpacked size of all `members` together.

    Raises
    ------
    ArchiveError
        If one of them is larger than `max_bytes` or is compressed suspiciously well.
    """
    total_bytes = 0
    for info in members:
        too_dense = info.file_size > max(MAX_RATIO * info.compress_size, _HARMLESS_BYTES)
        if info.file_size > max_bytes or too_dense:
            raise ArchiveError(
                f"{where}: {info.filename} would grow from {info.compress_size} to "
                f"{info.file_size} bytes, which looks like a zip bomb; nothing was unpacked"
            )
        total_bytes += info.file_size
    return total_bytes


def chunks(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> Iterator[bytes]:
    """Yield the content of a member; its length and CRC are checked on the way.

    Raises
    ------
    ArchiveError
        If it is damaged.
    DownloadError
        If it is on a server and the connection breaks.
    """
    n_bytes = 0
    try:
        with archive.open(info) as source:
            while chunk := source.read(_READ_BYTES):
                n_bytes += len(chunk)
                yield chunk
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ArchiveError(f"{where}: {info.filename} is damaged ({error})") from error
    except (remotezip.RemoteZipError, urllib3.exceptions.HTTPError) as error:
        raise DownloadError(
            f"{where}: the connection broke at {info.filename} ({error})"
        ) from error
    except OSError as error:
        # bz2 reports broken data as an OSError without errno; the others come from the disk.
        if error.errno is not None:
            raise
        raise ArchiveError(f"{where}: {info.filename} is damaged ({error})") from error
    if n_bytes != info.file_size:
        raise ArchiveError(
            f"{where}: {info.filename} ends after {n_bytes} of {info.file_size} bytes"
        )


def extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, final: Path, where: str) -> None:
    """Write a member to `final`, whole or not at all.

    Raises
    ------
    ArchiveError
        If it is damaged.
    DiskFullError
        If there is no space left.
    """
    with atomic_path(final) as part, part.open("wb") as sink:
        for chunk in chunks(archive, info, where):
            sink.write(chunk)
