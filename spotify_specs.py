"""Make the mel spectrogram of every song.

reads   <db>/songs/**      mp3, flac, ogg, opus, wav, m4a, aac
writes  <db>/specs/*.png   128 rows (mel bands), one column per 23.2 ms
        <db>/skipped.csv   songs that could not be processed, with the reason

<db> is data/train_db for -m Train and data/song_db for -m Test.

    python spotify_specs.py -m Test
    python spotify_specs.py -m Train --jobs 4 --limit 100
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


def make_specs(args: argparse.Namespace) -> int:
    """Bring `specs/` up to date with `songs/`; return the exit status."""
    from songrec.runs.prepare import write_spec
    from songrec.runs.stage import Stage
    from songrec.store.marks import check_mark, write_mark
    from songrec.store.pictures import has_current_spec, has_own_spec, remove_spec

    options = cli.options_from(args)
    database = cli.database_from(args)
    songs = database.songs()
    if not args.force:
        check_mark(database.specs_dir, database.make_specs("--force"))

    with Stage("specs", database, options, database.make_slices()) as stage:
        todo = stage.select(songs, functools.partial(has_current_spec, database))
        orphans = set(database.spec_keys()) - {song.key for song in songs}
        if args.dry_run:
            stage.list_only(todo, (key for key in orphans if has_own_spec(database, key)))
            return cli.EXIT_OK
        write_mark(database.specs_dir)
        for _ in stage.map(functools.partial(write_spec, database), todo):
            pass
        stage.remove(orphans, functools.partial(remove_spec, database))
        stage.forget_absent(songs)
    return cli.exit_status(all_failed=stage.all_failed)


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(make_specs, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
