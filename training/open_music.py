"""Fetch open music from Debian's archive and cut windows of 30 s from it.

reads   packages.csv (column package; the others tell version, tracks, windows and licences as
        they were when the shipped model was trained)
writes  OUT/<package>/*.ogg and OUT/windows.csv, as prepare.py reads it

Packages are downloaded one by one, unpacked without being installed, and removed again. Not used:
ambience and effects, pieces under 25 s, doubles (same title and length).

    python training/open_music.py training/packages.csv open/
"""

import argparse
import csv
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import mutagen

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from songrec.debian import unpack_package  # noqa: E402

AUDIO = {".ogg", ".oga", ".mp3", ".opus", ".flac", ".m4a", ".wav", ".xm", ".it", ".s3m", ".mod"}
ARCHIVES = {".zip", ".pk3"}
NOT_MUSIC = re.compile(
    r"romans/|tilesets/|ambien|/sounds?/(rain|village|mesto)|sound/sound/|audio/sounds/"
)
WINDOW_S = 30
SHORTEST_S = 25
MOST_WINDOWS = 4
SECONDS_A_WINDOW = 35


def plain(text: str) -> str:
    """Keep letters and digits, lower case."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def unpack(package: str, folder: Path) -> None:
    """Download a package and unpack it, and the music of archives inside it."""
    unpack_package(package, folder)
    for path in [p for p in folder.rglob("*") if p.suffix.lower() in ARCHIVES]:
        with zipfile.ZipFile(path) as inside:
            for name in inside.namelist():
                # extract strips what would lead out of the folder.
                if Path(name).suffix.lower() in AUDIO:
                    inside.extract(name, folder / path.stem)


def tags_of(path: Path) -> dict[str, str]:
    """Give artist, album and title of a file, empty where unknown."""
    try:
        found = mutagen.File(path, easy=True)
    except mutagen.MutagenError:
        found = None
    tags = (found.tags or {}) if found is not None else {}
    return {k: tags.get(k, [""])[0] for k in ("artist", "album", "title")}


def seconds_of(path: Path) -> float:
    """Give the length of a file as ffprobe tells it; 0 where it cannot."""
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"]
    answer = subprocess.run([*command, path], capture_output=True, text=True, check=False).stdout
    try:
        return float(answer)
    except ValueError:
        return 0.0


def starts(length_s: float) -> list[float]:
    """Give where the windows of a track begin: evenly spread, at most four."""
    count = int(min(MOST_WINDOWS, max(1, length_s // SECONDS_A_WINDOW)))
    room = max(0.0, length_s - WINDOW_S)
    return [room * (i + 0.5) / count for i in range(count)]


def windows(package: str, out: Path) -> Iterator[dict[str, object]]:
    """Cut the windows of one package's tracks."""
    seen = set()
    with tempfile.TemporaryDirectory() as scratch:
        unpack(package, Path(scratch))
        root = Path(scratch)
        for path in sorted(p for p in root.rglob("*") if p.suffix.lower() in AUDIO and p.is_file()):
            name = str(path.relative_to(root))
            length = seconds_of(path)
            tags = tags_of(path)
            key = (plain(tags["title"]) or plain(path.stem), round(length))
            if length < SHORTEST_S or NOT_MUSIC.search(f"/{name}") or key in seen:
                continue
            seen.add(key)
            for i, start in enumerate(starts(length)):
                to = out / package / f"{len(seen):03d}-{i}.ogg"
                to.parent.mkdir(parents=True, exist_ok=True)
                cut = ["ffmpeg", "-v", "error", "-y", "-ss", str(start), "-t", str(WINDOW_S)]
                cut += ["-i", str(path), "-vn", "-q:a", "6", str(to)]
                if subprocess.run(cut, check=False).returncode == 0:
                    label = f"{tags['artist']}|{tags['album']}" if tags["artist"] else package
                    place = {"package": package, "file": name, "file_start_s": round(start, 2)}
                    yield {"path": to, "start_s": 0.0, "label": label, "genre": "", **place, **tags}


def main() -> None:
    """Go through the packages, one at a time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packages", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with (
        args.packages.open(newline="") as listed,
        (args.out / "windows.csv").open("w", newline="") as f,
    ):
        fields = ["path", "start_s", "label", "genre", "package", "file", "file_start_s"]
        fields += ["artist", "album", "title"]
        writer = csv.DictWriter(f, fields)
        writer.writeheader()
        for row in csv.DictReader(listed):
            writer.writerows(windows(row["package"], args.out))


if __name__ == "__main__":
    main()
