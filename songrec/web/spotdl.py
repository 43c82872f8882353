"""spotdl as a subprocess: its arguments, its files, and the meaning of its output.

Its exit status says nothing (0 when every track failed), so what counts is the files.
"""

import dataclasses
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from songrec.advice import Advice, again
from songrec.errors import RateLimitError, SpotdlError
from songrec.files import raise_if_full
from songrec.web.ledger import Entry

# Shorter waits are waited out; a longer one ("86400") ends the run.
MAX_WAIT_S = 120.0
_MAX_WAITS = 3
_START_TIMEOUT_S = 120.0
_SONG_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 5.0
_POLL_S = 0.1
_FULL_BYTES = 1 << 20
_OUTPUT_TAIL_BYTES = 200_000
_RATE_LIMIT = re.compile(r"retry[ -]?(?:will occur )?after\W{0,4}(\d+)", re.IGNORECASE)
_TRANSIENT = re.compile(
    r"retry[ -]?(will occur )?after|too many requests|HTTP Error 429|timed out", re.IGNORECASE
)
SETUP = Advice("make", ("setup",))
UPDATE = Advice("pip", ("install", "--upgrade", "spotdl", "yt-dlp"))
# What ends a run when nothing was downloaded; the first match counts. Words of spotdl, yt-dlp.
_CAUSES = (
    (
        re.compile(r"FFmpegError: FFmpeg is not installed|ffmpeg is not installed", re.IGNORECASE),
        "spotdl finds no ffmpeg",
        SETUP,
    ),
    (
        re.compile(r"blocked by YouTube|not a bot|HTTP Error 403|HTTP Error 429", re.IGNORECASE),
        "YouTube blocks downloads from here; wait some hours, use another network, or update "
        "spotdl",
        UPDATE,
    ),
    (
        re.compile(
            r"Failed to resolve|Name or service not known|NameResolutionError|"
            r"Temporary failure in name resolution|Network is unreachable|"
            r"NewConnectionError|Max retries exceeded",
            re.IGNORECASE,
        ),
        "Spotify or YouTube cannot be reached; check the network",
        again(),
    ),
)
_UNKNOWN_TRACK = re.compile(
    r"Couldn't get metadata|Track no longer exists|Invalid (base62 )?id|http status: 40[04]"
    r"|Resource not found",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True)
class Result:
    """The result of one call of spotdl.

    Attributes
    ----------
    files
        Track id -> file in the folder; not yet known to decode.
    songs
        Track id -> what spotdl says about the song.
    reasons
        Track id -> why it has no file, if spotdl says.
    last_words
        The last line that looks like an error, for tracks without a reason of their own.
    """

    files: dict[str, Path]
    songs: dict[str, Entry]
    reasons: dict[str, str]
    last_words: str

    def reason(self, track_id: str) -> str:
        """Return why a track has no file."""
        return self.reasons.get(track_id, self.last_words)


def is_transient(reason: str) -> bool:
    """Return whether a reason for failure will pass by itself."""
    return _TRANSIENT.search(reason) is not None


def find_spotdl() -> str:
    """Return the path of spotdl: on PATH, else beside this Python.

    Raises
    ------
    SpotdlError
        If spotdl or ffmpeg is not installed.
    """
    beside_python = Path(sys.executable).parent
    spotdl = shutil.which("spotdl") or shutil.which("spotdl", path=str(beside_python))
    if spotdl is None:
        raise SpotdlError("spotdl is not installed", SETUP)
    if shutil.which("ffmpeg") is None:
        raise SpotdlError("ffmpeg is not installed, and spotdl needs it", SETUP)
    return spotdl


def list_songs(url: str, folder: Path) -> list[Entry]:
    """Return the songs of an album, playlist or artist.

    Parameters
    ----------
    url
        The link.
    folder
        An empty folder for spotdl's files.

    Raises
    ------
    SpotdlError
        If there are none, or spotdl cannot work.
    """
    output = _run_patiently(["save", url, "--save-file", "list.spotdl"], folder, n_songs=1)
    songs = _read_songs(folder / "list.spotdl")
    if not songs:
        _raise_cause(output)
        raise SpotdlError(
            f"spotdl found no songs for {url} ({_last_words(output)}); is the link right?"
        )
    return list(songs.values())


def fetch(wanted: str | Sequence[Entry], folder: Path) -> Result:
    """Download a track by its link, or several by name; waits out short pauses.

    Parameters
    ----------
    wanted
        Link of a track, or tracks with artist and title: those are handed to spotdl as its
        own file format, so that it need not ask Spotify about each of them.
    folder
        An empty folder; the songs come as `<track id>.mp3`.

    Raises
    ------
    RateLimitError
        If nothing came and the service asks for a long pause.
    SpotdlError
        If nothing came, for a reason that also affects the next track.
    """
    if isinstance(wanted, str):
        query, n_songs = wanted, 1
    else:
        query, n_songs = "wanted.spotdl", len(wanted)
        records = [_record(entry) for entry in wanted]
        (folder / query).write_text(json.dumps(records), encoding="utf-8")
    arguments = ["download", query, "--output", "{track-id}.{output-ext}", "--format", "mp3"]
    arguments += ["--save-errors", "errors.txt", "--save-file", "came.spotdl"]
    output = _run_patiently(arguments, folder, n_songs)
    errors = _read_text(folder / "errors.txt")
    files = {path.stem: path for path in sorted(folder.glob("*.mp3"))}
    if len(files) < n_songs:
        _raise_if_full(output + errors, folder)
    if not files:
        _raise_cause(output + errors)
    reasons = {
        match[1]: _clean(match[2]) for match in re.finditer(r"/track/(\w{22})\S* - (.+)", errors)
    }
    return Result(
        files, _read_songs(folder / "came.spotdl"), reasons, _last_words(errors or output)
    )


def _record(entry: Entry) -> dict[str, Any]:
    """Return a track in spotdl's format; a None would make it ask Spotify for the rest."""
    artists = entry.artists.split(";")
    return {
        "name": entry.title,
        "artists": artists,
        "artist": artists[0],
        "genres": [entry.genre] if entry.genre else [],
        "disc_number": 1,
        "disc_count": 1,
        "album_name": entry.album,
        "album_artist": artists[0],
        "album_id": "",
        "duration": entry.duration_ms // 1000,
        "year": 0,
        "date": "",
        "track_number": 1,
        "tracks_count": 1,
        "song_id": entry.track_id,
        "explicit": entry.explicit,
        "publisher": "",
        "url": f"https://open.spotify.com/track/{entry.track_id}",
        "isrc": "",
        "cover_url": None,
        "copyright_text": "",
    }


def _run_patiently(arguments: list[str], folder: Path, n_songs: int) -> str:
    """Run spotdl, repeatedly if the service asks for a short pause; return its output."""
    n_waits = 0
    while True:
        output = _run(arguments, folder, n_songs)
        match = _RATE_LIMIT.search(output + _read_text(folder / "errors.txt"))
        if match is None or list(folder.glob("*.mp3")) or (folder / "list.spotdl").exists():
            return output
        wait_s = float(match[1])
        n_waits += 1
        if wait_s > MAX_WAIT_S or n_waits > _MAX_WAITS:
            raise _rate_limit(wait_s)
        time.sleep(wait_s)
        (folder / "errors.txt").unlink(missing_ok=True)


def _rate_limit(wait_s: float) -> RateLimitError:
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + wait_s))
    return RateLimitError(
        f"Spotify limits the number of requests and says: retry after {wait_s:.0f} s. "
        f"Run the same command again after {when}; finished songs are kept"
    )


def _run(arguments: list[str], folder: Path, n_songs: int) -> str:
    """Run spotdl once in `folder`, with a time limit; return what it printed.

    Raises
    ------
    RateLimitError
        As soon as it announces a long pause.
    """
    log = folder / "spotdl.log"
    command = [find_spotdl(), *arguments]
    # A fixed width: at the terminal's, spotdl breaks lines in the middle of words.
    env = {**os.environ, "PYTHONIOENCODING": "utf-8", "COLUMNS": "1000", "TERM": "dumb"}
    deadline_s = time.monotonic() + _START_TIMEOUT_S + _SONG_TIMEOUT_S * n_songs
    with log.open("wb") as sink:
        # A session of its own: we get Ctrl-C, and stop spotdl together with its ffmpeg.
        child = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    output_at_end = ""
    try:
        while child.poll() is None:
            time.sleep(_POLL_S)
            match = _RATE_LIMIT.search(_read_text(log))
            if match and float(match[1]) > MAX_WAIT_S:
                raise _rate_limit(float(match[1]))
            if time.monotonic() > deadline_s:
                output_at_end = f"\nerror: timed out after {n_songs} songs' time"
                break
    finally:
        if child.poll() is None:
            _stop(child)
            # The current song may be incomplete, and half an mp3 looks like a whole one.
            _remove_unfinished(folder)
    return _read_text(log) + output_at_end


def _stop(child: subprocess.Popen[bytes]) -> None:
    """Stop spotdl and its child processes."""
    for kind in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, kind)
        except ProcessLookupError:
            break
        try:
            child.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            continue
    child.wait()


def _remove_unfinished(folder: Path) -> None:
    """Remove songs without spotdl's origin tag, which it writes last."""
    import mutagen.id3

    for path in folder.glob("*.mp3"):
        try:
            tags = mutagen.id3.ID3(path)  # type: ignore[no-untyped-call]
            finished = any(key.startswith("WOAS") for key in tags)
        except mutagen.MutagenError:
            finished = False
        if not finished:
            path.unlink()


def _read_songs(path: Path) -> dict[str, Entry]:
    """Read what spotdl saved about its songs, by track id; songs it says too little of are left."""
    try:
        records = json.loads(_read_text(path) or "[]")
        return {
            str(record["song_id"]): Entry(
                track_id=str(record["song_id"]),
                artists=";".join(map(str, record["artists"] or [record["artist"]])),
                title=str(record["name"]),
                album=str(record.get("album_name") or ""),
                duration_ms=int(1000 * float(record.get("duration") or 0)),
                explicit=bool(record.get("explicit")),
            )
            for record in records
            if record.get("song_id") and record.get("name")
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}


def _raise_if_full(output: str, folder: Path) -> None:
    """Raise `DiskFullError` if that is why songs are missing; spotdl hides ffmpeg's message."""
    if "No space left" in output or shutil.disk_usage(folder).free < _FULL_BYTES:
        raise_if_full(OSError(errno.ENOSPC, "No space left on device"), folder)


def _raise_cause(output: str) -> None:
    for pattern, cause, advice in _CAUSES:
        if pattern.search(output):
            raise SpotdlError(f"nothing came: {cause}", advice)


def _last_words(output: str) -> str:
    """Return the most informative line: the last one that names an error, else the last."""
    lines = [line.strip(" │╭╰─╮╯") for line in output.splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if re.search(r"\w(Error|Exception)\b|error", line)]
    text = (errors or lines or ["spotdl said nothing"])[-1]
    if _UNKNOWN_TRACK.search(text):
        return f"Spotify knows no such track ({_clean(text)})"
    return _clean(text)


def _clean(text: str) -> str:
    return " ".join(text.split())[:300]


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as source:
            source.seek(max(0, path.stat().st_size - _OUTPUT_TAIL_BYTES))
            return source.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
