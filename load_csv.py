"""Fill the library from a CSV of Spotify tracks: a sample of each genre.

reads   data/spotify_tracks.csv (or .gz, .bz2, .xz, .zip); downloaded if there is none
writes  data/song_db/songs/<artist - title>.mp3   then their specs and slices
        data/song_db/downloads.db                 which tracks came or failed, and why

Each run draws new songs. An interrupted run is continued with the same command. Tracks that
failed are tried again only with --retry-skipped.

    python load_csv.py
    python load_csv.py --per-genre 5 --genre jazz --genre blues
    python load_csv.py --csv my_tracks.csv.xz --limit 100 --seed 1
"""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from songrec import cli

if TYPE_CHECKING:
    from songrec.intake.batch import Intake
    from songrec.web.ledger import Entry, Ledger


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("--csv", type=Path, metavar="FILE", help="your own CSV")
    parser.add_argument(
        "--per-genre",
        type=cli.positive_int,
        default=70,
        metavar="N",
        help="songs per genre (default: 70)",
    )
    parser.add_argument(
        "--genre",
        action="append",
        default=[],
        metavar="NAME",
        help="only this genre; may be repeated",
    )
    parser.add_argument("--seed", type=cli.not_negative_int, help="makes the sample repeatable")
    cli.add_common_flags(parser)
    return parser


def load_songs(args: argparse.Namespace) -> int:
    """Download a sample and make its slices; return the exit status."""
    from songrec.errors import SpotdlError
    from songrec.files import one_at_a_time
    from songrec.intake.batch import Intake, recommend_step
    from songrec.names import printable
    from songrec.runs.prepare import check_recipe
    from songrec.store.database import Database
    from songrec.web.ledger import Ledger

    database = Database.library(args.data)
    check_recipe(database)
    stopped_by = None
    # A dry run writes nothing, so it needs no lock, which would be a file.
    lock = nullcontext() if args.dry_run else one_at_a_time(database.root, "load_csv")
    with lock, Ledger(database.root / "downloads.db", dry_run=args.dry_run) as ledger:
        intake = Intake(database, cli.options_from(args), tell_failures=False)
        entries = sample(args, intake, ledger)
        if args.dry_run:
            for entry in entries:
                print(printable(f"{entry.genre}: {entry.name}"))
            return cli.EXIT_OK
        try:
            with intake:
                intake.download(entries, ledger)
        except SpotdlError as error:
            stopped_by = error  # the slices of what came before are still made
        # All songs, to include those of a run that was killed here.
        all_failed = intake.all_failed
        songs = database.songs_if_any()
        if songs:
            all_failed |= not intake.carry(songs, recommend_step(songs[0]))
    if stopped_by:
        raise stopped_by
    return cli.exit_status(all_failed=all_failed)


def sample(args: argparse.Namespace, intake: "Intake", ledger: "Ledger") -> "list[Entry]":
    """Return the songs to fetch: the rest of an interrupted sample, else a new one."""
    from songrec.web import catalogue
    from songrec.web.download import download

    songs_dir = intake.database.songs_dir
    wish = catalogue.Wish(
        args.per_genre,
        str(args.csv.resolve()) if args.csv else "",
        catalogue.genres_of(args.genre),
        args.limit,
        args.seed,
    )
    ledger.forget_gone(lambda file: (songs_dir / file).exists())
    if args.retry_skipped:
        ledger.retry_failed(wish.sample, wish.genres)
    left = ledger.wanted(wish.sample)
    if left:
        intake.progress.tell(f"continuing with {len(left)} songs drawn earlier")
        return left[: args.limit]
    known = ledger.ids("came", "failed")
    with TemporaryDirectory(prefix="songrec-") as scratch:
        path = args.csv or catalogue.find_csv(args.data)
        if not args.csv and not path.exists():
            path = Path(scratch) / path.name if args.dry_run else path
            download(catalogue.URL, path, quiet=args.quiet)
        table = catalogue.read_csv(path)
    entries = catalogue.draw(table, wish, known, lambda name: intake.shelf.find(name) is not None)
    ledger.want(entries, wish.sample)
    return entries


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(load_songs, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
