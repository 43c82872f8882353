"""The order of the answers.

"cosine" is the cosine similarity of the songs' vectors. "full", the default, also compares class
probabilities, timbre and patterns, and suppresses hubs. The four distances of a pair are expressed
in standard deviations from what is typical for either song, and averaged: a song that is near to
everything gains nothing by that. The idea is the mutual proximity of Schnitzer et al. (JMLR 2012),
with the mean of standard scores in place of the product of probabilities, and a logistic scale.
"""

from collections.abc import Collection
from typing import Literal

import numpy as np

from songrec.store.descriptions import N_DISTANCES, Descriptions, Scales

Ranking = Literal["full", "cosine"]
RANKINGS: tuple[Ranking, ...] = ("full", "cosine")

N_REFERENCES = 256
# Below this timbre distance two songs are the same recording, whatever their names.
_SAME_TIMBRE = 1e-2


def cosine_similarities(library: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of a query to every song, from -1 to 1.

    Parameters
    ----------
    library : np.ndarray [shape=(n, n_dims), dtype=float32]
    query : np.ndarray [shape=(n_dims,), dtype=float32]
        Neither it nor any row of `library` is zero.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float32]
    """
    norms = np.sqrt(np.einsum("ij,ij->i", library, library)) * np.linalg.norm(query)
    cosines: np.ndarray = np.clip(library @ query / norms, -1.0, 1.0)
    return cosines


def distances(library: Descriptions, query: Descriptions) -> np.ndarray:
    """Return the distances of one song to every song of the library.

    Returns
    -------
    np.ndarray [shape=(n, N_DISTANCES), dtype=float64]
        Column 0: 1 - cosine similarity of the vectors; 1: the timbres' distance; 2: as 0, of
        the patterns; 3: the Hellinger distance of the class probabilities, from 0 to 1.
    """
    found = np.empty((len(library), N_DISTANCES))
    found[:, 0] = 1.0 - cosine_similarities(library.vectors, query.vectors[0])
    found[:, 1] = library.timbres.distances_from(query.timbres)
    found[:, 2] = 1.0 - cosine_similarities(library.patterns, query.patterns[0])
    overlap = np.sqrt(library.classes) @ np.sqrt(query.classes[0])
    found[:, 3] = np.sqrt(np.maximum(0.0, 1.0 - overlap))
    return found


def measure_scales(songs: Descriptions, references: Descriptions) -> Scales:
    """Measure the typical distances of each song: one pass over the references per song."""
    means, deviations = [], []
    for row in range(len(songs)):
        found = distances(references, songs[row : row + 1])
        others = found[found[:, 1] > _SAME_TIMBRE]
        found = others if len(others) > 1 else found
        means.append(found.mean(axis=0))
        deviations.append(found.std(axis=0))
    shape = (len(songs), N_DISTANCES)
    return Scales(np.reshape(means, shape), np.maximum(np.reshape(deviations, shape), 1e-6))


def similarities(
    library: Descriptions, scales: Scales, query: Descriptions, query_scale: Scales
) -> np.ndarray:
    """Return the full ranking's similarity of one song to every song of the library.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float64]
        From 0 to 1; 0.5 is as near as an average pair of these songs.
    """
    found = distances(library, query)
    score = (found - query_scale.mean) / query_scale.deviation
    score += (found - scales.mean) / scales.deviation
    # Equal weights: docs/EXPERIMENTS.md. Halved: the mean of both songs' views.
    mixed = score.mean(axis=1) / 2.0
    similarity: np.ndarray = 1.0 / (1.0 + np.exp(np.clip(mixed, -500.0, 500.0)))
    return similarity


def best_rows(similarity: np.ndarray, exclude: Collection[int]) -> list[int]:
    """Return all rows but the excluded, most similar first, ties in order of row."""
    order = np.argsort(-similarity, kind="stable")
    return [row for row in order.tolist() if row not in exclude]
