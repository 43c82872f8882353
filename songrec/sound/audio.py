"""Audio file -> mono samples at the recipe's rate, whatever the format."""

import contextlib
import functools
import os
import shutil
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import soundfile
import soxr

from songrec.advice import Advice
from songrec.errors import LibraryError, UndecodableError, UnusableAudioError
from songrec.files import regular_size
from songrec.sound.recipe import RECIPE

# Three hours keep a worker under 2 GiB and a spectrogram under Pillow's picture-size guard.
MAX_SONG_S = 3 * 3600.0
_BLOCK_FRAMES = 1 << 19
_FFMPEG_TIMEOUT_S = 900.0
_SILENCE_PEAK = 1e-4  # -80 dB of full scale, the range of the picture
_TRUNCATED_SHARE = 0.95
_STDERR_TAIL = 200
_AU_HEADER = struct.Struct(
    ">4s5I"
)  # magic, offset of the samples, length, encoding, rate, channels


def load_audio(path: Path) -> tuple[np.ndarray, str | None]:
    """Decode a file, average its channels and resample it.

    libsndfile reads mp3, flac, ogg, opus and wav; what it cannot read goes to ffmpeg.

    Parameters
    ----------
    path
        The audio file.

    Returns
    -------
    samples : np.ndarray [shape=(n,), dtype=float32]
        Mono, at `RECIPE.sample_rate_hz`.
    remark : str or None
        Set when the file ends before the length it states.

    Raises
    ------
    UndecodableError
        If no decoder can read the file.
    UnusableAudioError
        If it holds silence, non-finite samples, less than one slice, or more than
        `MAX_SONG_S`.
    LibraryError
        If only ffmpeg could read it and ffmpeg is not installed.
    """
    if regular_size(path) == 0:
        raise UndecodableError("the file is empty")
    try:
        with _without_c_messages():
            samples, remark = _decode(path)
    except soundfile.SoundFileError as error:
        samples, remark = _decode_with_ffmpeg(path, error)
    _check_usable(samples)
    return samples, remark


@contextlib.contextmanager
def _without_c_messages() -> Iterator[None]:
    """Keep the mp3 decoder from writing to stderr; what matters comes back as an error."""
    stderr = os.dup(2)
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nothing)


def _decode(path: Path) -> tuple[np.ndarray, str | None]:
    """Decode with libsndfile, block by block, so that a long file takes little memory."""
    # As bytes, because a name need not be valid UTF-8 where names are bytes.
    name = os.fsencode(path) if os.name == "posix" else path
    with soundfile.SoundFile(name) as sound:
        _check_format(sound.samplerate, sound.channels)
        read = functools.partial(sound.read, dtype="float32", always_2d=True)
        samples, n_read = _resample(read, sound.samplerate)
        remark = None
        if n_read < _TRUNCATED_SHARE * sound.frames:
            stated_s = sound.frames / sound.samplerate
            remark = (
                f"ends after {n_read / sound.samplerate:.1f} s of the {stated_s:.1f} s it states; "
                "what is there is used"
            )
        return samples, remark


def _check_format(rate_hz: int, channels: int) -> None:
    if rate_hz < 1 or channels < 1:
        raise UndecodableError("the file states no sample rate or no channels")


def _resample(read: Callable[[int], np.ndarray], rate_hz: int) -> tuple[np.ndarray, int]:
    """Average the channels and resample, block by block.

    Parameters
    ----------
    read
        Returns the next frames [shape=(n, channels), dtype=float32], fewer than it is asked for
        only at the end.
    rate_hz
        Of these frames.

    Returns
    -------
    samples : np.ndarray [shape=(n,), dtype=float32]
        Mono, at `RECIPE.sample_rate_hz`.
    n_read : int
        How many frames were read.
    """
    stream = soxr.ResampleStream(rate_hz, RECIPE.sample_rate_hz, 1, dtype="float32", quality="HQ")
    blocks = []
    n_read = 0
    is_last = False
    while not is_last:
        block = read(_BLOCK_FRAMES)
        n_read += len(block)
        if n_read > MAX_SONG_S * rate_hz:
            raise UnusableAudioError(f"longer than {MAX_SONG_S / 3600:.0f} hours")
        is_last = len(block) < _BLOCK_FRAMES
        blocks.append(stream.resample_chunk(_to_mono(block), last=is_last))
    return np.concatenate(blocks), n_read


def _to_mono(block: np.ndarray) -> np.ndarray:
    """Average the channels [shape=(n, channels)]; two of them the fast way."""
    if block.shape[1] == 1:
        return np.ascontiguousarray(block[:, 0])
    if block.shape[1] == 2:
        # numpy's mean over a short last axis costs ten times as much.
        mono: np.ndarray = (block[:, 0] + block[:, 1]) * np.float32(0.5)
        return mono
    average: np.ndarray = block.mean(axis=1, dtype=np.float32)
    return average


def _decode_with_ffmpeg(path: Path, cause: Exception) -> tuple[np.ndarray, str | None]:
    """Read what ffmpeg decodes, through a pipe; its channels and rate stay as they are."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        if path.suffix.lower() in {".m4a", ".aac"}:
            raise LibraryError(
                f"{path} needs ffmpeg, which is not installed; install it with your system's "
                "package manager, or let the project do it",
                Advice("make", ("setup",)),
            ) from cause
        raise UndecodableError(f"not audio that libsndfile can read ({_message(cause)})") from cause
    command = [ffmpeg, "-nostdin", "-v", "error", "-xerror"]
    # "file:" keeps ffmpeg from taking a name such as "a:b.m4a" for a protocol.
    command += ["-i", f"file:{path}", "-map", "0:a:0", "-t", str(MAX_SONG_S + 1)]
    command += ["-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
    # A file has room for whatever ffmpeg says; a pipe that nobody reads would block it.
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=messages) as process,
    ):
        timer = threading.Timer(_FFMPEG_TIMEOUT_S, process.kill)
        timer.start()
        try:
            samples = _read_au(cast(BinaryIO, process.stdout))
            process.wait()
        finally:
            is_late = not timer.is_alive()
            timer.cancel()
            process.kill()
        messages.seek(0)
        output = messages.read().decode(errors="replace").strip()
    if is_late:
        raise UndecodableError(f"ffmpeg took more than {_FFMPEG_TIMEOUT_S:.0f} s")
    if samples is None:
        reason = output.splitlines()[-1][:_STDERR_TAIL] if output else _message(cause)
        raise UndecodableError(f"not audio that can be read ({reason})") from cause
    is_cut = process.returncode != 0
    return samples, "is damaged towards its end; what could be decoded is used" if is_cut else None


def _read_au(source: BinaryIO) -> np.ndarray | None:
    """Read a stream of 32-bit floats in Sun's AU format; None if it has no header.

    Unlike a wav's, the header of an AU stream needs no length, which a pipe cannot have.
    """
    header = source.read(_AU_HEADER.size)
    if len(header) < _AU_HEADER.size:
        return None
    _, offset, _, _, rate_hz, channels = _AU_HEADER.unpack(header)
    _check_format(rate_hz, channels)
    source.read(offset - _AU_HEADER.size)

    def read(n_frames: int) -> np.ndarray:
        raw = source.read(n_frames * channels * 4)
        n_whole = len(raw) // (channels * 4)
        big_endian = np.frombuffer(raw, dtype=">f4", count=n_whole * channels)
        return big_endian.astype(np.float32).reshape(n_whole, channels)

    return _resample(read, rate_hz)[0]


def _message(error: Exception) -> str:
    """Return the error's text, or its type where the text is empty."""
    return str(error).strip() or type(error).__name__


def _check_usable(samples: np.ndarray) -> None:
    length_s = len(samples) / RECIPE.sample_rate_hz
    if len(samples) // RECIPE.hop_length + 1 < RECIPE.slice_frames:
        raise UnusableAudioError(
            f"too short: {length_s:.2f} s, one slice needs {RECIPE.slice_s:.2f} s"
        )
    if not np.isfinite(samples).all():
        raise UnusableAudioError("holds samples that are not finite numbers")
    if np.abs(samples).max() < _SILENCE_PEAK:
        raise UnusableAudioError("silence: no sample above -80 dB of full scale")
