"""The order of the answers.

"cosine" is the cosine similarity of the songs' vectors. "full", the default, also compares timbre
and patterns, and suppresses hubs: songs that are near to everything. It works in three steps.

1. Each of the three distances of a pair is expressed in standard deviations from what is typical
   for either song, as measured on reference songs, and all are averaged.
2. The average is a distance again, and each song has its own distribution of it: what is near for
   one song is far for another. A logistic distribution is fitted to the song's distances to the
   references, by their median and the mean of the `_N_NEAR` smallest: the fit must be good among
   near songs.
3. Mutual proximity, in its independent form (Schnitzer, Flexer, Schedl and Widmer, JMLR 2012): the
   share of songs that are farther from the one song, times the share that are farther from the
   other. Its square root combines both songs' views.

In a large library that share is close to 1 for every good answer. The similarity shown is the same
in standard deviations: `1 / (1 + exp(z))`, where `z` is how many deviations above the median of a
logistic distribution that share is exceeded. 0.5 is as near as two songs typically are, 0.88 is two
deviations nearer, 0.95 three.
"""

import math
from collections.abc import Collection
from typing import Literal

import numpy as np

from songrec.store.descriptions import N_DISTANCES, Descriptions, References, Scales

Ranking = Literal["full", "cosine"]
RANKINGS: tuple[Ranking, ...] = ("full", "cosine")

# Fewer leave more hubs: docs/EXPERIMENTS.md.
N_REFERENCES = 1000
_N_NEAR = 24
# Of few references, only so many are near.
_LARGEST_NEAR_SHARE = 0.25
# Below this timbre distance two songs are the same recording, whatever their names.
_SAME_TIMBRE = 1e-2
# Standard deviation of the logistic distribution of scale 1.
_LOGISTIC_DEVIATION = math.pi / math.sqrt(3.0)
_SMALLEST = 1e-6


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
        the patterns.
    """
    found = np.empty((len(library), N_DISTANCES))
    found[:, 0] = 1.0 - cosine_similarities(library.vectors, query.vectors[0])
    found[:, 1] = library.timbres.distances_from(query.timbres)
    found[:, 2] = 1.0 - cosine_similarities(library.patterns, query.patterns[0])
    return found


def make_references(songs: Descriptions) -> References:
    """Measure the typical distances of reference songs to each other."""
    means = np.empty((len(songs), N_DISTANCES))
    deviations = np.empty((len(songs), N_DISTANCES))
    for row in range(len(songs)):
        found = distances(songs, songs[row : row + 1])
        means[row], deviations[row] = _typical(found[_are_others(found)])
    return References(songs, means, deviations)


def measure_scales(songs: Descriptions, references: References) -> Scales:
    """Measure the typical distances of each song: one pass over the references per song."""
    scales = Scales.empty(len(songs))
    for row in range(len(songs)):
        found = distances(references.songs, songs[row : row + 1])
        others = _are_others(found)
        scales.mean[row], scales.deviation[row] = _typical(found[others])
        mixed = _mixed(
            found[others],
            (scales.mean[row], scales.deviation[row]),
            (references.mean[others], references.deviation[others]),
        )
        scales.median[row], scales.width[row] = _logistic_fit(mixed)
    return scales


def similarities(
    library: Descriptions, scales: Scales, query: Descriptions, query_scale: Scales
) -> np.ndarray:
    """Return the full ranking's similarity of one song to every song of the library.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float64]
        From 0 to 1; the module's docstring says what it means.
    """
    mixed = _mixed(
        distances(library, query),
        (query_scale.mean[0], query_scale.deviation[0]),
        (scales.mean, scales.deviation),
    )
    seen_from_query = (mixed - query_scale.median[0]) / query_scale.width[0]
    seen_from_song = (mixed - scales.median) / scales.width
    # Logarithms of the shares of farther songs: close to 1, their complements would be lost.
    log_share = -0.5 * (np.logaddexp(0.0, seen_from_query) + np.logaddexp(0.0, seen_from_song))
    log_rest = np.log(np.maximum(-np.expm1(log_share), np.finfo(float).tiny))
    deviations = (log_rest - log_share) / _LOGISTIC_DEVIATION
    similarity: np.ndarray = 1.0 / (1.0 + np.exp(np.minimum(deviations, 500.0)))
    return similarity


def _are_others(found: np.ndarray) -> np.ndarray:
    """Return whether each song is another recording, by its distances [shape=(n,), dtype=bool]."""
    others: np.ndarray = found[:, 1] > _SAME_TIMBRE
    return others if others.sum() > 1 else np.ones(len(found), dtype=bool)


def _typical(found: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of each distance [shape=(N_DISTANCES,)]."""
    return found.mean(axis=0), np.maximum(found.std(axis=0), _SMALLEST)


def _mixed(
    found: np.ndarray,
    own: tuple[np.ndarray, np.ndarray],
    theirs: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Average the distances of one song to others, in deviations from what is typical for both.

    Parameters
    ----------
    found : np.ndarray [shape=(n, N_DISTANCES)]
    own : tuple of np.ndarray [shape=(N_DISTANCES,)]
        Mean and deviation of the one song's distances.
    theirs : tuple of np.ndarray [shape=(n, N_DISTANCES)]
        Of the others'.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=float64]
        All distances and both songs' views have equal weights: docs/EXPERIMENTS.md.
    """
    score = (found - own[0]) / own[1]
    score += (found - theirs[0]) / theirs[1]
    mixed: np.ndarray = score.mean(axis=1) / 2.0
    return mixed


def _logistic_fit(mixed: np.ndarray) -> tuple[float, float]:
    """Return the median and the scale of a logistic distribution that fits the near songs.

    The mean of the lowest share q of a logistic distribution is H(q) / q scales below its median,
    where H(q) = -q ln(q) - (1 - q) ln(1 - q): the integral of its quantile function, the logit,
    from 0 to q is -H(q).
    """
    n_near = max(1, min(_N_NEAR, int(len(mixed) * _LARGEST_NEAR_SHARE)))
    share = n_near / len(mixed)
    entropy = -share * math.log(share) - (1.0 - share) * math.log1p(-share) if share < 1.0 else 1.0
    median = float(np.median(mixed))
    near = float(np.partition(mixed, n_near - 1)[:n_near].mean())
    return median, max((median - near) * share / entropy, _SMALLEST)


def best_rows(similarity: np.ndarray, exclude: Collection[int]) -> list[int]:
    """Return all rows but the excluded, most similar first, ties in order of row."""
    order = np.argsort(-similarity, kind="stable")
    return [row for row in order.tolist() if row not in exclude]
