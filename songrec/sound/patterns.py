"""Patterns of a song: block-level features of its spectrum and rhythm, projected to a vector.

Each feature is computed on short blocks of the spectrogram and summarised over the song by a
percentile, after the block-level features of Seyerlehner, Widmer and Pohle (DAFx 2010). A
projection fitted to albums then attenuates what varies within an album, which says little about an
artist's sound (within-class covariance normalisation: Hatch, Kajarekar and Stolcke, Interspeech
2006).
"""

import dataclasses
import functools
import hashlib
import itertools
import zipfile
from pathlib import Path
from typing import Self

import numpy as np

from songrec.advice import Advice
from songrec.errors import ModelError
from songrec.files import atomic_path
from songrec.sound.recipe import RECIPE
from songrec.sound.timbre import Timbres

# Made by training/fit_patterns.py.
PROJECTION_FILE = Path(__file__).with_name("patterns.npz")
N_DIMS = 300

# Spread evenly over longer songs, where more blocks would add little.
_MOST_BLOCKS = 2048
_SORTED_FRAMES = 2584
_PULSE_FRAMES = 256
# Bounds of the pulse's frequencies in bins of 0.17 Hz: 0.17 to 15 Hz on a logarithmic scale.
_PULSE_BINS = np.unique(np.round(np.geomspace(1, 90, 24)).astype(int))
_VECTORS = ("centre", "spread", "offset")
_FARTHEST = 4.0  # standard deviations; values farther out are clipped


def measure_patterns(slices: np.ndarray, timbre: Timbres) -> list[np.ndarray]:
    """Measure the patterns of one song.

    Parameters
    ----------
    slices : np.ndarray [shape=(n_slices, n_mels, slice_frames), dtype=uint8]
    timbre
        Of the same song.

    Returns
    -------
    list of np.ndarray [shape=(n,), dtype=float32]
        The timbre's Gaussian, the spectral, fluctuation, correlation and contrast patterns.
    """
    columns = slices[:, ::-1].transpose(1, 0, 2).reshape(RECIPE.n_mels, -1)
    level_db = columns.astype(np.float32) * np.float32(RECIPE.top_db / 255)
    n_missing = _PULSE_FRAMES - level_db.shape[1]
    if n_missing > 0:
        level_db = np.pad(level_db, ((0, 0), (0, n_missing)), mode="wrap")
    by_64, by_32 = _bands(level_db, 64), _bands(level_db, 32)
    patterns = [
        timbre.to_tangents()[0],
        spectral_pattern(by_64),
        fluctuation_pattern(by_32),
        correlation_pattern(by_32),
        contrast_pattern(level_db),
    ]
    return [pattern.astype(np.float32) for pattern in patterns]


def spectral_pattern(level_db: np.ndarray) -> np.ndarray:
    """Describe how loud each band gets, and for what share of a quarter of a second.

    Parameters
    ----------
    level_db : np.ndarray [shape=(n_bands, n_frames)]

    Returns
    -------
    np.ndarray [shape=(n_bands * 10,)]
    """
    blocks = np.sort(_blocks(level_db, width=10, hop=5), axis=2)
    pattern: np.ndarray = np.percentile(blocks, 90, axis=0).ravel()
    return pattern


def fluctuation_pattern(level_db: np.ndarray) -> np.ndarray:
    """Describe how strongly each band pulses at each speed: rhythm, regardless of phase.

    Parameters
    ----------
    level_db : np.ndarray [shape=(n_bands, n_frames)]

    Returns
    -------
    np.ndarray [shape=(n_bands * n_speeds,)]
    """
    blocks = _blocks(level_db, width=_PULSE_FRAMES, hop=64)
    blocks = blocks - blocks.mean(axis=2, keepdims=True)
    strength = np.abs(np.fft.rfft(blocks * np.hanning(_PULSE_FRAMES).astype(np.float32), axis=2))
    bounds = itertools.pairwise(_PULSE_BINS)
    speeds = np.stack([strength[:, :, low:high].mean(axis=2) for low, high in bounds], axis=2)
    pattern: np.ndarray = np.log1p(np.percentile(speeds, 60, axis=0)).ravel()
    return pattern


def correlation_pattern(level_db: np.ndarray) -> np.ndarray:
    """Describe which bands rise and fall together within 3 s.

    Parameters
    ----------
    level_db : np.ndarray [shape=(n_bands, n_frames)]

    Returns
    -------
    np.ndarray [shape=(n_bands * (n_bands - 1) / 2,)]
        Of each pair of bands, the median of the correlation coefficients.
    """
    blocks = _blocks(level_db, width=128, hop=64)
    blocks = blocks - blocks.mean(axis=2, keepdims=True)
    # A constant band correlates with nothing.
    norms = np.sqrt(np.einsum("nbt,nbt->nb", blocks, blocks)) + RECIPE.top_db * 1e-3
    unit = blocks / norms[:, :, None]
    pairs = np.triu_indices(level_db.shape[0], 1)
    pattern: np.ndarray = np.percentile((unit @ unit.transpose(0, 2, 1))[:, *pairs], 50, axis=0)
    return pattern


def contrast_pattern(level_db: np.ndarray) -> np.ndarray:
    """Describe how far peaks stand above valleys in 16 ranges: tones against noise.

    Parameters
    ----------
    level_db : np.ndarray [shape=(n_mels, n_frames)]

    Returns
    -------
    np.ndarray [shape=(16 * 5,)]
    """
    # Minute by minute: sorting copies what it sorts.
    pieces = np.array_split(level_db, level_db.shape[1] // _SORTED_FRAMES + 1, axis=1)
    contrast = np.concatenate([_contrast(piece) for piece in pieces], axis=1)
    blocks = np.sort(_blocks(contrast, width=20, hop=10), axis=2)
    pattern: np.ndarray = np.percentile(blocks, 50, axis=0)[:, ::4].ravel()
    return pattern


@dataclasses.dataclass(frozen=True)
class Projection:
    """Turns a song's patterns into a vector to compare by cosine.

    Attributes
    ----------
    centre, spread : np.ndarray [shape=(n_patterns,), dtype=float32]
        Mean and standard deviation over the training songs.
    basis : np.ndarray [shape=(n_patterns, N_DIMS), dtype=float32]
    offset : np.ndarray [shape=(N_DIMS,), dtype=float32]
        Of the training songs' mean.
    """

    centre: np.ndarray
    spread: np.ndarray
    basis: np.ndarray
    offset: np.ndarray

    @classmethod
    def load(cls, path: Path = PROJECTION_FILE) -> Self:
        """Read a projection that `save` wrote.

        Raises
        ------
        ModelError
            If the file is missing or damaged.
        """
        try:
            with np.load(path) as stored:
                basis = np.ldexp(stored["steps"].astype(np.float32), stored["exponents"])
                return cls(stored["centre"], stored["spread"], basis, stored["offset"])
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise _unreadable(path, error) from error

    def save(self, path: Path) -> None:
        """Write the projection; the basis in 8 bits, each column in steps of a power of 2."""
        exponents = np.ceil(np.log2(np.abs(self.basis).max(axis=0) / 127)).astype(np.int32)
        steps = np.rint(np.ldexp(self.basis, -exponents)).astype(np.int8)
        vectors = {name: getattr(self, name).astype(np.float32) for name in _VECTORS}
        with atomic_path(path) as part, part.open("wb") as file:
            np.savez(file, steps=steps, exponents=exponents, **vectors)

    def apply(self, patterns: np.ndarray) -> np.ndarray:
        """Return the vectors [shape=(n, N_DIMS)] of patterns [shape=(n, n_patterns)]."""
        vectors: np.ndarray = self.standardise(patterns) @ self.basis - self.offset
        return vectors

    def standardise(self, patterns: np.ndarray) -> np.ndarray:
        """Return the standard scores of patterns, clipped to `_FARTHEST`."""
        standardised: np.ndarray = np.clip(
            (patterns - self.centre) / self.spread, -_FARTHEST, _FARTHEST
        )
        return standardised


@functools.cache
def shipped_projection() -> Projection:
    """Return the projection that comes with the project."""
    return Projection.load()


@functools.cache
def projection_digest() -> str:
    """First 12 hexadecimal digits of the SHA-256 of the shipped projection's file."""
    try:
        return hashlib.sha256(PROJECTION_FILE.read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise _unreadable(PROJECTION_FILE, error) from error


def pattern_vector(slices: np.ndarray, timbre: Timbres) -> np.ndarray:
    """Return one song's vector [shape=(N_DIMS,), dtype=float32] by the shipped projection."""
    patterns = np.concatenate(measure_patterns(slices, timbre))
    vector: np.ndarray = shipped_projection().apply(patterns[None])[0]
    return vector


def _unreadable(path: Path, error: Exception) -> ModelError:
    git = Advice("git", ("checkout", "--", str(path)))
    return ModelError(f"{path} is missing or damaged ({error!r}); restore it", git)


def _contrast(level_db: np.ndarray) -> np.ndarray:
    """Return the two loudest minus the two softest bands of 16 ranges [shape=(16, n_frames)]."""
    ranges = np.sort(level_db.reshape(16, RECIPE.n_mels // 16, -1), axis=1)
    contrast: np.ndarray = ranges[:, -2:].mean(axis=1) - ranges[:, :2].mean(axis=1)
    return contrast


def _bands(level_db: np.ndarray, n_bands: int) -> np.ndarray:
    """Average neighbouring bands down to `n_bands`."""
    averages: np.ndarray = level_db.reshape(n_bands, RECIPE.n_mels // n_bands, -1).mean(axis=1)
    return averages


def _blocks(x: np.ndarray, *, width: int, hop: int) -> np.ndarray:
    """Cut overlapping blocks out of x [shape=(rows, n_frames)].

    Returns
    -------
    np.ndarray [shape=(n_blocks, rows, width)]
    """
    starts = np.arange(0, x.shape[1] - width + 1, hop)
    if len(starts) > _MOST_BLOCKS:
        starts = starts[np.linspace(0, len(starts) - 1, _MOST_BLOCKS).astype(int)]
    windows = np.lib.stride_tricks.sliding_window_view(x, width, axis=1)
    return windows[:, starts].transpose(1, 0, 2)
