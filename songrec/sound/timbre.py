"""The timbre of a song: one Gaussian of the cepstrum of its spectrogram's columns.

A mean and a covariance of cepstral coefficients over a whole song, compared as distributions,
is the classic and still strong description of how music sounds (Mandel and Ellis, ISMIR 2005;
Schnitzer et al., 2010). It captures differences that the network was not trained on.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Self

import numpy as np

from songrec.sound.recipe import RECIPE

N_COEFFICIENTS = 25
# Variance in dB^2 added to every coefficient: a steady tone's covariance would have no inverse.
_RIDGE = 1.0
_UPPER = np.triu_indices(N_COEFFICIENTS)
# Where each number of a full matrix is in its upper triangle, row by row.
_PLACE = np.empty((N_COEFFICIENTS, N_COEFFICIENTS), dtype=np.intp)
_PLACE[_UPPER] = _PLACE[_UPPER[::-1]] = np.arange(len(_UPPER[0]))
# This many full matrices fit into the cache: about four times faster than all at once.
_BLOCK_SONGS = 256
N_NUMBERS = N_COEFFICIENTS + len(_UPPER[0]) + 1


@dataclasses.dataclass(frozen=True)
class Timbres:
    """The Gaussians of `n` songs.

    Attributes
    ----------
    mean : np.ndarray [shape=(n, N_COEFFICIENTS), dtype=float32]
        In decibels.
    covariance : np.ndarray [shape=(n, N_COEFFICIENTS * (N_COEFFICIENTS + 1) / 2), dtype=float32]
        Upper triangles, row by row.
    log_determinant : np.ndarray [shape=(n,), dtype=float32]
        Of the covariances; stored because every comparison needs it.
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
        # Lowest band first, as the cepstrum is defined.
        columns = slices[:, ::-1].transpose(1, 0, 2).reshape(RECIPE.n_mels, -1)
        level_db = columns.astype(np.float32) * np.float32(RECIPE.top_db / 255)
        cepstrum = _cosine_basis() @ level_db
        mean = cepstrum.mean(axis=1)
        rest = cepstrum - mean[:, None]
        covariance = rest @ rest.T / max(rest.shape[1] - 1, 1)
        covariance += np.float32(_RIDGE) * np.eye(N_COEFFICIENTS, dtype=np.float32)
        upper = covariance[_UPPER]
        return cls(mean[None], upper[None], _log_determinant(upper[None]))

    @property
    def deviation(self) -> np.ndarray:
        """The coefficients' standard deviations [shape=(n, N_COEFFICIENTS)]."""
        deviation: np.ndarray = np.sqrt(self.covariance[:, np.diagonal(_PLACE)])
        return deviation

    def to_numbers(self) -> np.ndarray:
        """Return the songs as rows of `N_NUMBERS` float32, for storing."""
        return np.concatenate([self.mean, self.covariance, self.log_determinant[:, None]], axis=1)

    def to_tangents(self) -> np.ndarray:
        """Return the Gaussians as vectors in a Euclidean space.

        The mean, and the matrix logarithm of the covariance, its off-diagonal numbers times
        the root of 2 (the log-Euclidean metric of Arsigny et al., 2006).

        Returns
        -------
        np.ndarray [shape=(n, N_COEFFICIENTS + N_COEFFICIENTS * (N_COEFFICIENTS + 1) / 2)]
        """
        values, axes = np.linalg.eigh(self.covariance[:, _PLACE])
        logarithm = np.log(np.maximum(values, _RIDGE / 1000))
        matrix = np.einsum("nij,nj,nkj->nik", axes, logarithm, axes)
        weight = np.where(_UPPER[0] == _UPPER[1], 1.0, math.sqrt(2.0))
        return np.concatenate([self.mean, matrix[:, *_UPPER] * weight], axis=1)

    @classmethod
    def from_numbers(cls, numbers: np.ndarray) -> Self:
        """Rebuild the songs from the rows of `to_numbers` [shape=(n, N_NUMBERS)]."""
        return cls(numbers[:, :N_COEFFICIENTS], numbers[:, N_COEFFICIENTS:-1], numbers[:, -1])

    def distances_from(self, query: "Timbres") -> np.ndarray:
        """Return the distance of each of these songs from one song.

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
        entropy = np.empty(len(self), dtype=np.float32)
        for start in range(0, len(self), _BLOCK_SONGS):
            block = slice(start, start + _BLOCK_SONGS)
            apart = self.mean[block] - query.mean[0]
            merged = (self.covariance[block] + query.covariance[0]) * np.float32(0.5)
            merged += apart[:, _UPPER[0]] * (apart * np.float32(0.25))[:, _UPPER[1]]
            entropy[block] = _log_determinant(merged)
        own = 0.5 * (self.log_determinant.astype(np.float64) + float(query.log_determinant[0]))
        return np.sqrt(np.maximum(0.5 * (entropy - own), 0.0))


def _cosine_basis() -> np.ndarray:
    """Return rows 1..N_COEFFICIENTS of the orthonormal DCT-II; row 0 is the mere level."""
    place = (np.arange(RECIPE.n_mels) + 0.5) * (math.pi / RECIPE.n_mels)
    rows = np.cos(np.arange(1, N_COEFFICIENTS + 1)[:, None] * place)
    return (rows * math.sqrt(2 / RECIPE.n_mels)).astype(np.float32)


def _log_determinant(upper: np.ndarray) -> np.ndarray:
    """Return the log-determinants of matrices given by their upper triangles."""
    logarithms: np.ndarray = np.linalg.slogdet(upper[:, _PLACE])[1].astype(np.float32)
    return logarithms
