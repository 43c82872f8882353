"""Cut every spectrogram into 128x128 slices of 2.97 s.

reads   <db>/specs/*.png
writes  <db>/slices/<song>/0000.png, 0001.png, ...
        <db>/skipped.csv   songs that could not be done, with the reason

<db> is data/train_db for -m Train and data/song_db for -m Test.

    python spotify_slices.py -m Test
    python spotify_slices.py -m Train --dry-run
"""

import argparse
import functools
import sys

from songrec import cli


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__)
    cli.add_mode_flag(parser)
    cli.add_common_flags(parser)
    return parser


def make_slices(args: argparse.Namespace) -> int:
    """Bring `slices/` up to date with `specs/`; return the exit status."""
    from songrec.database import Database
    from songrec.recipe import check_mark, write_mark
    from songrec.slices import has_current_slices, write_slices
    from songrec.stage import Stage

    options = cli.options_from(args)
    database = Database(args.data, args.mode)
    check_mark(database.specs_dir, rebuild=f"python spotify_specs.py -m {args.mode} --force")
    if not args.force:
        check_mark(database.slices_dir, rebuild=f"python spotify_slices.py -m {args.mode} --force")
    songs = database.songs_with_specs()

    next_command = (
        "python load_training_data.py --size 0.8"
        if args.mode == "Train"
        else 'python recommender.py -m Recommend "artist - song"'
    )
    with Stage("slices", database, options, next_command) as stage:
        todo = stage.select(songs, functools.partial(has_current_slices, database))
        orphans = set(database.slice_keys()) - {song.key for song in songs}
        if args.dry_run:
            return stage.list_only(todo, orphans)
        write_mark(database.slices_dir)
        for _ in stage.map(functools.partial(write_slices, database), todo):
            pass
        stage.remove((database.slices_path(key) for key in orphans), database.slices_dir)
        stage.forget_absent(songs)
    return stage.exit_status


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(make_slices, build_parser().parse_args(argv))


if __name__ == "__main__":
    sys.exit(main())
