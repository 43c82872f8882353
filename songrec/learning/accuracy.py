"""How many slices and songs of a split a classifier gets right."""

import dataclasses
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from songrec.learning.arrays import SplitArrays
from songrec.network.device import to_input

_PREDICTION_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Measured:
    """How a classifier does on a split.

    Attributes
    ----------
    confusion : np.ndarray [shape=(n_classes, n_classes), dtype=int64]
        Songs by true class (row) and found class (column).
    """

    loss: float
    accuracy_slices: float
    n_slices: int
    confusion: np.ndarray

    @property
    def n_songs(self) -> int:
        """Songs measured."""
        return int(self.confusion.sum())

    @property
    def accuracy_songs(self) -> float:
        """Share of songs whose class was found."""
        return float(np.trace(self.confusion) / self.n_songs)

    def as_figures(self, classes: list[str]) -> dict[str, Any]:
        """Return everything as plain numbers, with the 95 % interval and the chance levels."""
        per_class = self.confusion.sum(axis=1)
        return {
            "n_songs": self.n_songs,
            "n_slices": self.n_slices,
            "accuracy_songs": self.accuracy_songs,
            "accuracy_songs_95": list(interval_95(int(np.trace(self.confusion)), self.n_songs)),
            "accuracy_slices": self.accuracy_slices,
            "chance": 1.0 / len(classes),
            "always_the_commonest_class": float(per_class.max() / self.n_songs),
            "loss": self.loss,
            "confusion_songs": self.confusion.tolist(),
        }


def interval_95(n_right: int, n: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson, JASA 1927)."""
    interval = stats.binomtest(n_right, n).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def measure(classifier: nn.Module, split: SplitArrays, device: torch.device) -> Measured:
    """Classify every slice, and every song by the mean of its slices' probabilities."""
    classifier.eval()
    log_probabilities = []
    with torch.inference_mode():
        for start in range(0, len(split.y), _PREDICTION_BATCH):
            x = to_input(split.x[start : start + _PREDICTION_BATCH], device)
            log_probabilities.append(functional.log_softmax(classifier(x).float(), dim=1).cpu())
    scores = torch.cat(log_probabilities).numpy().astype(np.float64)
    n_classes = scores.shape[1]
    _, first, numbers = np.unique(split.song, return_index=True, return_inverse=True)
    song_scores = np.zeros((len(first), n_classes))
    np.add.at(song_scores, numbers, np.exp(scores))
    confusion = np.zeros((n_classes, n_classes), dtype=np.int64)
    np.add.at(confusion, (split.y[first], song_scores.argmax(axis=1)), 1)
    return Measured(
        loss=float(-scores[np.arange(len(scores)), split.y].mean()),
        accuracy_slices=float((scores.argmax(axis=1) == split.y).mean()),
        n_slices=len(scores),
        confusion=confusion,
    )
