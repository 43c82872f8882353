"""Time songs to spectrograms against the usual way, and one core against two.

The usual way: librosa.load, librosa's mel spectrogram, matplotlib's specshow and savefig.

    python benchmarks/spec_speed.py
    python benchmarks/spec_speed.py --songs ~/Music --n 40
"""

import argparse
import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from songrec import cli
from songrec.errors import LibraryError
from songrec.store.database import AUDIO_ENDINGS, Database, Song

SONG_S = 30.0
SAMPLE_RATE_HZ = 44_100


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    add_song_flags(parser)
    return parser


def add_song_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that choose the songs to time."""
    parser.add_argument(
        "--songs", type=Path, metavar="DIR", help="audio files (default: mp3s of noise and tones)"
    )
    parser.add_argument(
        "--n", type=cli.positive_int, default=40, metavar="N", help="songs to time (default: 40)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tracebacks of errors")


def songs_to_time(source: Path | None, n: int, folder: Path) -> list[Path]:
    """Return the first `n` audio files of `source`; without one, makes them in `folder`.

    Raises
    ------
    LibraryError
        If there are fewer than two: the first only warms up.
    """
    if source is None:
        paths = make_songs(folder, n)
    else:
        found = (path for path in sorted(source.rglob("*")) if path.suffix.lower() in AUDIO_ENDINGS)
        paths = list(itertools.islice(found, n))
    if len(paths) < 2:
        raise LibraryError(f"{len(paths)} songs are too few to time; give --songs or --n 2 or more")
    return paths


def make_songs(folder: Path, n: int) -> list[Path]:
    """Write `n` stereo mp3s of 30 s; what they sound like does not change the time."""
    import soundfile

    rng = np.random.default_rng(0)
    time_s = np.arange(int(SONG_S * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    paths = []
    for number in range(n):
        tones = sum(np.sin(2 * np.pi * hz * time_s) for hz in rng.uniform(60, 6000, size=6))
        stereo = 0.05 * tones[:, None] + 0.05 * rng.standard_normal((len(time_s), 2))
        paths.append(folder / f"{number:03d}.mp3")
        soundfile.write(paths[-1], stereo, SAMPLE_RATE_HZ)
    return paths


def the_usual_way(path: Path, folder: Path) -> None:
    """Draw a song's mel spectrogram as tutorials do."""
    import librosa
    import librosa.display
    from matplotlib import pyplot as plt

    samples, _ = librosa.load(path, sr=22_050)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=22_050, n_fft=2048, hop_length=512, n_mels=128, fmax=8000
    )
    figure = plt.figure()
    librosa.display.specshow(librosa.power_to_db(mel, ref=np.max), sr=22_050, fmax=8000)
    plt.axis("off")
    figure.savefig(folder / f"{path.stem}.png", bbox_inches="tight", pad_inches=0)
    plt.close(figure)


def cpu_s_per_song(work: Callable[[Path], object], paths: list[Path]) -> float:
    """Return the CPU seconds of this process a song; the first song only warms up."""
    work(paths[0])
    start = resource.getrusage(resource.RUSAGE_SELF)
    for path in paths[1:]:
        work(path)
    end = resource.getrusage(resource.RUSAGE_SELF)
    return (end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime) / (len(paths) - 1)


def wall_s(data: Path, jobs: int) -> float:
    """Return the wall seconds of the real script on all songs of a database, from scratch."""
    script = str(cli.ROOT / "spotify_specs.py")
    flags = ["-m", "Test", "--data", str(data), "-q", "--force", "-j", str(jobs)]
    start_s = time.monotonic()
    subprocess.run([sys.executable, script, *flags], check=True)
    return time.monotonic() - start_s


def measure(args: argparse.Namespace) -> int:
    """Print both tables; return the exit status."""
    import matplotlib as mpl
    import threadpoolctl

    from songrec.runs.prepare import write_spec

    mpl.use("Agg")
    with tempfile.TemporaryDirectory(prefix="songrec-") as scratch:
        folder = Path(scratch)
        paths = songs_to_time(args.songs, args.n, folder)
        database = Database.library(folder / "data")
        songs = {p: Song(p.name, p.stem, f"{i:05d}", p) for i, p in enumerate(paths)}

        with threadpoolctl.threadpool_limits(1):
            usual = cpu_s_per_song(lambda path: the_usual_way(path, folder), paths)
            ours = cpu_s_per_song(lambda path: write_spec(database, songs[path]), paths)
        print("| song to spectrogram PNG, one core | CPU ms a song | ratio |")
        print("|---|---|---|")
        print(f"| librosa.load, librosa mel, matplotlib | {usual * 1000:.0f} | 1.00 |")
        print(f"| spotify_specs.py | {ours * 1000:.0f} | {ours / usual:.2f} |")

        # Enough songs that the start of the processes weighs little.
        database.songs_dir.mkdir(parents=True)
        for copy, path in itertools.product(range(max(1, 240 // len(paths))), paths):
            (database.songs_dir / f"{copy} {path.name}").symlink_to(path.resolve())
        one, two = wall_s(database.root.parent, 1), wall_s(database.root.parent, 2)
        print(f"\n| spotify_specs.py on {len(database.songs())} songs | wall s | speed-up |")
        print("|---|---|---|")
        print(f"| --jobs 1 | {one:.1f} | 1.00 |")
        print(f"| --jobs 2 | {two:.1f} | {one / two:.2f} |")
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    return cli.run(measure, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
