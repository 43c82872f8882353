"""Train the network, or recommend the songs that sound most like one you name.

-m Train      reads  train_db/arrays/
              writes model.pt, model/ (metrics.json, curves and confusion matrix as PNG);
                     the previous model is kept as model.pt.bak, and `git checkout model.pt`
                     restores the shipped one
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

from songrec import cli
from songrec.cli.flags import (
    add_question_flags,
    add_training_flags,
    refuse_flags_of_other_mode,
    settings_from,
)
from songrec.errors import InterruptedRunError, UsageError
from songrec.names import printable


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument(
        "-m", "--mode", type=str.capitalize, choices=("Train", "Recommend"), required=True
    )
    add_question_flags(parser)
    cli.add_model_flag(
        parser, "the network (default: model.pt); training also writes the folder model/ beside it"
    )
    add_training_flags(parser)
    cli.add_common_flags(parser)
    return parser


def train(args: argparse.Namespace) -> int:
    """Train on `train_db/arrays` and write `model.pt` and `model/`; return the exit status."""
    from songrec.advice import again, ask_about
    from songrec.files import one_at_a_time
    from songrec.learning.arrays import open_arrays
    from songrec.learning.report import write_model, write_report
    from songrec.learning.trainer import Trainer
    from songrec.store.database import Database

    data = open_arrays(Database.training(args.data))
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
        replaced = write_model(args.model, trainer, figures)
        report = write_report(folder, figures)
    except KeyboardInterrupt:
        kept = len(trainer.history)
        step = again("--resume") if kept and not args.resume else again()
        raise InterruptedRunError(f"interrupted after {kept} whole epochs", step) from None
    print(report)
    if not args.quiet:
        lines = [f"wrote {args.model} and {folder}", *([replaced] if replaced else [])]
        songs = Database.library(args.data).songs_if_any()
        if songs:
            step = ask_about(songs[0].name)
            lines.append(f"next: {cli.commands([step], args)}")
        print(printable("; ".join(lines)), file=sys.stderr)
    return cli.EXIT_OK


def recommend(args: argparse.Namespace) -> int:
    """Answer with the N songs most similar to the named ones; return the exit status."""
    from songrec.intake.links import song_of_link
    from songrec.recommend.answer import Question
    from songrec.recommend.library import MIN_REFERENCES
    from songrec.recommend.recommender import Recommender
    from songrec.store.database import Database

    recommender = Recommender(Database.library(args.data), args.model, cli.options_from(args))
    if args.dry_run:
        for key in recommender.new_songs():
            print(f"embed {printable(key)}")
        return cli.EXIT_OK
    songs = [song_of_link(recommender.database, name) for name in (args.song, *args.also)]
    question = Question(songs, args.n, args.ranking, args.max_per_artist, args.keep_versions)
    answer = recommender.ask(question)
    if args.json:
        cli.print_json(answer.as_values())
    elif answer.recommendations:
        print(answer.as_text())
    if recommender.library.is_small and args.ranking == "full" and not args.quiet:
        print(
            f"fewer than {MIN_REFERENCES} songs: ranked by cosine similarity only",
            file=sys.stderr,
        )
    if len(answer.recommendations) < args.n and not args.quiet:
        print(answer.shortfall(), file=sys.stderr)
    return cli.EXIT_OK


def run(args: argparse.Namespace) -> int:
    """Train or recommend, as the mode says; return the exit status."""
    refuse_flags_of_other_mode(args, build_parser())
    if args.mode == "Train":
        return train(args)
    if args.song is None:
        raise UsageError("-m Recommend needs a song: its name, a part of it, or an audio file")
    return recommend(args)


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(run, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
