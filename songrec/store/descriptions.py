"""What is stored about each song: everything it is compared by."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from songrec.sound.timbre import Timbres

N_DISTANCES = 4

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
    classes : np.ndarray [shape=(n, n_classes), dtype=float32]
        Means of the slices' class probabilities; each row sums to 1.
    """

    vectors: np.ndarray
    timbres: Timbres
    patterns: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: Rows) -> "Descriptions":
        return Descriptions(
            self.vectors[rows], self.timbres[rows], self.patterns[rows], self.classes[rows]
        )


@dataclasses.dataclass(frozen=True)
class Scales:
    """How far songs usually are from others, measured on the reference songs.

    Attributes
    ----------
    mean, deviation : np.ndarray [shape=(n, N_DISTANCES), dtype=float64]
        Of the distances to the references; columns as `recommend.ranking.distances` gives them.
    """

    mean: np.ndarray
    deviation: np.ndarray

    def __getitem__(self, rows: Rows) -> "Scales":
        return Scales(self.mean[rows], self.deviation[rows])
