"""Show what a change of the code changed in what the scripts write and answer.

reads   a checkout of the version before, a folder of songs with a tracks.csv
writes  a report to stdout; both versions' databases under --work, so that a second run is quick

Runs the same scripts of both versions on the same songs and compares every picture, every array
and the JSON answers byte by byte. A picture that differs is opened: the report tells pixels from
the note of what it was made from.

    python tools/compare_versions.py ../before ~/clips --work /tmp/versions
    python tools/compare_versions.py ../before ~/clips --work /tmp/versions --questions 5
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from songrec import cli
from songrec.errors import LibraryError
from songrec.store.database import Database
from songrec.store.tracks import read_tracks

_N_ANSWERS = "10"
_CHANGED = {"other bytes", "other pixels", "only in one version"}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("before", type=Path, help="checkout of the version to compare with")
    parser.add_argument("songs", type=Path, help="folder of audio files, with tracks.csv in it")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="for the databases")
    parser.add_argument(
        "--questions", type=cli.positive_int, default=50, metavar="N", help="default: 50"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")
    return parser


def run_script(checkout: Path, script: str, *arguments: str | Path) -> str:
    """Run a root script of a checkout; return what it prints.

    Raises
    ------
    LibraryError
        If it fails.
    """
    done = subprocess.run(
        [sys.executable, checkout / script, *arguments],
        cwd=checkout,
        # The checkout's own package comes before the installed one.
        env={**os.environ, "PYTHONPATH": str(checkout)},
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise LibraryError(f"{checkout / script} failed: {done.stderr.strip()[-300:]}")
    return done.stdout


def make_database(checkout: Path, songs: Path, data: Path) -> None:
    """Run specs, slices and arrays of one version on links to the songs."""
    for database, mode in ((Database.library(data), "Test"), (Database.training(data), "Train")):
        database.root.mkdir(parents=True, exist_ok=True)
        if not database.songs_dir.exists():
            database.songs_dir.symlink_to(songs.resolve())
            database.tracks_csv.write_bytes((songs / "tracks.csv").read_bytes())
        for script in ("spotify_specs.py", "spotify_slices.py"):
            run_script(checkout, script, "-m", mode, "--data", data)
    run_script(checkout, "load_training_data.py", "--split", "official", "--data", data)


def answers(checkout: Path, data: Path, names: list[str]) -> list[str]:
    """Ask one version; return its answers as JSON, without the data folder in paths."""
    found = []
    for name in names:
        words: list[str | Path] = ["-m", "Recommend", name, _N_ANSWERS, "--json", "--data", data]
        found.append(run_script(checkout, "recommender.py", *words).replace(str(data), "DATA"))
    return found


def compare_files(before: Path, after: Path) -> Counter[str]:
    """Count the files of two data folders that are the same, and how the others differ."""
    kinds: Counter[str] = Counter()
    for folder in ("song_db/specs", "song_db/slices", "train_db/arrays"):
        names = {
            path.relative_to(root).as_posix()
            for root in (before, after)
            for path in (root / folder).rglob("*")
            if path.is_file()
        }
        for name in sorted(names):
            kinds[f"{folder}: {difference(before / name, after / name)}"] += 1
    return kinds


def difference(one: Path, other: Path) -> str:
    """Say how two files differ."""
    if not (one.exists() and other.exists()):
        return "only in one version"
    if one.read_bytes() == other.read_bytes():
        return "same bytes"
    if one.suffix != ".png":
        same = timeless(one) == timeless(other)
        return "same but for modification times" if same else "other bytes"
    with Image.open(one) as first, Image.open(other) as second:
        if not np.array_equal(np.asarray(first), np.asarray(second)):
            return "other pixels"
        notes = [json.loads(image.info["songrec"]) for image in (first, second)]
    keys = sorted(key for key in notes[0] | notes[1] if notes[0].get(key) != notes[1].get(key))
    return f"same pixels, another note ({', '.join(keys)})"


def timeless(path: Path) -> object:
    """Return what a file of arrays/ says, without what depends on modification times."""
    match path.name:
        case "songs.csv":
            return pd.read_csv(path).drop(columns="fingerprint").to_csv()
        case "labels.json":
            return {**json.loads(path.read_text(encoding="utf-8")), "digest": ""}
    return path.read_bytes()


def compare(args: argparse.Namespace) -> int:
    """Print the report; return the exit status: 1 if an answer or a pixel differs."""
    folders = {"before": args.before.resolve(), "after": cli.ROOT}
    names = read_tracks(args.songs / "tracks.csv").index.to_list()
    step = max(1, len(names) // args.questions)
    replies = {}
    for version, checkout in folders.items():
        data = args.work.resolve() / version
        make_database(checkout, args.songs, data)
        replies[version] = answers(checkout, data, names[::step][: args.questions])
    kinds = compare_files(args.work / "before", args.work / "after")
    same = sum(a == b for a, b in zip(replies["before"], replies["after"], strict=True))
    for kind, n_files in sorted(kinds.items()):
        print(f"{n_files:>7} {kind}")
    print(f"{same:>7} of {len(replies['after'])} answers: same bytes")
    changed = [kind for kind in kinds if kind.split(": ")[1] in _CHANGED]
    return cli.exit_status(all_failed=bool(changed) or same < len(replies["after"]))


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(compare, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
