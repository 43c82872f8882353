"""The order of the answers: cosine similarity of song vectors."""

from collections.abc import Collection

import numpy as np


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
    return np.clip(library @ query / norms, -1.0, 1.0)


def rank(
    library: np.ndarray, queries: np.ndarray, n: int, exclude: Collection[int]
) -> list[tuple[int, float]]:
    """Rank the library by its mean similarity to one or more queries.

    Parameters
    ----------
    library : np.ndarray [shape=(n_songs, n_dims)]
    queries : np.ndarray [shape=(n_queries, n_dims)]
    n
        Most answers wanted.
    exclude
        Rows that are no answers: the queries' own.

    Returns
    -------
    list of (row, similarity)
        Best first; equal ones in order of row. Similarities below 0 (nothing in common) are
        told as 0.
    """
    similarities = np.mean([cosine_similarities(library, query) for query in queries], axis=0)
    order = np.argsort(-similarities, kind="stable")
    best = [int(row) for row in order if row not in exclude][:n]
    return [(row, max(0.0, float(similarities[row]))) for row in best]
