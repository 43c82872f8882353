"""The project's rankings and other systems on one labelled library, in one run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from songrec.errors import LabelError
from songrec.evaluation.measures import (
    MEASURES,
    LabelledSongs,
    Scores,
    bootstrap_weights,
    differences,
    score,
    summarise,
    table,
)
from songrec.evaluation.peers import PEERS, is_installed, peer_similarity, vector_similarity
from songrec.learning.plots import draw_measures
from songrec.names import composed
from songrec.recommend.library import Library
from songrec.recommend.ranking import RANKINGS, cosine_similarities
from songrec.recommend.recommender import Recommender
from songrec.store.tracks import read_tracks

if TYPE_CHECKING:
    from songrec.network.embedder import Embedder

OWN = "full"


@dataclasses.dataclass(frozen=True)
class Subject:
    """The library that is measured, with its labels."""

    library: Library
    labels: LabelledSongs


def open_subject(recommender: Recommender, split: str | None) -> Subject:
    """Open the library, or the songs of one split as if they were the whole library.

    Raises
    ------
    LabelError
        If `tracks.csv` is missing or labels none of the songs.
    """
    database = recommender.database
    tracks = read_tracks(database.tracks_csv)
    library = recommender.library
    names = [composed(song.name) for song in library.songs]
    rows = [
        row
        for row, name in enumerate(names)
        if name in tracks.index and split in {None, tracks.at[name, "split"]}
    ]
    if len(rows) < 2:
        of_split = f" of split {split}" if split else ""
        raise LabelError(
            f"{database.tracks_csv} lists {len(rows)} of these songs{of_split}; 2 are needed"
        )
    part = library.subset(rows)
    known = tracks.loc[[names[row] for row in rows]]
    if not (known["artist"].any() or known["genre"].any()):
        raise LabelError(f"{database.tracks_csv} tells neither artist nor genre of these songs")
    columns = (known[name].to_numpy(dtype=object) for name in ("artist", "album", "genre"))
    return Subject(part, LabelledSongs(*columns))


def installed(names: Sequence[str]) -> list[str]:
    """Return the systems of `names` that can run here."""
    return [name for name in names if name not in PEERS or is_installed(name)]


def score_system(subject: Subject, name: str) -> Scores:
    """Score one of this tool's rankings, by the code that answers, or a peer."""
    library = subject.library
    for ranking in RANKINGS:
        if name == ranking:
            rows = [
                library.similarities(library.descriptions[[row]], ranking)
                for row in range(len(library.songs))
            ]
            return score(np.stack(rows), subject.labels)
    return score(peer_similarity(name, library), subject.labels)


def score_systems(
    subject: Subject, names: Sequence[str], vectors: Sequence[tuple[str, Path]]
) -> dict[str, Scores]:
    """Score rankings and peers by name, and other systems by the files of their vectors."""
    scores = {name: score_system(subject, name) for name in names}
    return scores | {name: score_vectors(subject, path) for name, path in vectors}


def score_vectors(subject: Subject, path: Path) -> Scores:
    """Score vectors of another system, by cosine."""
    return score(vector_similarity(path, subject.library), subject.labels)


def score_network(subject: Subject, embedder: "Embedder") -> Scores:
    """Score another network by the cosine of its vectors."""
    database = subject.library.database
    vectors = np.concatenate(
        [
            embedder.describe_folder(database.slices_path(song.key)).vectors
            for song in subject.library.songs
        ]
    )
    return score(np.stack([cosine_similarities(vectors, row) for row in vectors]), subject.labels)


def figures_of(subject: Subject, scores: dict[str, Scores]) -> dict[str, Any]:
    """Return all figures as plain values: sizes, measures, and this tool's leads."""
    weights = bootstrap_weights(subject.labels.groups)
    first = next(iter(scores.values()))
    queries = {name: int(np.isfinite(values).sum()) for name, values in first.per_query.items()}
    own = scores.get(OWN)
    return {
        "n_songs": len(subject.library.songs),
        "n_artists": len({artist for artist in subject.labels.artist if artist}),
        "n_queries": queries,
        "measures": {name: summarise(one, weights) for name, one in scores.items()},
        "leads": {
            name: differences(own, other, weights)
            for name, other in scores.items()
            if own is not None and name != OWN
        },
    }


def text_of(figures: dict[str, Any]) -> str:
    """Return the figures as two tables."""
    columns = [*MEASURES, "hub_skew", "never_recommended"]
    queries = ", ".join(f"{name} {n}" for name, n in figures["n_queries"].items())
    parts = [
        f"{figures['n_songs']} songs of {figures['n_artists']} named artists; "
        "95 % intervals by bootstrap over artists",
        f"queries: {queries}",
        table(figures["measures"], columns),
    ]
    if figures["leads"]:
        parts += [f"`{OWN}` minus each (paired):", table(figures["leads"], MEASURES)]
    return "\n\n".join(parts)


def draw(figures: dict[str, Any], path: Path) -> None:
    """Draw the measures of all systems."""
    draw_measures(figures["measures"], MEASURES, path)
