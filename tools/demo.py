"""Get some openly licensed music, or take yours, and recommend among it.

reads   --songs DIR, else FMA (https://github.com/mdeff/fma), else Debian's game music
writes  data/demo/song_db/, and an answer to stdout

Every step is a script of this project, shown as it would be typed.

    python tools/demo.py
    python tools/demo.py --songs ~/Music
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from songrec import cli
from songrec.errors import DownloadError, LibraryError
from songrec.intake.shelf import Shelf
from songrec.intake.tags import read_tags
from songrec.names import join_name
from songrec.store.database import AUDIO_ENDINGS, Database
from songrec.web.debian import can_download, unpack_package

ROOT = Path(__file__).resolve().parent.parent

FMA_URL = "https://os.unil.cloud.switch.ch/fma/"
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


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("--songs", type=Path, metavar="DIR", help="your own music")
    parser.add_argument("--data", type=Path, metavar="DIR", help="default: data/demo")
    parser.add_argument("--model", type=Path, metavar="FILE", help="default: model.pt")
    parser.add_argument("-v", "--verbose", action="store_true", help="tracebacks of errors")
    return parser


def demo(args: argparse.Namespace) -> int:
    """Fill a small library and ask it; return the exit status."""
    # Your songs and the open ones do not mix.
    data = (args.data or ROOT / "data" / ("demo-own" if args.songs else "demo")).resolve()
    database = Database.library(data)
    if args.songs:
        run("add_song.py", "--data", data, "--file", args.songs.expanduser().resolve(), "--link")
    elif not (database.root / COMPLETE_MARK).exists() and get_open_music(data, database):
        (database.root / COMPLETE_MARK).touch()
    run("spotify_specs.py", "-m", "Test", "--data", data)
    run("spotify_slices.py", "-m", "Test", "--data", data)
    songs = [song for song in database.songs() if database.slices_path(song.key).exists()]
    name = songs[len(songs) // 2].name
    question = [
        "recommender.py",
        "-m",
        "Recommend",
        name,
        str(N_ANSWERS),
        "--data",
        data,
    ]
    if args.model:
        question += ["--model", args.model.resolve()]
    run(*question)
    answer = json.loads(run(*question, "--json", "--quiet", is_shown=False))
    print(
        f"\nThese {len(answer['recommendations'])} of {len(songs)} songs sound most like {name!r}."
        "\nNow with your own music:\n"
        "    .venv/bin/python add_song.py --file ~/Music --link\n"
        '    .venv/bin/python recommender.py -m Recommend "artist - song"'
    )
    return cli.EXIT_OK


def get_open_music(data: Path, database: Database) -> bool:
    """Put a few dozen songs into `song_db/songs`: FMA's where it can be reached, else Debian's.

    Returns
    -------
    bool
        Whether everything there was asked for; without apt-get an earlier run's songs must do.

    Raises
    ------
    LibraryError
        If there is no music, neither from there nor from an earlier run.
    """
    if is_reachable(FMA_URL):
        run("fma_dl.py", "--data", data, "--limit", FMA_SONGS_PER_GENRE)
        run("add_song.py", "--data", data, "--file", data / "train_db" / "songs")
        return True
    print("FMA cannot be reached; trying Debian's game music", file=sys.stderr)
    is_online = can_download()
    for package in PACKAGES if is_online else ():
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
        for path in files:
            artist, title = read_tags(path)
            shelf.put(path, join_name(artist or package, title or path.stem), "copy")
    print(f"{package}: {len(files)} songs", file=sys.stderr)


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


def run(*command: object, is_shown: bool = True) -> str:
    """Run a script of this project, shown as typed; return its stdout.

    Raises
    ------
    LibraryError
        If it fails; its own words stand above.
    """
    words = [str(word) for word in command]
    if is_shown:
        print(f"\n$ python {shlex.join(words)}", file=sys.stderr)
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True
    )
    if is_shown:
        print(done.stdout, end="", flush=True)
    if done.returncode != 0:
        raise LibraryError(f"{words[0]} ended with status {done.returncode}")
    return done.stdout


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(demo, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
