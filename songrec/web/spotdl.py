"""What is asked of spotdl, and what its files and output mean.

Its exit status says nothing (0 when every track failed), so what counts is the files.
"""

import dataclasses
import errno
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from songrec.advice import Advice, again
from songrec.errors import SpotdlError
from songrec.files import raise_if_full
from songrec.web.ledger import Entry
from songrec.web.spotdl_process import SETUP, read_text, run_patiently

_FULL_BYTES = 1 << 20
_TRANSIENT = re.compile(
    r"retry[ -]?(will occur )?after|too many requests|HTTP Error 429|timed out", re.IGNORECASE
)
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
    output = run_patiently(["save", url, "--save-file", "list.spotdl"], folder, n_songs=1)
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
    output = run_patiently(arguments, folder, n_songs)
    errors = read_text(folder / "errors.txt")
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


def _read_songs(path: Path) -> dict[str, Entry]:
    """Read what spotdl saved about its songs, by track id; songs it says too little of are left."""
    try:
        records = json.loads(read_text(path) or "[]")
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
