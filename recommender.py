"""Train the network, or recommend the songs that sound most like one you name.

-m Train      reads  train_db/arrays/
              writes model.pt, model/ (metrics.json, curves and confusion matrix as PNG)
-m Recommend  reads  song_db/slices/, model.pt
              writes song_db/vectors.db, and the answer to stdout

    python recommender.py -m Recommend "artist - song" 3
    python recommender.py -m Recommend "artist - song" 10 --also "artist - other song" --json
    python recommender.py -m Recommend ~/Downloads/unknown.mp3
    python recommender.py -m Train --epochs 16 --seed 1
    python recommender.py -m Train --resume
"""

import argparse
import sys
from pathlib import Path

from songrec import cli
from songrec.errors import InterruptedRunError, UsageError
from songrec.flags import add_question_flags, refuse_flags_of_other_mode
from songrec.settings import add_training_flags, settings_from


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__)
    parser.add_argument("-m", "--mode", choices=("Train", "Recommend"), required=True)
    add_question_flags(parser)
    parser.add_argument(
        "--model",
        type=Path,
        default=Path("model.pt"),
        metavar="FILE",
        help="the network (default: model.pt); training also writes the folder model/ beside it",
    )
    add_training_flags(parser)
    cli.add_common_flags(parser)
    return parser


def train(args: argparse.Namespace) -> int:
    """Train on `train_db/arrays` and write `model.pt` and `model/`; return the exit status."""
    from songrec.arrays import open_arrays
    from songrec.database import Database
    from songrec.lock import one_at_a_time
    from songrec.report import write_model, write_report
    from songrec.training import Trainer

    data = open_arrays(Database(args.data, "Train"))
    folder = args.model.parent / "model"
    trainer = Trainer(data, settings_from(args), folder / "checkpoint.pt", n_threads=args.jobs)
    if args.resume:
        trainer.load_state()
    if args.dry_run:
        print(f"train {len(data.classes)} {data.label} labels, {len(data.train.y)} slices")
        return cli.EXIT_OK
    try:
        with one_at_a_time(folder, "recommender"):
            while not trainer.is_finished:
                trainer.run_epoch(quiet=args.quiet)
                trainer.save_state()
        figures = trainer.finish()
        write_model(args.model, trainer, figures)
        report = write_report(folder, figures)
    except KeyboardInterrupt:
        kept = len(trainer.history)
        how = "go on with --resume" if kept else "nothing is kept yet: run the same command"
        raise InterruptedRunError(f"interrupted after {kept} whole epochs; {how}") from None
    print(report)
    if not args.quiet:
        print(
            f"wrote {args.model} and {folder}; next: "
            'python recommender.py -m Recommend "artist - song"',
            file=sys.stderr,
        )
    return cli.EXIT_OK


def recommend(args: argparse.Namespace) -> int:
    """Answer with the N songs most similar to the named ones; return the exit status."""
    from songrec.answer import Question, as_json, as_text, recommendations, shortfall
    from songrec.database import Database
    from songrec.library import list_new_songs, open_library

    options = cli.options_from(args)
    database = Database(args.data, "Test")
    if args.dry_run:
        for key in list_new_songs(database, args.model, options):
            print(f"embed {cli.printable(key)}")
        return cli.EXIT_OK
    library = open_library(database, args.model, options)
    names = [args.song, *args.also]
    question = Question(names, args.n, args.ranking, args.max_per_artist, args.keep_versions)
    answer = recommendations(library, question, args.model, options)
    if args.json:
        cli.print_json(as_json(answer))
    elif answer.rows:
        print(as_text(answer))
    if library.is_small and args.ranking == "full" and not args.quiet:
        print("fewer than 16 songs: ranked by cosine similarity only", file=sys.stderr)
    if len(answer.rows) < args.n and not args.quiet:
        print(shortfall(answer), file=sys.stderr)
    return cli.EXIT_OK


def run(args: argparse.Namespace) -> int:
    """Do what the mode says; return the exit status."""
    refuse_flags_of_other_mode(args, build_parser())
    if args.mode == "Train":
        return train(args)
    if args.song is None:
        raise UsageError('-m Recommend needs a song: recommender.py -m Recommend "artist - song"')
    return recommend(args)


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(run, build_parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
