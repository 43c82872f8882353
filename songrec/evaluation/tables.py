"""The figures of a comparison as text: Markdown tables no wider than a terminal."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from songrec.evaluation.measures import (
    ARTIST_MEASURES,
    GENRE_MEASURES,
    HUB_MEASURES,
    N_NEIGHBOURS,
)
from songrec.names import printable

WIDTH = 100
NAMES = {
    **{name: name.replace("_p", " P@") for name in GENRE_MEASURES},
    "artist_hit10": "artist hit@10",
    "artist_mrr": "artist MRR",
    "artist_hit10_other_album": "hit@10, other album",
    "artist_mrr_other_album": "MRR, other album",
    "hub_skew": "hub skew",
    "never_recommended": "never recommended",
}

_Results = dict[str, dict[str, list[float]]]


def text_of(figures: dict[str, Any], own: str) -> str:
    """Return the figures as tables, with what the measures are.

    Parameters
    ----------
    own
        The system whose leads over the others `figures` holds.
    """
    n_of = figures["n_queries"]
    measures, leads = figures["measures"], figures["leads"]
    parts = [
        f"{figures['n_songs']} songs of {figures['n_artists']} named artists; in brackets 95 % "
        "intervals by bootstrap over artists",
        f"Genre ({n_of['genre_p10']} queries): the share of the first k songs by other artists "
        "that are of its genre",
        table(measures, GENRE_MEASURES),
        f"Artist ({n_of['artist_hit10']} queries, {n_of['artist_hit10_other_album']} of artists "
        f"with another album): how often one of the artist's\nsongs is among the first "
        f"{N_NEIGHBOURS}, and the mean of 1 / the rank of the first of them",
        table(measures, ARTIST_MEASURES),
        f"Hubs: the skewness of how often a song is among the first {N_NEIGHBOURS}, and the share "
        "of songs that never are",
        table(measures, HUB_MEASURES),
    ]
    if leads:
        parts += [
            f"`{own}` minus each of the others, query by query:",
            table(leads, GENRE_MEASURES),
            table(leads, ARTIST_MEASURES),
        ]
    return "\n\n".join(parts)


def table(results: _Results, measures: Sequence[str]) -> str:
    """Return a row a system, a column a measure; more than one table where it is too wide."""
    systems = ["system", *map(printable, results)]
    tables = [[systems]]
    for measure in measures:
        column = [NAMES[measure], *(_cell(result[measure]) for result in results.values())]
        if len(tables[-1]) > 1 and _width([*tables[-1], column]) > WIDTH:
            tables.append([systems])
        tables[-1].append(column)
    return "\n\n".join(map(_markdown, tables))


def _cell(figure: Sequence[float]) -> str:
    mean, low, high = figure
    if not np.isfinite(mean):
        return ""
    # "z": no minus before what rounds to zero.
    bounds = f" ({low:z.2f}..{high:z.2f})" if np.isfinite(low) else ""
    return f"{mean:z.3f}{bounds}"


def _width(columns: Sequence[Sequence[str]]) -> int:
    return 1 + sum(3 + max(map(len, column)) for column in columns)


def _markdown(columns: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in columns]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in zip(*columns, strict=True)
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)
