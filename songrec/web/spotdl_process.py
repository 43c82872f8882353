"""spotdl as a child process: started, waited for, stopped in time."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from songrec.advice import Advice
from songrec.errors import RateLimitError, SpotdlError

SETUP = Advice("make", ("setup",))
# Shorter waits are waited out; a longer one ("86400") ends the run.
MAX_WAIT_S = 120.0
_MAX_WAITS = 3
_START_TIMEOUT_S = 120.0
_SONG_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 5.0
_POLL_S = 0.1
_OUTPUT_TAIL_BYTES = 200_000
_RATE_LIMIT = re.compile(r"retry[ -]?(?:will occur )?after\W{0,4}(\d+)", re.IGNORECASE)


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


def run_patiently(arguments: list[str], folder: Path, n_songs: int) -> str:
    """Run spotdl, repeatedly if the service asks for a short pause; return its output.

    Parameters
    ----------
    arguments
        Of spotdl.
    folder
        Where it runs and leaves its files.
    n_songs
        How many songs are expected: more time is allowed for more of them.

    Raises
    ------
    RateLimitError
        If the service asks for a long pause.
    SpotdlError
        If spotdl or ffmpeg is not installed.
    """
    n_waits = 0
    while True:
        output = _run(arguments, folder, n_songs)
        match = _RATE_LIMIT.search(output + read_text(folder / "errors.txt"))
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
            match = _RATE_LIMIT.search(read_text(log))
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
    return read_text(log) + output_at_end


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


def read_text(path: Path) -> str:
    """Return the end of a text file; "" where there is none."""
    try:
        with path.open("rb") as source:
            source.seek(max(0, path.stat().st_size - _OUTPUT_TAIL_BYTES))
            return source.read().decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
