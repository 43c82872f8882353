"""Audio file -> mono samples at the recipe's rate, whatever the format."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from songrec.advice import Advice
from songrec.errors import LibraryError, UndecodableError, UnusableAudioError
from songrec.files import raise_if_full
from songrec.sound.recipe import RECIPE

# Three hours keep a worker under 2 GiB and a spectrogram under Pillow's picture-size guard.
MAX_SONG_S = 3 * 3600.0
_BLOCK_FRAMES = 1 << 19
_FFMPEG_TIMEOUT_S = 900.0
_SILENCE_PEAK = 1e-4  # -80 dB of full scale, the range of the picture
_TRUNCATED_SHARE = 0.95
_STDERR_TAIL = 200


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
    try:
        if path.stat().st_size == 0:
            raise UndecodableError("the file is empty")
    except OSError as error:
        raise UndecodableError(f"cannot be opened: {error.strerror}") from error
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
    """Decode with libsndfile, block by block, so that a long file costs little memory."""
    # As bytes, because a name need not be valid UTF-8 where names are bytes.
    name = os.fsencode(path) if os.name == "posix" else path
    with soundfile.SoundFile(name) as sound:
        if sound.samplerate < 1 or sound.channels < 1:
            raise UndecodableError("the file states no sample rate or no channels")
        stream = soxr.ResampleStream(
            sound.samplerate,
            RECIPE.sample_rate_hz,
            1,
            dtype="float32",
            quality="HQ",
        )
        blocks = []
        n_read = 0
        while True:
            block = sound.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)
            n_read += len(block)
            if n_read > MAX_SONG_S * sound.samplerate:
                raise UnusableAudioError(f"longer than {MAX_SONG_S / 3600:.0f} hours")
            is_last = len(block) < _BLOCK_FRAMES
            blocks.append(stream.resample_chunk(_to_mono(block), last=is_last))
            if is_last:
                break
        remark = None
        if n_read < _TRUNCATED_SHARE * sound.frames:
            stated_s = sound.frames / sound.samplerate
            remark = (
                f"ends after {n_read / sound.samplerate:.1f} s of the {stated_s:.1f} s it states; "
                "what is there is used"
            )
        return np.concatenate(blocks), remark


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
    """Let ffmpeg write a wav and decode that; its channels and rate stay as they are."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        if path.suffix.lower() in {".m4a", ".aac"}:
            raise LibraryError(
                f"{path} needs ffmpeg, which is not installed; install it with your system's "
                "package manager, or let the project do it",
                Advice("make", ("setup",)),
            ) from cause
        raise UndecodableError(f"not audio that libsndfile can read ({_message(cause)})") from cause
    with tempfile.TemporaryDirectory(prefix="songrec-") as folder:
        wav = Path(folder) / "decoded.wav"
        command = [ffmpeg, "-nostdin", "-v", "error", "-xerror"]
        # "file:" keeps ffmpeg from taking a name such as "a:b.m4a" for a protocol.
        command += ["-i", f"file:{path}", "-map", "0:a:0", "-t", str(MAX_SONG_S + 1)]
        command += ["-c:a", "pcm_f32le", str(wav)]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, timeout=_FFMPEG_TIMEOUT_S
            )
        except subprocess.TimeoutExpired as error:
            raise UndecodableError("ffmpeg did not come to an end with it") from error
        told = done.stderr.decode(errors="replace").strip()
        if "No space left" in told:
            raise_if_full(OSError(28, told), wav)
        try:
            samples, remark = _decode(wav)
        except (soundfile.SoundFileError, OSError) as error:
            reason = told.splitlines()[-1][:_STDERR_TAIL] if told else _message(cause)
            raise UndecodableError(f"not audio that can be read ({reason})") from error
    if done.returncode != 0 and remark is None:
        remark = "is damaged towards its end; what could be decoded is used"
    return samples, remark


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
