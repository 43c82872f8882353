"""Measure how good the classifier and the recommendations are.

-m Train  reads  train_db/arrays/, model.pt
          writes the classifier's accuracy on the test songs to stdout
-m Test   reads  song_db/slices/, model.pt, and artist, album and genre from song_db/tracks.csv
                 or, where there is none, from the tags of song_db/songs/
          writes how good the recommendations are, beside those of other systems, to stdout

    python evaluate.py -m Train
    python evaluate.py -m Test --split test
    python evaluate.py -m Test --systems full cosine random mfcc --json
    python evaluate.py -m Test --vectors musicnn=musicnn.npz --fuse musly+musicnn
"""

import argparse
import sys
from pathlib import Path

from songrec import cli
from songrec.errors import UsageError

SYSTEMS = ("full", "cosine", "random", "mfcc", "musly", "bliss")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    cli.add_mode_flag(parser)
    parser.add_argument(
        "--split", choices=("train", "valid", "test"), help="only songs of this split of tracks.csv"
    )
    parser.add_argument(
        "--systems",
        nargs="+",
        choices=SYSTEMS,
        metavar="NAME",
        help=f"of {', '.join(SYSTEMS)} (default: all that are installed); "
        "musly and bliss need requirements-peers.txt",
    )
    cli.add_systems_flags(parser)
    parser.add_argument(
        "--against",
        action="append",
        default=[],
        type=cli.named_file,
        metavar="NAME=FILE",
        help="one more system: another model.pt, ranked by cosine; may be repeated",
    )
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also plot the figures as PNG")
    cli.add_model_flag(parser, "the network (default: model.pt)")
    cli.add_basic_flags(parser)
    return parser


def evaluate_classifier(args: argparse.Namespace) -> int:
    """Print the accuracy on test songs and slices; return the exit status."""
    import torch

    from songrec.learning.classification import classification_text, classify_test_songs
    from songrec.store.database import Database

    torch.set_num_threads(args.jobs)
    figures = classify_test_songs(Database.training(args.data), args.model, args.plot)
    cli.print_json(figures) if args.json else print(classification_text(figures))
    return cli.EXIT_OK


def evaluate_recommendations(args: argparse.Namespace) -> int:
    """Print every system's measures and this tool's lead over each; return the exit status."""
    from songrec.evaluation import comparison
    from songrec.evaluation.measures import MEASURES
    from songrec.evaluation.tables import text_of
    from songrec.recommend.recommender import Recommender
    from songrec.store.database import Database

    options = cli.options_from(args)
    recommender = Recommender(Database.library(args.data), args.model, options)
    subject = comparison.open_subject(recommender, args.split)
    names = args.systems or comparison.installed(SYSTEMS)
    embedders = {
        name: Recommender(recommender.database, path, options).embedder
        for name, path in args.against
    }
    files = comparison.Files(args.vectors, args.matrix)
    scores = comparison.score_systems(subject, names, files, embedders, args.fuse)
    figures = comparison.figures_of(subject, scores)
    if args.plot:  # before the text: its reader (head, say) may leave
        from songrec.evaluation.plots import draw_measures

        draw_measures(figures["measures"], MEASURES, args.plot)
    cli.print_json(figures) if args.json else print(text_of(figures, comparison.OWN))
    return cli.EXIT_OK


def evaluate(args: argparse.Namespace) -> int:
    """Evaluate what the mode names; return the exit status."""
    if args.mode == "Test":
        files = [*args.vectors, *args.matrix, *args.against]
        cli.refuse_same_names([*SYSTEMS, *(name for name, _ in files)])
        return evaluate_recommendations(args)
    if args.systems or args.vectors or args.matrix or args.fuse or args.against or args.split:
        raise UsageError(
            "--systems, --vectors, --matrix, --fuse, --against and --split go with -m Test"
        )
    return evaluate_classifier(args)


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(evaluate, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
