"""The project's rankings and other systems on one labelled library, in one run."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from songrec.errors import UsageError
from songrec.evaluation.labels import LabelledSongs, label_songs
from songrec.evaluation.measures import (
    Resamples,
    Scores,
    differences,
    mutual_proximity,
    score,
    summarise,
)
from songrec.evaluation.peers import (
    PEERS,
    is_installed,
    matrix_similarities,
    peer_similarities,
    vector_similarities,
)
from songrec.recommend.library import Library
from songrec.recommend.ranking import RANKINGS, cosine_similarities
from songrec.recommend.recommender import Recommender

if TYPE_CHECKING:
    from songrec.network.embedder import Embedder

OWN = "full"

_NamedFiles = Sequence[tuple[str, Path]]


@dataclasses.dataclass(frozen=True)
class Files:
    """Other systems, as names and files: vectors to compare by cosine, or whole distances."""

    vectors: _NamedFiles = ()
    matrices: _NamedFiles = ()


NO_FILES = Files()


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


def score_systems(
    subject: Subject,
    names: Sequence[str],
    files: Files = NO_FILES,
    embedders: Mapping[str, "Embedder"] = MappingProxyType({}),
    fuses: Sequence[str] = (),
) -> dict[str, Scores]:
    """Score every system on the same songs.

    Parameters
    ----------
    names
        Rankings of this tool, by the code that answers, and peers.
    files
        Other systems, by the files of their vectors or distances.
    embedders
        Other networks, by the cosine of their vectors.
    fuses
        Names of the above joined by "+": the mean of their mutual proximities.
    """
    systems: dict[str, Callable[[], Iterable[np.ndarray]]] = {
        **{name: functools.partial(_by_name, subject.library, name) for name in names},
        **{
            name: functools.partial(vector_similarities, path, subject.library)
            for name, path in files.vectors
        },
        **{
            name: functools.partial(matrix_similarities, path, subject.library)
            for name, path in files.matrices
        },
        **{
            name: functools.partial(_by_network, subject.library, embedder)
            for name, embedder in embedders.items()
        },
    }
    parts = {part for fuse in fuses for part in parts_of(fuse, systems)}
    # Whole matrices are kept only of what is fused.
    proximities: dict[str, np.ndarray] = {}
    scores = {}
    for name, compute in systems.items():
        rows = compute()
        if name in parts:
            rows = np.stack(list(rows))
            proximities[name] = mutual_proximity(-rows)
        scores[name] = score(rows, subject.labels)
    for fuse in fuses:
        fused = np.mean([proximities[part] for part in parts_of(fuse, systems)], axis=0)
        scores[fuse] = score(fused, subject.labels)
    return scores


def parts_of(fuse: str, systems: Collection[str]) -> list[str]:
    """Return the names that a fuse ("musly+musicnn") joins.

    Raises
    ------
    UsageError
        If it does not name two or more systems, each one once.
    """
    parts = fuse.split("+")
    for part in parts:
        if part not in systems:
            raise UsageError(f"--fuse {fuse}: there is no system {part!r} in this run")
    if len(set(parts)) < len(parts) or len(parts) < 2:
        raise UsageError(f"--fuse {fuse}: name two or more systems, each once")
    return parts


def _by_name(library: Library, name: str) -> Iterable[np.ndarray]:
    for ranking in RANKINGS:
        if name == ranking:
            rows = (library.descriptions[[row]] for row in range(len(library.songs)))
            return (library.similarities(query, ranking) for query in rows)
    return peer_similarities(name, library)


def _by_network(library: Library, embedder: "Embedder") -> Iterable[np.ndarray]:
    folders = (library.database.slices_path(song.key) for song in library.songs)
    vectors = np.concatenate([embedder.describe_folder(folder).vectors for folder in folders])
    return (cosine_similarities(vectors, row) for row in vectors)


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
