"""Measure by cross-validation: each fold's songs are answered by a network that never met them.

reads   pieces.npz from prepare.py, the CSV of its labelled clips, and song_db/ with the same clips
        and tracks.csv
writes  the folds' networks into a folder (what is there is not trained again), and to stdout how
        good the answers are among the songs of each fold, all folds together

The clips are dealt to folds by artist, or package where the label names no artist. For each fold
the network and the projection of the patterns are made without any piece of its artists. `single`
is the full ranking with the network heard in single slices instead of contexts.

    python training/folds.py pieces.npz clips.csv folds/ --vectors musicnn=musicnn.npz
"""

import argparse
import dataclasses
import functools
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import tqdm
from distil import Songs, artist_of, make_model
from fit_patterns import fit
from prepare import read_windows
from sklearn.model_selection import StratifiedGroupKFold

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from evaluate import named_file  # noqa: E402
from songrec import cli, comparison  # noqa: E402
from songrec.comparison import Subject  # noqa: E402
from songrec.database import Database  # noqa: E402
from songrec.embedding import Embedder  # noqa: E402
from songrec.errors import LabelError  # noqa: E402
from songrec.evaluation import Scores  # noqa: E402
from songrec.patterns import measure_patterns  # noqa: E402
from songrec.slices import read_slices  # noqa: E402
from songrec.timbre import Timbres  # noqa: E402

SINGLE = "single"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__)
    parser.add_argument("pieces", type=Path)
    parser.add_argument("clips", type=Path)
    parser.add_argument("models", type=Path, help="folder for the folds' networks")
    parser.add_argument("--folds", type=cli.positive_int, default=4, metavar="N")
    parser.add_argument("--steps", type=cli.positive_int, default=2800, metavar="N")
    parser.add_argument(
        "--vectors",
        action="append",
        default=[],
        type=named_file,
        metavar="NAME=FILE",
        help="one more system, as in evaluate.py; may be repeated",
    )
    cli.add_basic_flags(parser)
    return parser


def dealt(artists: list[str], genres: list[str], n_folds: int) -> np.ndarray:
    """Deal songs to folds, artists whole, genres evenly.

    Returns
    -------
    np.ndarray [shape=(n,), dtype=int64]
        The fold of each song.
    """
    fold_of = np.empty(len(artists), dtype=np.int64)
    dealer = StratifiedGroupKFold(n_folds, shuffle=True, random_state=0)
    for fold, (_, held) in enumerate(dealer.split(artists, genres, artists)):
        fold_of[held] = fold
    return fold_of


def train_without(pieces: Path, models: Path, steps: int, fold: int, artists: set[str]) -> Path:
    """Train the network of a fold, if it is not there, and return its model.pt."""
    path = models / f"without_fold{fold}_{steps}_steps.pt"
    if not path.exists():
        make_model(Songs(pieces, artists), path, steps=steps, seed=0, jobs=1)
    return path


def clips_in(args: argparse.Namespace) -> tuple[Subject, list[str]]:
    """Return the clips that the library holds, and the label of each.

    Raises
    ------
    LabelError
        If there are fewer than folds.
    """
    database = Database(args.data, "Test")
    model = ROOT / "model.pt"
    subject = comparison.open_subject(database, model, cli.options_from(args), split=None)
    label_of = {window.path.stem: window.label for window in read_windows(args.clips)}
    names = [Path(song.name).name for song in subject.library.songs]
    rows = [row for row, name in enumerate(names) if name in label_of]
    if len(rows) < args.folds:
        raise LabelError(
            f"{database.songs_dir} holds {len(rows)} of the clips of {args.clips}; "
            f"{args.folds} folds need as many"
        )
    part = Subject(subject.library.subset(rows), subject.labels[rows])
    return part, [label_of[names[row]] for row in rows]


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
        contexts=np.concatenate([one.contexts for one in heard]),
        patterns=patterns.astype(np.float32),
        classes=np.concatenate([one.classes for one in heard]),
    )
    library = dataclasses.replace(library, descriptions=descriptions)
    # Once more, for what distance is usual among the new descriptions.
    return Subject(library.subset(list(range(len(rows)))), subject.labels[rows])


def systems_of_fold(
    whole: Subject, single: Subject, vectors: list[tuple[str, Path]]
) -> dict[str, Scores]:
    """Score every system on the songs of a fold."""
    peers = comparison.installed(["random", "mfcc", "musly", "bliss"])
    found = {name: comparison.score_system(whole, name) for name in ["full", "cosine", *peers]}
    found[SINGLE] = comparison.score_system(single, "full")
    return found | {name: comparison.score_vectors(whole, path) for name, path in vectors}


def measure(args: argparse.Namespace) -> int:
    """Train what is missing, measure fold by fold, print the tables; return the exit status."""
    subject, labels = clips_in(args)
    artists = [artist_of(label) for label in labels]
    fold_of = dealt(artists, subject.labels.genre.tolist(), args.folds)
    folds = [np.flatnonzero(fold_of == fold).tolist() for fold in range(args.folds)]
    held = [{artists[row] for row in rows} for rows in folds]
    train = functools.partial(train_without, args.pieces, args.models, args.steps)
    # A fork would inherit torch's threads in a state that hangs.
    with ProcessPoolExecutor(args.jobs, multiprocessing.get_context("spawn")) as processes:
        models = list(processes.map(train, range(args.folds), held))

    paths = [subject.library.database.slices_path(song.key) for song in subject.library.songs]
    slices = [read_slices(path) for path in paths]
    measured = [
        measure_patterns(some, Timbres.of_slices(some)) for some in tqdm.tqdm(slices, "patterns")
    ]
    scores: dict[str, list[Scores]] = {}
    for rows, artists_held, model in zip(tqdm.tqdm(folds, "folds"), held, models, strict=True):
        others = [row for row, artist in enumerate(artists) if artist not in artists_held]
        projection = fit([measured[row] for row in others], [labels[row] for row in others])
        patterns = projection.apply(np.stack([np.concatenate(measured[row]) for row in rows]))
        whole, single = (
            library_of_fold(subject, rows, slices, Embedder(model, args.jobs, heard), patterns)
            for heard in (None, 1)
        )
        for name, found in systems_of_fold(whole, single, args.vectors).items():
            scores.setdefault(name, []).append(found)
    order = [row for rows in folds for row in rows]
    together = Subject(subject.library.subset(order), subject.labels[order])
    joined = {name: Scores.joined(parts) for name, parts in scores.items()}
    print(comparison.text_of(comparison.figures_of(together, joined)))
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(measure, build_parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
