"""How good recommendations are, scored by the artist, album and genre of the neighbours."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import numpy as np
from scipy import special, stats

from songrec.evaluation.labels import LabelledSongs

N_NEIGHBOURS = 10
GENRE_DEPTHS = (1, 5, 10)
N_BOOTSTRAP = 2000
GENRE_MEASURES = ("genre_p1", "genre_p5", "genre_p10")
ARTIST_MEASURES = (
    "artist_hit10",
    "artist_mrr",
    "artist_hit10_other_album",
    "artist_mrr_other_album",
)
MEASURES = (*GENRE_MEASURES, *ARTIST_MEASURES)
HUB_MEASURES = ("hub_skew", "never_recommended")


@dataclasses.dataclass(frozen=True)
class Scores:
    """The scores of one system, query by query.

    Attributes
    ----------
    per_query : dict of np.ndarray [shape=(n,)]
        Each of `MEASURES`; NaN where a song cannot be a query of it.
    neighbours : np.ndarray [shape=(n, at most N_NEIGHBOURS), dtype=int64]
        Rows of the nearest songs, for the hubs.
    """

    per_query: dict[str, np.ndarray]
    neighbours: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence["Scores"]) -> Self:
        """Join the scores of several libraries, their songs in the same order.

        As many neighbours count as the smallest library has.
        """
        starts = np.cumsum([0, *(len(part.neighbours) for part in parts)])
        n_near = min(part.neighbours.shape[1] for part in parts)
        near = [part.neighbours[:, :n_near] + at for part, at in zip(parts, starts, strict=False)]
        return cls(
            {name: np.concatenate([part.per_query[name] for part in parts]) for name in MEASURES},
            np.concatenate(near),
        )


def score(similarities: Iterable[np.ndarray], labels: LabelledSongs) -> Scores:
    """Score a system by its similarities, one query at a time.

    Genre: share of the first 1, 5, 10 songs with the query's genre among the genre-labelled
    songs of other artists (the artist filter of Flexer and Schnitzer, 2010). Artist: whether a
    song of the query's artist is among the first 10 of all songs, and 1 / the rank of the first
    one; "other album" leaves out the query's own album.

    Parameters
    ----------
    similarities : iterable of np.ndarray [shape=(n,)]
        Of each song, in order, to every song. Only the order of the numbers matters; the
        similarity of a song to itself is ignored.
    """
    artist, album, genre = (_numbered(x) for x in (labels.artist, labels.album, labels.genre))
    n_songs = len(artist)
    per_query = {measure: np.full(n_songs, np.nan) for measure in MEASURES}
    rows = np.arange(n_songs)
    neighbours = np.empty((n_songs, min(N_NEIGHBOURS, n_songs - 1)), dtype=np.int64)
    for query, similarity in zip(rows, similarities, strict=True):
        others = rows[rows != query]
        order = others[np.argsort(-similarity[others], kind="stable")]
        neighbours[query] = order[:N_NEIGHBOURS]
        same_artist = (artist == artist[query]) & (artist[query] >= 0)
        if genre[query] >= 0:
            found = order[(genre[order] >= 0) & ~same_artist[order]]
            right = genre[found] == genre[query]
            if len(right):
                for depth in GENRE_DEPTHS:
                    per_query[f"genre_p{depth}"][query] = right[:depth].mean()
        same_album = (album == album[query]) & (album[query] >= 0)
        for suffix, kept in (
            ("", order),
            ("_other_album", order[~(same_artist & same_album)[order]]),
        ):
            hits = np.flatnonzero(same_artist[kept])
            if len(hits):
                per_query[f"artist_hit10{suffix}"][query] = hits[0] < N_NEIGHBOURS
                per_query[f"artist_mrr{suffix}"][query] = 1.0 / (hits[0] + 1)
    return Scores(per_query, neighbours)


def _numbered(labels: np.ndarray) -> np.ndarray:
    """Return a number for each label, -1 for the unknown [shape=(n,), dtype=int64]."""
    names, numbers = np.unique(labels, return_inverse=True)
    return numbers if "" not in names else numbers - 1


def hubness(neighbours: np.ndarray) -> tuple[float, float]:
    """Return the skew of how often songs are among the nearest, and the share that never is.

    The skewness of the k-occurrence (Radovanovic et al., JMLR 2010).

    Parameters
    ----------
    neighbours : np.ndarray [shape=(n, k)]
    """
    counts = np.bincount(neighbours.ravel(), minlength=len(neighbours))
    skew = stats.skew(counts) if np.ptp(counts) else 0.0
    return float(skew), float((counts == 0).mean())


@dataclasses.dataclass(frozen=True)
class Resamples:
    """Bootstrap resamples of whole artists: the songs of an artist are not independent.

    Attributes
    ----------
    groups : np.ndarray [shape=(n,), dtype=int64]
        Number of each song's artist.
    draws : np.ndarray [shape=(N_BOOTSTRAP, n_artists), dtype=float64]
        How often each artist is drawn.
    """

    groups: np.ndarray
    draws: np.ndarray

    @classmethod
    def of(cls, groups: np.ndarray, seed: int = 0) -> Self:
        """Draw the resamples."""
        n_groups = int(groups.max()) + 1
        draws = np.random.default_rng(seed).multinomial(
            n_groups, np.full(n_groups, 1.0 / n_groups), size=N_BOOTSTRAP
        )
        return cls(groups, draws.astype(np.float64))

    def interval(self, values: np.ndarray) -> tuple[float, float, float]:
        """Return the mean of the queries that count, and its 95 % bootstrap interval.

        Parameters
        ----------
        values : np.ndarray [shape=(n,)]
            NaN where a song is no query.

        Returns
        -------
        tuple of float
            Mean, lower and upper bound; NaN where there is no query.
        """
        counts = np.isfinite(values)
        if not counts.any():
            return float("nan"), float("nan"), float("nan")
        groups, n_groups = self.groups[counts], self.draws.shape[1]
        totals = self.draws @ np.bincount(groups, minlength=n_groups)
        sums = self.draws @ np.bincount(groups, values[counts], minlength=n_groups)
        low, high = np.percentile(sums[totals > 0] / totals[totals > 0], [2.5, 97.5])
        return float(values[counts].mean()), float(low), float(high)


def summarise(scores: Scores, resamples: Resamples) -> dict[str, list[float]]:
    """Return [mean, low, high] of every measure, and the two of hubness (skew, never)."""
    summary = {name: list(resamples.interval(values)) for name, values in scores.per_query.items()}
    # Hubness is a property of all songs together: resampling queries gives no valid interval.
    for name, value in zip(HUB_MEASURES, hubness(scores.neighbours), strict=True):
        summary[name] = [value, float("nan"), float("nan")]
    return summary


def differences(one: Scores, other: Scores, resamples: Resamples) -> dict[str, list[float]]:
    """Return [mean, low, high] of the paired differences one - other of every measure."""
    return {
        name: list(resamples.interval(one.per_query[name] - other.per_query[name]))
        for name in MEASURES
    }


def mutual_proximity(distances: np.ndarray) -> np.ndarray:
    """Return how sure it is that two songs are near, seen from both (Schnitzer et al., JMLR 2012).

    The share of songs farther from the one, times the share farther from the other, each song's
    distances to the others taken as normally distributed: their independent Gaussian form.

    Parameters
    ----------
    distances : np.ndarray [shape=(n, n)]
        Row: query. The diagonal is ignored.

    Returns
    -------
    np.ndarray [shape=(n, n), dtype=float64]
        From 0 to 1.
    """
    n_songs = len(distances)
    others = distances[~np.eye(n_songs, dtype=bool)].reshape(n_songs, n_songs - 1)
    deviation = np.maximum(others.std(axis=1, keepdims=True), np.finfo(float).tiny)
    farther = special.ndtr((others.mean(axis=1, keepdims=True) - distances) / deviation)
    proximity: np.ndarray = farther * farther.T
    return proximity


def standardised_similarities(features: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each song's negative Euclidean distances to all [shape=(n,)], of scaled features.

    Parameters
    ----------
    features : np.ndarray [shape=(n, n_features)]
        Scaled to unit deviation over the songs before the distances are taken.
    """
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    return euclidean_similarities(scaled)


def euclidean_similarities(features: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each song's negative Euclidean distances to all [shape=(n,)]."""
    return (-np.linalg.norm(features - row, axis=1) for row in features)
