"""Add songs to recommend among: from Spotify links, or from your own files and folders.

reads   a Spotify link (through spotdl), or audio files: mp3, flac, ogg, opus, wav, m4a, aac
writes  data/song_db/songs/<artist - title>.mp3   then its spec and slices
        data/song_db/downloads.db                 what came from Spotify, what failed and why

Prints the command that recommends by the new song. Your own files are named from their tags,
else from their file names; what is there already is told and not added twice.

    python add_song.py -u https://open.spotify.com/track/0VjIjW4GlUZAMYd2vXMi3b
    python add_song.py -u https://open.spotify.com/album/4yP0hdKOZPNshxUOjY0cZj --all
    python add_song.py --file ~/Music "some song.flac"
    python add_song.py --file /media/music --link
"""

import argparse
import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from songrec import cli

if TYPE_CHECKING:
    from songrec.intake.batch import Intake
    from songrec.store.database import Song

MAX_PRINTED = 10


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("-u", "--url", metavar="URL", help="link of a track on Spotify")
    source.add_argument(
        "--file", nargs="+", type=Path, metavar="PATH", help="audio files and folders of them"
    )
    parser.add_argument(
        "--all", action="store_true", help="add every song of an album, playlist or artist"
    )
    parser.add_argument(
        "--link", action="store_true", help="leave files where they are and link to them"
    )
    cli.add_common_flags(parser)
    return parser


def add_songs(args: argparse.Namespace) -> int:
    """Bring the songs in and carry them through to their slices; return the exit status."""
    from songrec.errors import UsageError
    from songrec.intake.batch import Intake
    from songrec.runs.prepare import check_recipe
    from songrec.store.database import Database

    if args.link and not args.file:
        raise UsageError("--link goes with --file")
    if args.all and not args.url:
        raise UsageError("--all goes with --url")
    database = Database.library(args.data)
    check_recipe(database)
    intake = Intake(database, cli.options_from(args), tell_failures=True)
    add = add_files if args.file else add_link
    add(args, intake)
    if args.dry_run:
        return cli.EXIT_OK
    songs = intake.placed_songs()
    is_any_ready = intake.carry(songs) if songs else False
    print_next(args, intake, songs)
    return cli.exit_status(all_failed=intake.all_failed or (bool(songs) and not is_any_ready))


def print_next(args: argparse.Namespace, intake: "Intake", songs: "list[Song]") -> None:
    """Print what recommends by the new songs; by one that was there if it is the only one."""
    from songrec.intake.batch import recommend_step
    from songrec.names import printable

    new = [song for song in songs if intake.placed[song.path]]
    if not new and len(songs) == 1 and not args.quiet:
        new = songs
    for song in new[:MAX_PRINTED]:
        print(printable(cli.commands([recommend_step(song)], args)))
    if len(new) > MAX_PRINTED:
        print(f"# and {len(new) - MAX_PRINTED} more songs")


def add_files(args: argparse.Namespace, intake: "Intake") -> None:
    """Put the given files, and all audio files in the given folders, onto the shelf."""
    from songrec.intake.shelf import find_audio
    from songrec.intake.tags import song_name
    from songrec.names import printable

    paths = find_audio(args.file, intake.progress.tell)
    if args.dry_run:
        new = (path for path in paths if intake.shelf.same(path, song_name(path)) is None)
        for path in itertools.islice(new, args.limit):
            print(printable(f"add {path} as {song_name(path)}"))
        return
    with intake:
        intake.add_files(paths, "link" if args.link else "copy")


def add_link(args: argparse.Namespace, intake: "Intake") -> None:
    """Bring the track, or with --all every track, that a link points at."""
    from songrec.errors import UsageError
    from songrec.intake.batch import staging
    from songrec.web import spotdl, spotify
    from songrec.web.ledger import Ledger

    link = spotify.read_link(args.url)
    if link.kind != "track" and not args.all:
        raise UsageError(f"{link.url} is no track ({link.kind}); add --all to add all its songs")
    if args.dry_run:
        print(f"add {link.url}")
        return
    with intake, Ledger(intake.database.root / "downloads.db") as ledger:
        ledger.forget_gone(lambda file: (intake.database.songs_dir / file).exists())
        file = ledger.file_of(link.id)
        if file:
            intake.there(intake.database.songs_dir / file)
        elif link.kind == "track":
            intake.download_link(link.id, link.url, ledger)
        else:
            with staging(intake.database) as folder:
                entries = spotdl.list_songs(link.url, folder)
            if not args.retry_skipped:
                failed = ledger.ids("failed")
                entries = [entry for entry in entries if entry.track_id not in failed]
            intake.download(entries, ledger)


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(add_songs, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
