"""Fetch open music from Debian's archive and cut windows of 30 s from it.

reads   training/windows.csv: package, end of the file's path inside it, start, label
writes  OUT/<package>/*.flac and OUT/windows.csv, as prepare.py reads it

Packages are downloaded, unpacked without being installed, and removed again, one a thread.

    python training/open_music.py training/windows.csv open/
    python training/open_music.py training/windows.csv open/ -j 2
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import zipfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tqdm

from songrec import cli
from songrec.errors import DownloadError, UndecodableError
from songrec.files import atomic_path
from songrec.sound.recipe import RECIPE
from songrec.web.debian import unpack_package
from training.windows import WINDOW_S, Window, read_windows

ARCHIVES = {".zip", ".pk3"}


def by_package(windows: list[Window]) -> list[list[Window]]:
    """Group windows by the package they are from."""
    packages = defaultdict(list)
    for window in windows:
        packages[window.package].append(window)
    return list(packages.values())


def unpack(package: str, folder: Path, names: set[str]) -> None:
    """Download a package and unpack it, and these files from archives inside it."""
    unpack_package(package, folder)
    for path in [p for p in folder.rglob("*") if p.suffix.lower() in ARCHIVES]:
        with zipfile.ZipFile(path) as inside:
            for name in names & set(inside.namelist()):
                # extract strips what would lead out of the folder.
                inside.extract(name, folder / path.stem)


def cut(source: Path, start_s: float, to: Path) -> None:
    """Write a window as prepare.py will hear it: one channel, at the recipe's rate.

    Raises
    ------
    UndecodableError
        If ffmpeg cannot cut it.
    """
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-ss", str(start_s), "-t", str(WINDOW_S)]
    command += ["-i", f"file:{source}", "-vn", "-ac", "1", "-ar", str(RECIPE.sample_rate_hz)]
    done = subprocess.run([*command, to], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise UndecodableError(f"could not cut {source.name}: {done.stderr.strip()[-200:]}")


def cut_package(windows: list[Window], out: Path) -> tuple[list[dict[str, object]], list[str]]:
    """Cut all windows of one package.

    Returns
    -------
    rows
        For prepare.py.
    failures
        Why windows are missing.
    """
    package = windows[0].package
    rows: list[dict[str, object]] = []
    failures = []
    with tempfile.TemporaryDirectory(prefix="songrec-") as scratch:
        root = Path(scratch)
        try:
            unpack(package, root, {window.path.as_posix() for window in windows})
        except DownloadError as error:
            return [], [str(error)]
        there = sorted(path for path in root.rglob("*") if path.is_file())
        for number, window in enumerate(windows):
            end = f"/{window.path.as_posix()}"
            found = [path for path in there if path.as_posix().endswith(end)]
            to = out / package / f"{number:04d}.flac"
            to.parent.mkdir(parents=True, exist_ok=True)
            try:
                if not found:
                    raise DownloadError(f"{package} has no file {window.path}")
                cut(found[0], window.start_s, to)
            except (DownloadError, UndecodableError) as error:
                failures.append(str(error))
            else:
                rows.append({"path": to, "start_s": 0.0, "label": window.label, "genre": ""})
    return rows, failures


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("windows", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "-j", "--jobs", type=cli.positive_int, default=1, metavar="N", help="threads"
    )
    return parser


def fetch(args: argparse.Namespace) -> int:
    """Go through the packages; return the exit status, 1 where windows are missing."""
    packages = by_package(read_windows(args.windows))
    args.out.mkdir(parents=True, exist_ok=True)
    n_failures = 0
    with (
        atomic_path(args.out / "windows.csv") as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
        ThreadPoolExecutor(args.jobs) as threads,
    ):
        writer = csv.DictWriter(file, ["path", "start_s", "label", "genre"])
        writer.writeheader()
        cuts = threads.map(lambda windows: cut_package(windows, args.out), packages)
        for rows, failures in tqdm.tqdm(cuts, total=len(packages), desc="packages"):
            writer.writerows(rows)
            for failure in failures:
                tqdm.tqdm.write(failure, file=sys.stderr)
            n_failures += len(failures)
    return cli.EXIT_FAILED if n_failures else cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(fetch, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
