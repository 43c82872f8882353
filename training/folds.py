"""Measure by cross-validation: each fold's songs are embedded by a network not trained on them.

reads   pieces.npz from prepare.py, the CSV of its labelled clips, and song_db/ with the same clips
        and tracks.csv
writes  the folds' networks into a folder (what is there is not trained again), vectors that are
        missing into song_db/vectors.db, and to stdout how good the answers are among the songs of
        each fold, all folds together

The clips are dealt to folds by artist and album (the package where the label names none): labels
that share either are in the same fold. For each fold the network and the projection of the patterns
are made without any piece of its labels.

    python training/folds.py pieces.npz clips.csv folds/ --vectors musicnn=musicnn.npz
"""

import argparse
import dataclasses
import hashlib
import multiprocessing
import re
import sys
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import tqdm
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from songrec import cli
from songrec.errors import LabelError, UsageError
from songrec.evaluation import comparison
from songrec.evaluation.comparison import Subject
from songrec.evaluation.measures import Scores
from songrec.evaluation.peers import PEERS
from songrec.evaluation.tables import text_of
from songrec.files import fingerprint
from songrec.names import composed, fold
from songrec.network.embedder import Embedder
from songrec.recommend.ranking import RANKINGS
from songrec.recommend.recommender import Recommender
from songrec.sound.patterns import N_DIMS, measure_patterns
from songrec.sound.timbre import Timbres
from songrec.store.database import Database
from songrec.store.slices import read_slices
from training.distil import Songs, make_model, sources_of
from training.fit_patterns import fit
from training.windows import read_windows


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("pieces", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("models", type=Path, help="folder for the folds' networks")
    parser.add_argument("--folds", type=cli.positive_int, default=4, metavar="N")
    parser.add_argument("--steps", type=cli.positive_int, default=2800, metavar="N")
    cli.add_systems_flags(parser)
    cli.add_basic_flags(parser)
    return parser


def terms_of(label: str) -> set[tuple[str, str]]:
    """Return the artists and the album of a label, or the package it names instead."""
    artists, _, album = label.partition("|")
    terms = {("artist", fold(name)) for name in re.split("[&,;]", artists)}
    return terms | ({("album", fold(album))} if album else set())


def related(labels: Collection[str]) -> dict[str, int]:
    """Give labels that share an artist or an album the same number."""
    listed = sorted(labels)
    terms = [terms_of(label) for label in listed]
    shared = np.array([[bool(one & other) for other in terms] for one in terms])
    numbers = connected_components(shared, directed=False)[1]
    return dict(zip(listed, numbers.tolist(), strict=True))


def dealt(groups: list[int], genres: list[str], n_folds: int) -> np.ndarray:
    """Deal songs to folds, groups whole, genres evenly.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=int64]
        The fold of each song.

    Raises
    ------
    UsageError
        If there are fewer groups than folds, or fewer than two folds.
    """
    if not 2 <= n_folds <= len(set(groups)):
        raise UsageError(f"--folds {n_folds}: 2 to {len(set(groups))} are possible")
    fold_of = np.empty(len(groups), dtype=np.int64)
    dealer = StratifiedGroupKFold(n_folds, shuffle=True, random_state=0)
    for number, (_, held) in enumerate(dealer.split(groups, genres, groups)):
        fold_of[held] = number
    return fold_of


def clips_in(args: argparse.Namespace) -> tuple[Subject, list[str]]:
    """Return the clips that the library holds, and the label of each.

    Raises
    ------
    LabelError
        If there is none, or two clips of one name have different labels.
    """
    database = Database.library(args.data)
    recommender = Recommender(database, cli.SHIPPED_MODEL, cli.options_from(args))
    subject = comparison.open_subject(recommender, split=None)
    label_of: dict[str, str] = {}
    for window in read_windows(args.clips):
        name = composed(window.path.stem)
        if label_of.setdefault(name, window.label) != window.label:
            raise LabelError(f"{args.clips} gives {name!r} two labels; name its files apart")
    names = [composed(Path(song.name).name) for song in subject.library.songs]
    rows = [row for row, name in enumerate(names) if name in label_of]
    if not rows:
        raise LabelError(f"{database.songs_dir} holds no clip of {args.clips}, by file name")
    if not args.quiet:
        print(f"{len(rows)} of {len(label_of)} clips are in the library", file=sys.stderr)
    part = Subject(subject.library.subset(rows), subject.labels[rows])
    return part, [label_of[names[row]] for row in rows]


def deal_out(
    args: argparse.Namespace, subject: Subject, labels: list[str]
) -> tuple[list[list[int]], list[set[str]]]:
    """Return the rows of each fold, and all labels that its network must not be trained on.

    Raises
    ------
    LabelError
        If too few clips are outside a fold to fit a projection.
    """
    with np.load(args.pieces) as stored:
        sources = {label for some in sources_of(stored, args.pieces) for label in some}
    group_of = related({*labels, *sources})
    groups = [group_of[label] for label in labels]
    fold_of = dealt(groups, subject.labels.genre.tolist(), args.folds)
    folds = [np.flatnonzero(fold_of == number).tolist() for number in range(args.folds)]
    fewest = len(labels) - max(len(rows) for rows in folds)
    if fewest <= N_DIMS:
        raise LabelError(
            f"{fewest} clips outside a fold are too few: more than {N_DIMS} are needed"
        )
    held = [{groups[row] for row in rows} for rows in folds]
    return folds, [{label for label, group in group_of.items() if group in some} for some in held]


def model_path(args: argparse.Namespace, labels: set[str]) -> Path:
    """Return the path of the network that was trained without these labels."""
    made_from = repr((fingerprint(args.pieces), sorted(labels)))
    digest = hashlib.sha256(made_from.encode()).hexdigest()[:12]
    folder: Path = args.models
    return folder / f"{args.steps}_steps_without_{digest}.pt"


def train_without(pieces: Path, steps: int, labels: set[str], path: Path) -> None:
    """Train the network of a fold."""
    make_model(Songs(pieces, labels), path, steps=steps, seed=0, jobs=1)


def train_missing(args: argparse.Namespace, without: list[set[str]]) -> list[Path]:
    """Return each fold's network, made without its labels, after training those not there."""
    models = [model_path(args, labels) for labels in without]
    # A fork would inherit torch's threads in a state that hangs.
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as processes:
        training = [
            processes.submit(train_without, args.pieces, args.steps, labels, path)
            for labels, path in zip(without, models, strict=True)
            if not path.exists()
        ]
        for one in training:
            one.result()
    return models


def library_of_fold(
    subject: Subject,
    rows: list[int],
    slices: list[np.ndarray],
    embedder: Embedder,
    patterns: np.ndarray,
) -> Subject:
    """Return a fold's songs as a library of their own, heard by the fold's network."""
    library = subject.library.subset(rows)
    heard = [embedder.describe_slices(slices[row]) for row in rows]
    descriptions = dataclasses.replace(
        library.descriptions,
        vectors=np.concatenate([one.vectors for one in heard]),
        patterns=patterns.astype(np.float32),
    )
    return Subject(library.described_by(descriptions), subject.labels[rows])


def score_folds(
    args: argparse.Namespace,
    subject: Subject,
    labels: list[str],
    folds: list[list[int]],
    models: list[Path],
) -> dict[str, Scores]:
    """Score every system fold by fold, and join the folds."""
    slices_path = subject.library.database.slices_path
    slices = [read_slices(slices_path(song.key)) for song in subject.library.songs]
    measured = [measure_patterns(some, Timbres.of_slices(some)) for some in slices]
    names = comparison.installed([*RANKINGS, *PEERS])
    scores: list[dict[str, Scores]] = []
    for rows, model in zip(tqdm.tqdm(folds, "folds", disable=args.quiet), models, strict=True):
        others = sorted(set(range(len(labels))) - set(rows))
        projection = fit([measured[row] for row in others], [labels[row] for row in others])
        patterns = projection.apply(np.stack([np.concatenate(measured[row]) for row in rows]))
        part = library_of_fold(subject, rows, slices, Embedder(model, args.jobs), patterns)
        scores.append(comparison.score_systems(part, names, files_of(args), fuses=args.fuse))
    return {name: Scores.joined([one[name] for one in scores]) for name in scores[0]}


def files_of(args: argparse.Namespace) -> comparison.Files:
    """Return the files of other systems that the flags name."""
    return comparison.Files(args.vectors, args.matrix)


def measure(args: argparse.Namespace) -> int:
    """Train what is missing, measure fold by fold, print the tables; return the exit status."""
    files = [*args.vectors, *args.matrix]
    cli.refuse_same_names([*RANKINGS, *PEERS, *(name for name, _ in files)])
    subject, labels = clips_in(args)
    # A file that lacks a song is an error now, not after hours of training.
    comparison.score_systems(subject, [], files_of(args))
    folds, without = deal_out(args, subject, labels)
    models = train_missing(args, without)
    scores = score_folds(args, subject, labels, folds, models)
    order = [row for rows in folds for row in rows]
    together = Subject(subject.library.subset(order), subject.labels[order])
    print(text_of(comparison.figures_of(together, scores), comparison.OWN))
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(measure, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
