"""Get some openly licensed music, or use yours, and recommend among it.

reads   --songs DIR, else FMA (https://github.com/mdeff/fma), else Debian's game music
writes  data/demo/song_db/, or data/song_db/ for your own music, and an answer to stdout

It runs the scripts of this project and shows each command as you would type it.

    python tools/demo.py
    python tools/demo.py --songs ~/Music
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from songrec import cli
from songrec.advice import Advice
from songrec.errors import DownloadError, LibraryError
from songrec.intake.shelf import Shelf
from songrec.intake.tags import read_tags
from songrec.names import join_name, printable
from songrec.recommend.answer import Question
from songrec.recommend.recommender import Recommender
from songrec.runs.options import Options
from songrec.store.database import AUDIO_ENDINGS, Database, Song
from songrec.web.debian import can_download, unpack_package
from songrec.web.fma import BASE_URL

FMA_SONGS_PER_GENRE = 6
# Small packages with whole pieces of music of many kinds; 100 MB, some forty songs.
PACKAGES = (
    "amoebax-data",
    "ardentryst",
    "asc-music",
    "noiz2sa-data",
    "pushover-data",
    "wizznic-data",
)
MIN_MUSIC_BYTES = 400_000  # smaller files in these packages are effects and jingles
# In song_db once all music was asked for: some songs alone may be what a killed run brought.
COMPLETE_MARK = ".open_music_is_complete"
N_ANSWERS = 3
# More alike than this are two files of one piece, which would be a dull answer.
SAME_PIECE = 0.95
# In a large library the question is chosen among so many songs.
MAX_CANDIDATES = 200


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("--songs", type=Path, metavar="DIR", help="your own music")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="default: data/demo; data for your own music"
    )
    cli.add_model_flag(parser, "the network (default: model.pt)")
    parser.add_argument("-v", "--verbose", action="store_true", help="tracebacks of errors")
    return parser


def demo(args: argparse.Namespace) -> int:
    """Fill a small library and ask it; return the exit status."""
    # The open music stays out of your own library.
    args.data = args.data or short(cli.ROOT / "data" / ("" if args.songs else "demo"))
    database = Database.library(args.data)
    if args.songs:
        run(args, "add_song.py", args.songs.expanduser().resolve(), "--link")
    elif not (database.root / COMPLETE_MARK).exists() and get_open_music(args, database):
        (database.root / COMPLETE_MARK).touch()
    run(args, "spotify_specs.py", "-m", "Test")
    run(args, "spotify_slices.py", "-m", "Test")
    print("\nListening to every song with the network", file=sys.stderr)
    recommender = Recommender.open(args.data, args.model, options=Options())
    query, other = choose_questions(recommender)
    run(args, "recommender.py", "-m", "Recommend", query.title, N_ANSWERS)
    n_songs = len(recommender.library.songs)
    print()
    print(printable(f"Of {n_songs} songs, these sound most like {query.title!r}."))
    print("Only the sound was compared; names, artists and genres play no part in the ranking.")
    print("\nAsk about another song:")
    print(printable("    " + command(args, "recommender.py", "-m", "Recommend", other.title)))
    if not args.songs:
        print("Add your own music, with your folder in place of ~/Music:")
        own = argparse.Namespace(data=Path("data"))
        print(f"    {cli.commands([Advice('add_song.py')], own)} ~/Music --link")
    return cli.EXIT_OK


def choose_questions(recommender: Recommender) -> tuple[Song, Song]:
    """Return the song whose answers are all most like it, and the next best question."""
    ranked: list[tuple[bool, float, Song]] = []
    for song in recommender.library.songs[:MAX_CANDIDATES]:
        found = recommender.ask(Question([song.file], N_ANSWERS)).recommendations
        if found:
            is_dull = found[0].similarity > SAME_PIECE
            ranked.append((not is_dull, found[-1].similarity, song))
    ranked.sort(key=lambda row: row[:2], reverse=True)
    songs = [song for _, _, song in ranked]
    return songs[0], songs[min(1, len(songs) - 1)]


def get_open_music(args: argparse.Namespace, database: Database) -> bool:
    """Put a few dozen songs into `song_db/songs`: FMA's where it can be reached, else Debian's.

    Returns
    -------
    bool
        Whether everything was asked for; without apt-get an earlier run's songs must do.

    Raises
    ------
    LibraryError
        If there is no music, neither from there nor from an earlier run.
    """
    if is_reachable(BASE_URL):
        run(args, "fma_dl.py", "--limit", FMA_SONGS_PER_GENRE)
        run(args, "add_song.py", args.data / "train_db" / "songs")
        return True
    print("FMA cannot be reached; trying Debian's game music", file=sys.stderr)
    is_online = can_download()
    for number, package in enumerate(PACKAGES if is_online else (), start=1):
        print(f"downloading {package} ({number} of {len(PACKAGES)}) ...", file=sys.stderr)
        try:
            take_songs(package, database)
        except DownloadError as error:
            print(f"left out: {error}", file=sys.stderr)
    if not database.songs_if_any():
        raise LibraryError(
            "no open music can be reached from here (no FMA, no apt-get); "
            "use your own music instead: make demo SONGS=folder"
        )
    return is_online


def take_songs(package: str, database: Database) -> None:
    """Take the music out of a Debian package, named by its tags or by package and file.

    The shelf knows what an interrupted run brought, and numbers pieces of one name.
    """
    shelf = Shelf(database)
    with tempfile.TemporaryDirectory(prefix="songrec-") as scratch:
        unpack_package(package, Path(scratch))
        files = sorted(path for path in Path(scratch).rglob("*") if is_music(path))
        stems = {path.stem for path in files}
        # "theme_raw" is "theme" before it was mastered.
        pieces = [
            path for path in files if path.stem.removesuffix("_raw") not in stems - {path.stem}
        ]
        for path in pieces:
            artist, title = read_tags(path)
            shelf.put(path, join_name(artist or package, title or path.stem), "copy")
    print(f"{package}: {len(pieces)} songs", file=sys.stderr)


def is_music(path: Path) -> bool:
    """Return whether a file of a package is a piece of music by its ending and size."""
    if path.suffix.lower() not in AUDIO_ENDINGS or path.is_symlink() or not path.is_file():
        return False
    return path.stat().st_size >= MIN_MUSIC_BYTES


def is_reachable(url: str) -> bool:
    """Return whether a web server answers at all, within a few seconds."""
    import requests

    try:
        return requests.head(url, timeout=5).status_code < 500
    except requests.RequestException:
        return False


def command(args: argparse.Namespace, script: str, *arguments: object) -> str:
    """Return the command of a script as it can be typed here, with the data and model in use."""
    return cli.commands([Advice(script, tuple(map(str, arguments)))], args)


def run(args: argparse.Namespace, script: str, *arguments: object) -> None:
    """Show the command of a script and run it.

    Raises
    ------
    LibraryError
        If it fails; its own message stands above.
    """
    line = command(args, script, *arguments)
    print(printable(f"$ {line}"), file=sys.stderr)
    done = subprocess.run(shlex.split(line), check=False)
    if done.returncode != 0:
        raise LibraryError(f"{script} ended with status {done.returncode}")


def short(path: Path) -> Path:
    """Return a path relative to the current folder where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(demo, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
