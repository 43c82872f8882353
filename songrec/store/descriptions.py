"""What is stored about each song: everything it is compared by."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np

from songrec.sound.timbre import Timbres

N_DISTANCES = 3
N_SCALES = 2 * N_DISTANCES + 2

Rows = slice | np.ndarray | Sequence[int]


@dataclasses.dataclass(frozen=True)
class Descriptions:
    """What songs are compared by, one row a song.

    Attributes
    ----------
    vectors : np.ndarray [shape=(n, n_dims), dtype=float32]
        Means of the slices' latent vectors; no row is zero.
    timbres
        Gaussians of the same songs.
    patterns : np.ndarray [shape=(n, patterns.N_DIMS), dtype=float32]
        Vectors of their patterns; no row is zero.
    """

    vectors: np.ndarray
    timbres: Timbres
    patterns: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: Rows) -> "Descriptions":
        return Descriptions(self.vectors[rows], self.timbres[rows], self.patterns[rows])


@dataclasses.dataclass(frozen=True)
class References:
    """Songs that show which distances are typical, with their distances to each other.

    Attributes
    ----------
    mean, deviation : np.ndarray [shape=(n, N_DISTANCES), dtype=float64]
        As `Scales` has them.
    """

    songs: Descriptions
    mean: np.ndarray
    deviation: np.ndarray

    def __len__(self) -> int:
        return len(self.songs)


@dataclasses.dataclass(frozen=True)
class Scales:
    """How far songs usually are from others, measured on the reference songs.

    Attributes
    ----------
    mean, deviation : np.ndarray [shape=(n, N_DISTANCES), dtype=float64]
        Of the distances to the references; columns as `recommend.ranking.distances` gives them.
    median, width : np.ndarray [shape=(n,), dtype=float64]
        Of the logistic distribution that `recommend.ranking` fits to the averaged distances.
    """

    mean: np.ndarray
    deviation: np.ndarray
    median: np.ndarray
    width: np.ndarray

    @classmethod
    def empty(cls, n_songs: int) -> Self:
        """Return scales that are not measured yet: NaN."""
        return cls.from_numbers(np.full((n_songs, N_SCALES), np.nan))

    @classmethod
    def from_numbers(cls, numbers: np.ndarray) -> Self:
        """Return the scales that `to_numbers` gave [shape=(n, N_SCALES)]."""
        n = N_DISTANCES
        return cls(numbers[:, :n], numbers[:, n : 2 * n], numbers[:, -2], numbers[:, -1])

    def to_numbers(self) -> np.ndarray:
        """Return the scales as rows of `N_SCALES` float64, for storing."""
        return np.column_stack([self.mean, self.deviation, self.median, self.width])

    def __getitem__(self, rows: Rows) -> "Scales":
        return Scales(self.mean[rows], self.deviation[rows], self.median[rows], self.width[rows])
