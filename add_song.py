"""Add songs to recommend among: your own files and folders, or tracks on Spotify.

reads   audio files (mp3, flac, ogg, opus, wav, m4a, aac), or a Spotify link through spotdl
writes  data/song_db/songs/<artist - title>.mp3   then its spec and slices
        data/song_db/downloads.db                 tracks that came from Spotify, or why not

Files are named from their tags, else from their file names. A song that is already there is
not added twice. For each new song it prints the command that recommends by it.

    python add_song.py ~/Music "some song.flac"
    python add_song.py /media/music --link
    python add_song.py https://open.spotify.com/track/0VjIjW4GlUZAMYd2vXMi3b
    python add_song.py https://open.spotify.com/album/4yP0hdKOZPNshxUOjY0cZj --all
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
    from songrec.web.spotify import Link

MAX_PRINTED = 10


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument(
        "sources", nargs="*", metavar="SOURCE", help="audio file, folder of them, or Spotify link"
    )
    parser.add_argument("-u", "--url", metavar="URL", help="a Spotify link; the same as SOURCE")
    parser.add_argument(
        "--file", nargs="+", default=[], metavar="PATH", help="audio files and folders; as SOURCE"
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
    """Add the songs and make their spectrograms and slices; return the exit status."""
    from songrec.errors import SpotdlError
    from songrec.intake.batch import Intake
    from songrec.intake.shelf import find_audio
    from songrec.runs.prepare import check_recipe
    from songrec.store.database import Database

    links, paths = sources(args)
    database = Database.library(args.data)
    check_recipe(database)
    intake = Intake(database, cli.options_from(args), tell_failures=True)
    files = find_audio(paths, intake.progress.tell) if paths else []
    if args.dry_run:
        list_only(intake, links, files)
        return cli.EXIT_OK
    stopped_by = None
    with intake:
        intake.add_files(files, "link" if args.link else "copy")
        try:
            for link in links:
                add_link(args, intake, link)
        except SpotdlError as error:
            stopped_by = error  # songs added before it are analysed all the same
    songs = intake.placed_songs()
    is_any_ready = intake.carry(songs) if songs else False
    print_next(args, intake, songs)
    if stopped_by:
        raise stopped_by
    return cli.exit_status(all_failed=intake.all_failed or (bool(songs) and not is_any_ready))


def sources(args: argparse.Namespace) -> "tuple[list[Link], list[Path]]":
    """Return the links and the paths to add.

    Raises
    ------
    UsageError
        If there is none, or the flags do not go with them.
    """
    from songrec.errors import UsageError
    from songrec.web import spotify

    texts = [text for text in args.sources if "://" in text or spotify.is_link(text)]
    links = [spotify.read_link(text) for text in ([args.url] if args.url else []) + texts]
    paths = [Path(text) for text in [*args.file, *args.sources] if text not in texts]
    if not links and not paths:
        raise UsageError("say what to add: an audio file, a folder or a Spotify link")
    if args.link and not paths:
        raise UsageError("--link is for files")
    if args.all and not links:
        raise UsageError("--all is for Spotify links")
    for link in links:
        if link.kind != "track" and not args.all:
            raise UsageError(
                f"{link.url} is not a track ({link.kind}); add --all to add all its songs"
            )
    return links, paths


def list_only(intake: "Intake", links: "list[Link]", files: "list[Path]") -> None:
    """Print what a run would add, for `--dry-run`."""
    from songrec.names import printable

    for path, name in itertools.islice(intake.new_files(files), intake.options.limit):
        print(printable(f"add {path} as {name}"))
    for link in links:
        print(f"add {link.url}")


def add_link(args: argparse.Namespace, intake: "Intake", link: "Link") -> None:
    """Download the track, or all tracks of the album, playlist or artist, that a link points at."""
    from songrec.intake.batch import staging
    from songrec.web import spotdl
    from songrec.web.ledger import Ledger

    songs_dir = intake.database.songs_dir
    with Ledger(intake.database.root / "downloads.db") as ledger:
        ledger.forget_gone(lambda file: (songs_dir / file).exists())
        file = ledger.file_of(link.id)
        if file:
            intake.there(songs_dir / file)
        elif link.kind == "track":
            intake.download_link(link.id, link.url, ledger)
        else:
            with staging(intake.database) as folder:
                entries = spotdl.list_songs(link.url, folder)
            if not args.retry_skipped:
                failed = ledger.ids("failed")
                for entry in entries:
                    if entry.track_id in failed:
                        intake.fail(entry.name, "it failed before; --retry-skipped tries again")
                entries = [entry for entry in entries if entry.track_id not in failed]
            intake.download(entries, ledger)


def print_next(args: argparse.Namespace, intake: "Intake", songs: "list[Song]") -> None:
    """Print what recommends by the new songs; by one that was there if it is the only one."""
    from songrec.intake.batch import recommend_step
    from songrec.names import printable
    from songrec.runs.prepare import is_prepared

    asked = [song for song in songs if intake.placed[song.path]]
    if not asked and len(songs) == 1 and not args.quiet:
        asked = songs
    new = [song for song in asked if is_prepared(intake.database, song)]
    for song in new[:MAX_PRINTED]:
        print(printable(cli.commands([recommend_step(song)], args)))
    if len(new) > MAX_PRINTED:
        print(f"# and {len(new) - MAX_PRINTED} more songs")


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(add_songs, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
