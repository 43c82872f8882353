"""The timbre of a song: one Gaussian of the cepstrum of its spectrogram's columns.

A mean and a covariance of cepstral coefficients over a whole song, compared as distributions,
is the classic and still strong description of how music sounds (Mandel and Ellis, ISMIR 2005;
Schnitzer et al., 2010). It hears what the network was not taught to tell apart.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Self

import numpy as np

from songrec.recipe import RECIPE

N_COEFFICIENTS = 25
# Variance in dB^2 added to every coefficient: a steady tone's covariance would have no inverse.
_RIDGE = 1.0
_UPPER = np.triu_indices(N_COEFFICIENTS)
N_NUMBERS = N_COEFFICIENTS + len(_UPPER[0]) + 1


@dataclasses.dataclass(frozen=True)
class Timbres:
    """The Gaussians of `n` songs.

    Attributes
    ----------
    mean : np.ndarray [shape=(n, N_COEFFICIENTS), dtype=float32]
        In decibels.
    covariance : np.ndarray [shape=(n, N_COEFFICIENTS, N_COEFFICIENTS), dtype=float32]
    log_determinant : np.ndarray [shape=(n,), dtype=float32]
        Of the covariances, kept because every comparison needs it.
    """

    mean: np.ndarray
    covariance: np.ndarray
    log_determinant: np.ndarray

    def __len__(self) -> int:
        return len(self.mean)

    def __getitem__(self, rows: slice | np.ndarray | Sequence[int]) -> "Timbres":
        return Timbres(self.mean[rows], self.covariance[rows], self.log_determinant[rows])

    @classmethod
    def of_slices(cls, slices: np.ndarray) -> Self:
        """Describe one song by its slices [shape=(n_slices, n_mels, n_frames), dtype=uint8]."""
        # Lowest band first, as a cepstrum is read.
        columns = slices[:, ::-1].transpose(1, 0, 2).reshape(RECIPE.n_mels, -1)
        level_db = columns.astype(np.float32) * np.float32(RECIPE.top_db / 255)
        cepstrum = _cosine_basis() @ level_db
        mean = cepstrum.mean(axis=1)
        rest = cepstrum - mean[:, None]
        covariance = rest @ rest.T / max(rest.shape[1] - 1, 1)
        covariance += np.float32(_RIDGE) * np.eye(N_COEFFICIENTS, dtype=np.float32)
        return cls(mean[None], covariance[None], _log_determinant(covariance[None]))

    def to_numbers(self) -> np.ndarray:
        """Return the songs as rows of `N_NUMBERS` float32, for storing."""
        upper = self.covariance[:, *_UPPER]
        return np.concatenate([self.mean, upper, self.log_determinant[:, None]], axis=1)

    def to_tangents(self) -> np.ndarray:
        """Return the Gaussians as vectors between which straight lines make sense.

        The mean, and the matrix logarithm of the covariance, its off-diagonal numbers times
        the root of 2 (the log-Euclidean metric of Arsigny et al., 2006).

        Returns
        -------
        np.ndarray [shape=(n, N_COEFFICIENTS + N_COEFFICIENTS * (N_COEFFICIENTS + 1) / 2)]
        """
        values, axes = np.linalg.eigh(self.covariance)
        logarithm = np.log(np.maximum(values, _RIDGE / 1000))
        matrix = np.einsum("nij,nj,nkj->nik", axes, logarithm, axes)
        weight = np.where(_UPPER[0] == _UPPER[1], 1.0, math.sqrt(2.0))
        return np.concatenate([self.mean, matrix[:, *_UPPER] * weight], axis=1)

    @classmethod
    def from_numbers(cls, numbers: np.ndarray) -> Self:
        """Return the songs that `to_numbers` gave [shape=(n, N_NUMBERS)]."""
        covariance = np.empty((len(numbers), N_COEFFICIENTS, N_COEFFICIENTS), dtype=np.float32)
        upper = numbers[:, N_COEFFICIENTS:-1]
        covariance[:, *_UPPER] = upper
        covariance[:, _UPPER[1], _UPPER[0]] = upper
        return cls(numbers[:, :N_COEFFICIENTS], covariance, numbers[:, -1])

    def distances_from(self, query: "Timbres") -> np.ndarray:
        """Return how differently from one song each of these sounds.

        The square root of an approximate Jensen-Shannon divergence: how much the entropy of
        the Gaussian that merges both songs exceeds the mean of their entropies.

        Parameters
        ----------
        query
            One song.

        Returns
        -------
        np.ndarray [shape=(n,), dtype=float64]
            0 for the same distribution.
        """
        apart = self.mean - query.mean[0]
        merged = (self.covariance + query.covariance[0]) * np.float32(0.5)
        merged += apart[:, :, None] * (apart * np.float32(0.25))[:, None, :]
        own = 0.5 * (self.log_determinant.astype(np.float64) + float(query.log_determinant[0]))
        excess = _log_determinant(merged).astype(np.float64) - own
        return np.sqrt(np.maximum(0.5 * excess, 0.0))


def _cosine_basis() -> np.ndarray:
    """Return rows 1..N_COEFFICIENTS of the orthonormal DCT-II; row 0 is the mere loudness."""
    place = (np.arange(RECIPE.n_mels) + 0.5) * (math.pi / RECIPE.n_mels)
    rows = np.cos(np.arange(1, N_COEFFICIENTS + 1)[:, None] * place)
    return (rows * math.sqrt(2 / RECIPE.n_mels)).astype(np.float32)


def _log_determinant(matrices: np.ndarray) -> np.ndarray:
    return np.linalg.slogdet(matrices)[1].astype(np.float32)
