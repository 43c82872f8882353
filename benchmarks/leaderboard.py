"""Compare every system at hand on one labelled library, in one table.

This tool's rankings; musly and bliss where they are installed (requirements-peers.txt) and the
songs' audio is there; other systems by files of their vectors or distances, or musicnn by its
weights (training/export_teacher.py); and the mean of the mutual proximities of each choice of the
strongest others. The library needs slices and labels, as for evaluate.py -m Test.

    make leaderboard DATA=data
    make leaderboard DATA=data FLAGS="--split test --musicnn teacher.npz"
    python benchmarks/leaderboard.py --data data --vectors musicnn=musicnn.npz --fuse full+musicnn
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from songrec import cli
from songrec.evaluation import comparison
from songrec.evaluation.measures import ARTIST_MEASURES, GENRE_MEASURES, MEASURES
from songrec.evaluation.peers import NEED_AUDIO, PEERS
from songrec.evaluation.tables import table
from songrec.recommend.library import Library
from songrec.recommend.ranking import RANKINGS
from songrec.recommend.recommender import Recommender
from songrec.store.database import Database

MUSICNN = "musicnn"
# Those of which every two or more are fused.
FUSED = ("musly", MUSICNN, "msd_fcn")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument(
        "--split", choices=("train", "valid", "test"), help="only songs of this split of tracks.csv"
    )
    parser.add_argument(
        "--musicnn", type=Path, metavar="FILE", help="musicnn's weights; it hears the songs' audio"
    )
    cli.add_systems_flags(parser)
    cli.add_model_flag(parser, "the network (default: model.pt)")
    cli.add_basic_flags(parser)
    return parser


def names_at_hand(library: Library) -> tuple[list[str], list[str]]:
    """Return the rankings and peers that can run here, and why others cannot."""
    names, reasons = [], []
    has_audio = all(song.path.is_file() for song in library.songs)
    at_hand = comparison.installed([*RANKINGS, *PEERS])
    for name in [*RANKINGS, *PEERS]:
        if name not in at_hand:
            reasons.append(f"{name} is not installed (requirements-peers.txt)")
        elif name in NEED_AUDIO and not has_audio:
            reasons.append(f"{name} needs the audio of every song")
        else:
            names.append(name)
    return names, reasons


def fuses_of(names: Collection[str]) -> list[str]:
    """Return every fuse of two or more of the strongest other systems among `names`."""
    strong = [name for name in FUSED if name in names]
    sizes = range(2, len(strong) + 1)
    return ["+".join(some) for size in sizes for some in itertools.combinations(strong, size)]


def write_musicnn(weights: Path, library: Library, path: Path, *, is_quiet: bool) -> None:
    """Write the vectors of musicnn, hearing the songs' audio, as `--vectors` takes them."""
    from training.teacher import Teacher, vector_of

    teacher = Teacher(weights)
    songs = tqdm.tqdm(library.songs, MUSICNN, disable=is_quiet)
    vectors = [vector_of(song.path, teacher) for song in songs]
    np.savez(path, songs=np.array([song.name for song in library.songs]), vectors=vectors)


def text_of(figures: dict[str, Any]) -> str:
    """Return one table of the means, and one of this tool's leads with their intervals."""
    told = [name for name in MEASURES if figures["n_queries"][name]]
    means = {
        system: {name: [figure[0], np.nan, np.nan] for name, figure in measures.items()}
        for system, measures in figures["measures"].items()
    }
    queries = figures["n_queries"]
    return "\n\n".join(
        [
            f"{figures['n_songs']} songs of {figures['n_artists']} named artists; "
            f"{queries['artist_hit10']} artist and {queries['genre_p10']} genre queries",
            table(means, [*told, "hub_skew"]),
            f"`{comparison.OWN}` minus each of the others, query by query, with 95 % intervals by "
            "bootstrap over artists:",
            *(
                table(figures["leads"], [name for name in some if name in told])
                for some in (ARTIST_MEASURES, GENRE_MEASURES)
                if set(some) & set(told)
            ),
        ]
    )


def measure(args: argparse.Namespace) -> int:
    """Print the table; return the exit status."""
    files = [*args.vectors, *args.matrix]
    given = [name for name, _ in files] + [MUSICNN] * bool(args.musicnn)
    cli.refuse_same_names([*RANKINGS, *PEERS, *given])
    recommender = Recommender(Database.library(args.data), args.model, cli.options_from(args))
    subject = comparison.open_subject(recommender, args.split)
    names, reasons = names_at_hand(subject.library)
    for reason in reasons:
        print(f"left out: {reason}", file=sys.stderr)
    fuses = list(dict.fromkeys([*fuses_of([*names, *given]), *args.fuse]))
    with tempfile.TemporaryDirectory(prefix="songrec-") as folder:
        vectors = list(args.vectors)
        if args.musicnn:
            heard = Path(folder) / "musicnn.npz"
            write_musicnn(args.musicnn, subject.library, heard, is_quiet=args.quiet)
            vectors.append((MUSICNN, heard))
        scores = comparison.score_systems(
            subject, names, comparison.Files(vectors, args.matrix), fuses=fuses
        )
    print(text_of(comparison.figures_of(subject, scores)))
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    return cli.run(measure, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
