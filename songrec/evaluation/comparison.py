"""The project's rankings and other systems on one labelled library, in one run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from songrec.evaluation.labels import LabelledSongs, label_songs
from songrec.evaluation.measures import Resamples, Scores, differences, score, summarise
from songrec.evaluation.peers import PEERS, is_installed, peer_similarities, vector_similarities
from songrec.recommend.library import Library
from songrec.recommend.ranking import RANKINGS, cosine_similarities
from songrec.recommend.recommender import Recommender

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
        As `label_songs` does.
    """
    library = recommender.library
    rows, labels = label_songs(recommender.database, library.songs, split)
    return Subject(library.subset(rows), labels)


def installed(names: Sequence[str]) -> list[str]:
    """Return the systems of `names` that can run here."""
    return [name for name in names if name not in PEERS or is_installed(name)]


def score_system(subject: Subject, name: str) -> Scores:
    """Score one of this tool's rankings, by the code that answers, or a peer."""
    library = subject.library
    for ranking in RANKINGS:
        if name == ranking:
            rows = (library.descriptions[[row]] for row in range(len(library.songs)))
            found = (library.similarities(query, ranking) for query in rows)
            return score(found, subject.labels)
    return score(peer_similarities(name, library), subject.labels)


def score_systems(
    subject: Subject, names: Sequence[str], vectors: Sequence[tuple[str, Path]]
) -> dict[str, Scores]:
    """Score rankings and peers by name, and other systems by the files of their vectors."""
    scores = {name: score_system(subject, name) for name in names}
    return scores | {name: score_vectors(subject, path) for name, path in vectors}


def score_vectors(subject: Subject, path: Path) -> Scores:
    """Score vectors of another system, by cosine."""
    return score(vector_similarities(path, subject.library), subject.labels)


def score_network(subject: Subject, embedder: "Embedder") -> Scores:
    """Score another network by the cosine of its vectors."""
    database = subject.library.database
    vectors = np.concatenate(
        [
            embedder.describe_folder(database.slices_path(song.key)).vectors
            for song in subject.library.songs
        ]
    )
    return score((cosine_similarities(vectors, row) for row in vectors), subject.labels)


def figures_of(subject: Subject, scores: dict[str, Scores]) -> dict[str, Any]:
    """Return all figures as plain values: sizes, measures, and this tool's leads."""
    resamples = Resamples.of(subject.labels.groups)
    first = next(iter(scores.values()))
    queries = {name: int(np.isfinite(values).sum()) for name, values in first.per_query.items()}
    own = scores.get(OWN)
    return {
        "n_songs": len(subject.library.songs),
        "n_artists": len({artist for artist in subject.labels.artist if artist}),
        "n_queries": queries,
        "measures": {name: summarise(one, resamples) for name, one in scores.items()},
        "leads": {
            name: differences(own, other, resamples)
            for name, other in scores.items()
            if own is not None and name != OWN
        },
    }
