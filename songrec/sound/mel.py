"""Samples -> mel spectrogram -> 8-bit grey picture."""

import functools

import numpy as np
import scipy.fft

from songrec.sound.recipe import RECIPE

_BLOCK_FRAMES = 1024
_AMIN = 1e-10  # librosa.power_to_db's floor


def mel_picture(samples: np.ndarray) -> np.ndarray:
    """Compute the mel spectrogram of mono samples as a picture, according to `RECIPE`.

    Power mel spectrogram (mel scale and normalisation as librosa has them), in decibels below
    its own maximum, cut at -`top_db`.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), dtype=float32]
        Mono, at `RECIPE.sample_rate_hz`.

    Returns
    -------
    np.ndarray [shape=(n_mels, 1 + n // hop_length), dtype=uint8]
        Row 0 is the highest band; 255 is 0 dB, 0 is -`top_db`.
    """
    mel = _mel_power(samples)
    level_db = 10.0 * np.log10(np.maximum(mel, _AMIN))
    level_db -= level_db.max()
    np.maximum(level_db, -RECIPE.top_db, out=level_db)
    grey = np.rint((level_db / RECIPE.top_db + 1.0) * 255.0).astype(np.uint8)
    picture: np.ndarray = grey[::-1]
    return picture


def _mel_power(samples: np.ndarray) -> np.ndarray:
    """Return the power mel spectrogram [shape=(n_mels, n_frames), dtype=float32]."""
    filters, window = _filters_and_window()
    samples = samples.astype(np.float32, copy=False)
    padded = np.pad(samples, RECIPE.n_fft // 2, mode="constant")
    frames = np.lib.stride_tricks.sliding_window_view(padded, RECIPE.n_fft)[:: RECIPE.hop_length]
    mel = np.empty((RECIPE.n_mels, len(frames)), dtype=np.float32)
    for start in range(0, len(frames), _BLOCK_FRAMES):
        block = frames[start : start + _BLOCK_FRAMES] * window
        spectrum = scipy.fft.rfft(block, axis=1, overwrite_x=True)
        power = spectrum.real**2 + spectrum.imag**2
        mel[:, start : start + len(block)] = filters @ power.T
    return mel


@functools.cache
def _filters_and_window() -> tuple[np.ndarray, np.ndarray]:
    """Return librosa's mel filters [shape=(n_mels, 1 + n_fft // 2)] and the window."""
    import librosa.filters

    filters = librosa.filters.mel(
        sr=RECIPE.sample_rate_hz,
        n_fft=RECIPE.n_fft,
        n_mels=RECIPE.n_mels,
        fmin=RECIPE.f_min_hz,
        fmax=RECIPE.f_max_hz,
        htk=False,
        norm="slaney",
        dtype=np.float32,
    )
    window = librosa.filters.get_window("hann", RECIPE.n_fft, fftbins=True)
    return filters, window.astype(np.float32)


def cut(picture: np.ndarray) -> np.ndarray:
    """Cut a picture into consecutive slices; an incomplete last one is dropped.

    Parameters
    ----------
    picture : np.ndarray [shape=(n_mels, n_frames), dtype=uint8]

    Returns
    -------
    np.ndarray [shape=(n_slices, n_mels, slice_frames), dtype=uint8]
    """
    n_slices = picture.shape[1] // RECIPE.slice_frames
    whole = picture[:, : n_slices * RECIPE.slice_frames]
    return whole.reshape(picture.shape[0], n_slices, RECIPE.slice_frames).transpose(1, 0, 2)
