"""Collect the slices of labelled songs in arrays for the training.

reads   train_db/slices/, train_db/tracks.csv   (columns song,artist,title,album,genre,split)
writes  train_db/arrays/   train_x.npy, train_y.npy, train_song.npy, the same for test,
                           labels.json, songs.csv; a summary to stdout

Whole songs are split, never slices, and an artist's songs stay on one side.

    python load_training_data.py --size 0.8
    python load_training_data.py --split official --label genre
"""

import argparse
import sys

from songrec import cli


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument(
        "-s",
        "--size",
        type=share,
        metavar="SHARE",
        help="share of the songs to train on (default: 1.0, all of them: no test set)",
    )
    parser.add_argument(
        "--label",
        choices=("genre", "artist", "album"),
        default="genre",
        help="what the classes are (default: genre)",
    )
    parser.add_argument(
        "--split",
        choices=("random", "official"),
        default="random",
        help="official: use the column split of tracks.csv (train, valid, test)",
    )
    parser.add_argument(
        "--seed",
        type=cli.not_negative_int,
        metavar="N",
        help="seed of the random split (default: 0)",
    )
    cli.add_common_flags(parser)
    return parser


def share(text: str) -> float:
    """Read a share above 0 and up to 1, for argparse."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0.0 < value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and up to 1")
    return value


def load_training_data(args: argparse.Namespace) -> int:
    """Bring `arrays/` up to date with slices and labels; return the exit status."""
    from songrec.advice import Advice, again
    from songrec.errors import LibraryError, UsageError
    from songrec.files import atomic_path, remove_stale_parts
    from songrec.learning import arrays
    from songrec.learning.plan import Plan, make_plan
    from songrec.runs.stage import Stage
    from songrec.store.database import Database, SliceFolder
    from songrec.store.marks import check_mark
    from songrec.store.slices import check_slices, slice_folders
    from songrec.store.tracks import read_tracks

    if args.split == "official" and (args.size is not None or args.seed is not None):
        raise UsageError("--split official takes the split from tracks.csv: no --size, no --seed")
    size = 1.0 if args.size is None else args.size
    seed = args.seed or 0
    options = cli.options_from(args)
    database = Database.training(args.data)
    check_mark(database.slices_dir, database.make_specs("--force"), database.make_slices("--force"))
    if not args.force:
        check_mark(database.arrays_dir, again("--force"))
    tracks = read_tracks(database.tracks_csv)
    folders = slice_folders(database)

    with Stage("arrays", database, options, Advice("recommender.py", ("-m", "Train"))) as stage:

        def plan_for(folders: list[SliceFolder]) -> Plan:
            if not folders:
                raise LibraryError(
                    f"no song's slices can be read; the reasons are in {database.skipped_csv}",
                    database.make_slices("--force"),
                )
            return make_plan(
                folders, tracks, label=args.label, size=size, split=args.split, seed=seed
            )

        stage.forget_absent(folders)
        todo = stage.select(folders, lambda _: False)
        plan = plan_for(todo)
        labelled = set(plan.table["key"])
        todo = [folder for folder in todo if folder.key in labelled]
        if not args.force and arrays.digest_there(database) == plan.digest:
            stage.progress.count["already there"] = len(todo)
        elif args.dry_run:
            stage.list_only(todo)
            return cli.EXIT_OK
        else:
            readable = list(stage.map(check_slices, todo))
            plan = plan_for(readable)
            remove_stale_parts(database.root)
            with atomic_path(database.arrays_dir) as part:
                arrays.allocate(plan, part)
                arrays.fill(part, plan, readable)
        for line in plan.notes:
            stage.tell(line)
        print(plan.summary())
    return cli.exit_status(all_failed=stage.all_failed)


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(load_training_data, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
