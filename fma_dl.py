"""Download songs to train on: FMA small, 8,000 openly licensed clips of 30 s in 8 genres.

reads   https://os.unil.cloud.switch.ch/fma/   fma_small.zip (7.2 GiB), fma_metadata.zip
writes  data/train_db/songs/000/000002.mp3     one clip a track
        data/train_db/tracks.csv               song, artist, title, album, genre, split

To resume an interrupted download, run the same command again. --limit fetches N songs of each
genre one by one instead of the whole zips.

    python fma_dl.py --limit 12
    python fma_dl.py
    python fma_dl.py --url https://mirror.example/fma/ --keep-zip
"""

import argparse
import sys
from typing import TYPE_CHECKING

from songrec import cli

if TYPE_CHECKING:
    from songrec.store.database import Database
    from songrec.web.fma import Track


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument(
        "--limit", type=cli.positive_int, metavar="N", help="only N songs of each genre"
    )
    parser.add_argument(
        "--url", default="", metavar="BASE", help="web folder of both zips (a mirror)"
    )
    parser.add_argument(
        "--no-verify", action="store_true", help="accept zips with another SHA-1 than FMA's"
    )
    parser.add_argument("--keep-zip", action="store_true", help="keep the zips after unpacking")
    cli.add_data_flag(parser)
    parser.add_argument(
        "-j", "--jobs", type=cli.positive_int, default=4, metavar="N", help="songs at once, with "
        "--limit (default: 4)",
    )  # fmt: skip
    parser.add_argument("-q", "--quiet", action="store_true", help="no bars, no closing line")
    parser.add_argument("-v", "--verbose", action="store_true", help="tracebacks of errors")
    return parser


def bring_songs(args: argparse.Namespace) -> int:
    """Download what is missing; return the exit status."""
    from songrec.files import one_at_a_time
    from songrec.runs.progress import Progress
    from songrec.store.database import Database
    from songrec.web import fma

    database = Database.training(args.data)
    progress = Progress("fma", cli.options_from(args), ("done", "already there", "missing"))
    base_url = (args.url or fma.BASE_URL).rstrip("/") + "/"
    with one_at_a_time(database.root, "fma_dl"):
        # A table that cannot be added to is reported before the download, not after it.
        fma.read_table(database.tracks_csv)
        tracks = read_list(args, database, base_url)
        wanted = fma.pick(tracks, args.limit) if args.limit else tracks
        todo = fma.missing(database, wanted)
        try:
            if todo:
                take_songs(args, database, base_url, todo)
        finally:
            # Even after Ctrl-C the table lists every song that is there.
            fma.write_table(database, wanted)
            left = fma.missing(database, wanted)
            progress.count["done"] = len(todo) - len(left)
            progress.count["already there"] = len(wanted) - len(todo)
            progress.count["missing"] = len(left)
            progress.close(next_steps=() if left else (database.make_specs(),))
    return cli.exit_status(all_failed=len(left) == len(wanted))


def read_list(args: argparse.Namespace, database: "Database", base_url: str) -> "list[Track]":
    """Return the tracks of the small set, from the zip of tables at first."""
    from songrec.web import archive, fma
    from songrec.web.download import download

    track_list = fma.TrackList(database, base_url)
    tracks = track_list.read()
    if tracks is None:
        url = base_url + fma.TABLES_ZIP
        if args.limit:
            with archive.open_remote_zip(url) as tables:
                tracks = fma.tracks_in_zip(tables, url, quiet=args.quiet)
        else:
            path = database.root / fma.TABLES_ZIP
            sha1 = None if args.no_verify else fma.SHA1[fma.TABLES_ZIP]
            download(url, path, sha1=sha1, quiet=args.quiet)
            with archive.open_zip(path) as tables:
                tracks = fma.tracks_in_zip(tables, str(path), quiet=args.quiet)
            if not args.keep_zip:
                path.unlink()
        track_list.write(tracks)
    return tracks


def take_songs(
    args: argparse.Namespace, database: "Database", base_url: str, todo: "list[Track]"
) -> None:
    """Fetch the clips of `todo`: one by one with --limit, else from the whole zip."""
    from songrec.web import archive, fma
    from songrec.web.download import download

    url = base_url + fma.SONGS_ZIP
    if args.limit:
        fma.fetch(url, database, todo, jobs=args.jobs, quiet=args.quiet)
        return
    path = database.root / fma.SONGS_ZIP
    sha1 = None if args.no_verify else fma.SHA1[fma.SONGS_ZIP]
    download(url, path, sha1=sha1, space_factor=2.0, quiet=args.quiet)
    with archive.open_zip(path) as songs_zip:
        fma.unpack(songs_zip, str(path), database, todo, quiet=args.quiet)
    if not args.keep_zip:
        path.unlink()


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(bring_songs, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
