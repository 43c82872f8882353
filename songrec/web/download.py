"""Large downloads: resumed after a broken connection, verified before they appear."""

import contextlib
import dataclasses
import hashlib
import json
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import requests
import tqdm
import urllib3

from songrec.errors import DiskFullError, DownloadError
from songrec.files import atomic_path, raise_if_full
from songrec.runs.progress import redraw_interval_s

MAX_TRIES = 5
MAX_WAIT_S = 60.0
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
_CHUNK_BYTES = 1 << 18
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
HEADERS = {
    "User-Agent": "Song-Recommender (python-requests)",
    # A range of a compressed answer would be a range of something else.
    "Accept-Encoding": "identity",
}


class _BrokenLineError(Exception):
    """A failure that may pass with another try; `wait_s` if the server named a time."""

    def __init__(self, message: str, wait_s: float | None = None) -> None:
        super().__init__(message)
        self.wait_s = wait_s


@dataclasses.dataclass
class _Note:
    """What the first answer said about a file; kept beside its `.part` to resume it safely."""

    url: str
    total_bytes: int | None = None
    validator: str = ""  # strong ETag or Last-Modified, for If-Range

    @classmethod
    def read(cls, path: Path) -> "_Note | None":
        """Return the note; None if there is none or it cannot be read."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Write the note, whole or not at all."""
        with atomic_path(path) as part:
            part.write_text(json.dumps(dataclasses.asdict(self)), encoding="utf-8")


def download(
    url: str,
    final: Path,
    *,
    sha1: str | None = None,
    space_factor: float = 1.0,
    quiet: bool = False,
) -> None:
    """Download `url` to `final`, which appears only when complete and with the right SHA-1.

    What has come so far stays beside it as `<name>.part`; the next call goes on from there if
    the server still has the same file and answers range requests, else it starts over.

    Parameters
    ----------
    url
        Its address.
    final
        Where to put it. A file already there is only verified.
    sha1
        Its expected SHA-1; None to skip the check.
    space_factor
        Free space needed, as a multiple of its size (2 if it will be unpacked next to it).
    quiet
        Show no bar.

    Raises
    ------
    DownloadError
        If it is not there, the line breaks `MAX_TRIES` times without a byte of progress, the
        server asks to wait for longer than `MAX_WAIT_S`, or the SHA-1 is wrong.
    DiskFullError
        If there is not enough space; raised before the download if the size is known.
    """
    if final.exists():
        _check_sha1(final, url, sha1, quiet=quiet)
        return
    part = final.with_name(final.name + ".part")
    final.parent.mkdir(parents=True, exist_ok=True)
    with (
        requests.Session() as session,
        _bar(final.name, total_bytes=None, quiet=quiet) as bar,
    ):
        session.headers.update(HEADERS)
        n_failures = 0
        most_bytes = _size(part)
        while True:
            try:
                _fetch_rest(session, url, part, space_factor, bar)
                break
            except (requests.RequestException, _BrokenLineError) as error:
                n_failures = 1 if _size(part) > most_bytes else n_failures + 1
                most_bytes = max(most_bytes, _size(part))
                if n_failures >= MAX_TRIES:
                    raise DownloadError(
                        f"{url} could not be fetched in {MAX_TRIES} tries ({reason(error)}); check "
                        "the network and run the same command again"
                        + (f", {most_bytes / 1e6:.1f} MB of it are kept" if most_bytes else "")
                    ) from error
                _wait(error, n_failures, url)
    try:
        _check_sha1(part, url, sha1, quiet=quiet)
    except DownloadError:
        # Nothing can be resumed from wrong bytes.
        part.unlink()
        _note_path(part).unlink(missing_ok=True)
        raise
    part.replace(final)
    _note_path(part).unlink(missing_ok=True)


def _note_path(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _fetch_rest(
    session: requests.Session, url: str, part: Path, space_factor: float, bar: tqdm.tqdm
) -> None:
    """Append to `part` what is missing; return when it is complete."""
    note_path = _note_path(part)
    note = _Note.read(note_path)
    have_bytes = _size(part) if note is not None and note.url == url else 0
    if note and have_bytes and have_bytes == note.total_bytes:
        return
    headers = {}
    if have_bytes:
        headers["Range"] = f"bytes={have_bytes}-"
        if note and note.validator:
            headers["If-Range"] = note.validator
    with session.get(
        url, headers=headers, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
    ) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            part.unlink(missing_ok=True)
            raise _BrokenLineError("the file on the server has become shorter")
        _check_status(answer, url)
        start_bytes, total_bytes = _extent(answer)
        if start_bytes != have_bytes or (start_bytes and note and note.total_bytes != total_bytes):
            if start_bytes:
                part.unlink(missing_ok=True)
                raise _BrokenLineError("the server sent another range than was asked for")
            have_bytes = 0
        if total_bytes is not None:
            check_space(part.parent, int(total_bytes * space_factor) - have_bytes, url)
        try:
            # The old note must not be used for the bytes of another file.
            if not have_bytes:
                part.unlink(missing_ok=True)
            _Note(url, total_bytes, _validator(answer)).write(note_path)
            bar.reset(total_bytes)
            bar.update(have_bytes)
            with part.open("ab") as sink:
                # Unbuffered: what has arrived is on disk when the connection breaks.
                while chunk := answer.raw.read1(_CHUNK_BYTES):
                    sink.write(chunk)
                    sink.flush()
                    bar.update(len(chunk))
        except urllib3.exceptions.HTTPError as error:
            raise _BrokenLineError(
                f"the connection broke at byte {_size(part)}: {error}"
            ) from error
        except OSError as error:
            raise_if_full(error, part)
            raise
    if total_bytes is not None and _size(part) != total_bytes:
        raise _BrokenLineError(f"the answer ended at {_size(part)} of {total_bytes} bytes")


def _extent(answer: requests.Response) -> tuple[int, int | None]:
    """Return (first byte, size of the whole file if known) of an answer."""
    try:
        if answer.status_code == requests.codes.partial_content:
            span, _, total = answer.headers["Content-Range"].removeprefix("bytes ").partition("/")
            return int(span.partition("-")[0]), int(total) if total != "*" else None
        return 0, int(answer.headers["Content-Length"])
    except (KeyError, ValueError):
        if answer.status_code == requests.codes.partial_content:
            raise _BrokenLineError("the server's Content-Range makes no sense") from None
        return 0, None


def _validator(answer: requests.Response) -> str:
    etag = answer.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else answer.headers.get("Last-Modified", "")


def _check_status(answer: requests.Response, url: str) -> None:
    status = answer.status_code
    if status in _RETRIED_STATUS:
        raise _BrokenLineError(f"HTTP {status} {answer.reason}", _retry_after_s(answer))
    if status in (requests.codes.not_found, requests.codes.gone):
        raise DownloadError(f"there is no {url} (HTTP {status}); is the address right?")
    if not answer.ok:
        raise DownloadError(f"{url} was refused: HTTP {status} {answer.reason}")


def _retry_after_s(answer: requests.Response) -> float | None:
    try:
        return float(answer.headers["Retry-After"])
    except (KeyError, ValueError):
        return None


def _wait(error: Exception, n_failures: int, url: str) -> None:
    """Sleep before the next try: as long as the server asks, else twice as long each time."""
    asked_s = getattr(error, "wait_s", None)
    if asked_s is not None and asked_s > MAX_WAIT_S:
        raise DownloadError(
            f"the server of {url} asks to wait {asked_s:.0f} s; run the same command after that"
        ) from error
    backoff_s = 0.5 * 2 ** (n_failures - 1)
    time.sleep(asked_s if asked_s is not None else backoff_s * random.uniform(0.8, 1.2))  # noqa: S311


def reason(error: BaseException) -> str:
    """Return the innermost cause, which the libraries wrap in others: e.g. "Connection refused"."""
    causes = (error.__cause__, getattr(error, "reason", None), *error.args, error.__context__)
    inner = next((cause for cause in causes if isinstance(cause, BaseException)), None)
    if inner is not None:
        return reason(inner)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def check_space(folder: Path, needed_bytes: int, what: str) -> None:
    """Refuse what does not fit on the disk.

    Raises
    ------
    DiskFullError
        If fewer than `needed_bytes` are free in `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise DiskFullError(
            f"{what} needs {needed_bytes / 1e6:.1f} MB more in {folder}, "
            f"{free_bytes / 1e6:.1f} MB are free; free some space or choose another --data folder"
        )


def _check_sha1(path: Path, url: str, sha1: str | None, *, quiet: bool) -> None:
    """Raise `DownloadError` if the file's SHA-1 is not `sha1`."""
    if sha1 is None:
        return
    digest = hashlib.sha1(usedforsecurity=False)
    with (
        path.open("rb") as source,
        _bar(f"checking {path.name}", total_bytes=_size(path), quiet=quiet) as bar,
    ):
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() != sha1:
        raise DownloadError(
            f"wrong checksum: {path} from {url} has SHA-1 {digest.hexdigest()}, it should be "
            f"{sha1}; delete it if it is still there and run the same command again, or use "
            "--no-verify for a mirror with its own files"
        )


@contextlib.contextmanager
def _bar(name: str, total_bytes: int | None, *, quiet: bool) -> Iterator[tqdm.tqdm]:
    """Show bytes, speed and time left."""
    with tqdm.tqdm(
        total=total_bytes,
        desc=name,
        unit="B",
        unit_scale=True,
        disable=quiet,
        mininterval=redraw_interval_s(),
    ) as bar:
        yield bar
