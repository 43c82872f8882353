"""Six labelled songs, and the orders in which each finds the others."""

import numpy as np

from songrec.evaluation.labels import LabelledSongs


def labelled_songs(*rows):
    """Songs of (artist, album, genre)."""
    return LabelledSongs(*(np.array(column, dtype=object) for column in zip(*rows, strict=True)))


def similarity_of(orders):
    """A matrix by which query i finds the songs in the order of orders[i]; it loves itself."""
    matrix = np.full((len(orders), len(orders)), 99.0)
    for query, order in enumerate(orders):
        matrix[query, order] = -np.arange(len(order))
    return matrix


SIX = labelled_songs(
    ("A", "a1", "rock"),
    ("A", "a1", "rock"),
    ("A", "a2", "rock"),
    ("B", "b1", "rock"),
    ("B", "b1", "jazz"),
    ("", "", "jazz"),
)


SIX_ORDERS = [
    [1, 3, 4, 2, 5],
    [5, 4, 3, 2, 0],
    [3, 4, 0, 5, 1],
    [0, 1, 2, 4, 5],
    [0, 5, 3, 1, 2],
    [4, 0, 1, 2, 3],
]
