"""Cut every spectrogram into 128x128 slices of 2.97 s.

reads   <db>/specs/*.png
writes  <db>/slices/<song>/0000.png, 0001.png, ...
        <db>/skipped.csv   songs that could not be processed, with the reason

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
    parser = cli.Parser(__doc__, __file__)
    cli.add_mode_flag(parser)
    cli.add_common_flags(parser)
    return parser


def make_slices(args: argparse.Namespace) -> int:
    """Bring `slices/` up to date with `specs/`; return the exit status."""
    from songrec.advice import Advice, ask_about
    from songrec.runs.stage import Stage
    from songrec.store.marks import check_mark, write_mark
    from songrec.store.skips import SkipList
    from songrec.store.slices import (
        has_current_slices,
        has_own_slices,
        remove_slices,
        write_slices,
    )

    options = cli.options_from(args)
    database = cli.database_from(args)
    check_mark(database.specs_dir, database.make_specs("--force"))
    if not args.force:
        check_mark(database.slices_dir, database.make_slices("--force"))
    specs = database.specs()

    next_step = {
        "training": Advice("load_training_data.py", ("--size", "0.8")),
        "library": ask_about(specs[0].key),
    }[database.kind]
    with Stage("slices", database, options, next_step) as stage:
        # What a later stage could not read is cut again.
        unreadable = SkipList(database.skipped_csv).songs("vectors", "arrays")
        todo = stage.select(
            specs, lambda s: s.key not in unreadable and has_current_slices(database, s.key)
        )
        orphans = set(database.slice_keys()) - {spec.key for spec in specs}
        if args.dry_run:
            stage.list_only(todo, (key for key in orphans if has_own_slices(database, key)))
            return cli.EXIT_OK
        write_mark(database.slices_dir)
        for _ in stage.map(functools.partial(write_slices, database), todo):
            pass
        stage.remove(orphans, functools.partial(remove_slices, database))
        stage.forget_absent(specs)
    return cli.exit_status(all_failed=stage.all_failed)


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(make_slices, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
