"""How good recommendations are, told by labels: artist, album and genre of the neighbours."""

import dataclasses
from collections.abc import Sequence
from typing import Self

import numpy as np
from scipy import stats

N_NEIGHBOURS = 10
GENRE_DEPTHS = (1, 5, 10)
N_BOOTSTRAP = 2000
MEASURES = (
    "genre_p1",
    "genre_p5",
    "genre_p10",
    "artist_hit10",
    "artist_mrr",
    "artist_hit10_other_album",
    "artist_mrr_other_album",
)


@dataclasses.dataclass(frozen=True)
class LabelledSongs:
    """Labels of the songs of a library, "" where unknown; arrays of text [shape=(n,)]."""

    artist: np.ndarray
    album: np.ndarray
    genre: np.ndarray

    def __getitem__(self, rows: Sequence[int]) -> "LabelledSongs":
        return LabelledSongs(self.artist[rows], self.album[rows], self.genre[rows])

    @property
    def groups(self) -> np.ndarray:
        """Number of each song's artist [shape=(n,)]; a song without one is its own group."""
        own = [name if name else f"\x00{row}" for row, name in enumerate(self.artist)]
        return np.unique(np.array(own, dtype=object), return_inverse=True)[1]


@dataclasses.dataclass(frozen=True)
class Scores:
    """How one system did, query by query.

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


def score(similarity: np.ndarray, labels: LabelledSongs) -> Scores:
    """Score a system by its similarities.

    Genre: share of the first 1, 5, 10 songs with the query's genre among the genre-labelled
    songs of other artists (the artist filter of Flexer and Schnitzer, 2010). Artist: whether a
    song of the query's artist is among the first 10 of all songs, and 1 / the rank of the first
    one; "other album" leaves out the query's own album.

    Parameters
    ----------
    similarity : np.ndarray [shape=(n, n)]
        Row: query. Only its order matters; the diagonal is not looked at.
    """
    n_songs = len(similarity)
    per_query = {measure: np.full(n_songs, np.nan) for measure in MEASURES}
    rows = np.arange(n_songs)
    neighbours = np.empty((n_songs, min(N_NEIGHBOURS, n_songs - 1)), dtype=np.int64)
    for query in range(n_songs):
        others = rows[rows != query]
        order = others[np.argsort(-similarity[query, others], kind="stable")]
        neighbours[query] = order[:N_NEIGHBOURS]
        same_artist = (labels.artist == labels.artist[query]) & (labels.artist[query] != "")
        if labels.genre[query]:
            found = order[(labels.genre[order] != "") & ~same_artist[order]]
            right = labels.genre[found] == labels.genre[query]
            if len(right):
                for depth in GENRE_DEPTHS:
                    per_query[f"genre_p{depth}"][query] = right[:depth].mean()
        same_album = (labels.album == labels.album[query]) & (labels.album[query] != "")
        for suffix, kept in (
            ("", order),
            ("_other_album", order[~(same_artist & same_album)[order]]),
        ):
            hits = np.flatnonzero(same_artist[kept])
            if len(hits):
                per_query[f"artist_hit10{suffix}"][query] = hits[0] < N_NEIGHBOURS
                per_query[f"artist_mrr{suffix}"][query] = 1.0 / (hits[0] + 1)
    return Scores(per_query, neighbours)


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


def bootstrap_weights(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """Draw the songs' weights of `N_BOOTSTRAP` resamples of whole artists.

    Songs of an artist are not independent, so artists are drawn, not songs.

    Returns
    -------
    np.ndarray [shape=(N_BOOTSTRAP, n), dtype=float64]
    """
    rng = np.random.default_rng(seed)
    n_groups = int(groups.max()) + 1
    draws = rng.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=N_BOOTSTRAP)
    return draws[:, groups].astype(np.float64)


def interval(values: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    """Return the mean of the queries that count, and its 95 % bootstrap interval.

    Parameters
    ----------
    values : np.ndarray [shape=(n,)]
        NaN where a song is no query.
    weights : np.ndarray [shape=(N_BOOTSTRAP, n)]

    Returns
    -------
    tuple of float
        Mean, lower and upper bound; NaN where there is no query.
    """
    counts = np.isfinite(values)
    if not counts.any():
        return float("nan"), float("nan"), float("nan")
    drawn = weights[:, counts]
    totals = drawn.sum(axis=1)
    means = (drawn @ values[counts])[totals > 0] / totals[totals > 0]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(values[counts].mean()), float(low), float(high)


def summarise(scores: Scores, weights: np.ndarray) -> dict[str, list[float]]:
    """Return [mean, low, high] of every measure, and the two of hubness (skew, never)."""
    told = {name: list(interval(values, weights)) for name, values in scores.per_query.items()}
    # Resampled queries would leave out songs that are asked in real use: no honest interval.
    for name, value in zip(
        ("hub_skew", "never_recommended"), hubness(scores.neighbours), strict=True
    ):
        told[name] = [value, float("nan"), float("nan")]
    return told


def differences(one: Scores, other: Scores, weights: np.ndarray) -> dict[str, list[float]]:
    """Return [mean, low, high] of the paired differences one - other of every measure."""
    return {
        name: list(interval(one.per_query[name] - other.per_query[name], weights))
        for name in MEASURES
    }


def standardised_similarity(features: np.ndarray) -> np.ndarray:
    """Return minus the Euclidean distances of features standardised over the songs.

    Parameters
    ----------
    features : np.ndarray [shape=(n, n_features)]

    Returns
    -------
    np.ndarray [shape=(n, n)]
    """
    scaled = (features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9)
    return -np.stack([np.linalg.norm(scaled - row, axis=1) for row in scaled])


def table(results: dict[str, dict[str, list[float]]], columns: Sequence[str]) -> str:
    """Return a Markdown table: a row a system, a column a measure with its interval."""
    lines = ["| system | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for system, measures in results.items():
        cells = []
        for column in columns:
            mean, low, high = measures[column]
            bounds = f" ({low:.2f}..{high:.2f})" if np.isfinite(low) else ""
            cells.append(f"{mean:.3f}{bounds}" if np.isfinite(mean) else "")
        lines.append(f"| {system} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
