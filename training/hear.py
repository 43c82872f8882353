"""Make training pieces by the hour: strongly changed sound, and what the teachers hear in it.

reads   CSVs of windows with the columns path,start_s,label,genre (and, where it is known, voice:
        "alone" for singing without instruments), musicnn from export_teacher.py, and a folder with
        msd_fcn.npz and jamendo_fcn.npz
writes  shards into a folder: OUT/00000.npz ..., each with some pieces of 29 s as they are or
        changed: one to three windows, each at its own speed and with its own effects, mixed at
        random gains, then compressed, band-limited, coded and the like as a whole

The teachers run on the changed sound, so every piece has true targets however far it is from the
data. A shard is written at once and numbered by its seed: several runs with different --first can
fill one folder, what is there is kept, and training may begin before the last one is made.

    python training/hear.py shards/ teacher.npz teachers/ clips.csv open/windows.csv --shards 300
    python training/hear.py held/ teacher.npz teachers/ held.csv --plain
"""

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
import tqdm

from songrec import cli
from songrec.errors import SongError
from songrec.files import atomic_path
from songrec.sound.audio import load_audio
from songrec.sound.mel import mel_picture
from songrec.sound.recipe import RECIPE
from training import fcn, sound
from training.teacher import RATE_HZ as TEACHER_RATE_HZ
from training.teacher import Teacher

RATE_HZ, HOP = RECIPE.sample_rate_hz, RECIPE.hop_length
COLUMNS = RECIPE.slice_frames
WINDOW_S = 30.0
SHORTEST_S = 5.0
PIECE_S = 29.1
SIZE = int(PIECE_S * RATE_HZ)
STEP = 32  # columns between places that musicnn is asked about
PIECES = 32  # of a shard
LAYERS, LAYER_SHARES = (1, 2, 3), (0.45, 0.38, 0.17)
VOICE_SHARE = 0.12  # pieces with a voice of its own laid over them
PLAIN_SHARE = 0.06  # pieces left as they are
FASTEST = 1.35
FULL_SCALE = 32767.0


@dataclass(frozen=True)
class Window:
    """A window of music in memory.

    Parameters
    ----------
    label
        Artist and album, or the package.
    weight
        How often it is drawn, relative to others.
    is_voice
        Whether somebody sings alone.
    wave : np.ndarray [shape=(n,), dtype=int16]
    """

    label: str
    weight: float
    is_voice: bool
    wave: np.ndarray

    @property
    def samples(self) -> np.ndarray:
        """The waveform as float32."""
        return self.wave.astype(np.float32) / np.float32(FULL_SCALE)


def read_list(path: Path) -> list[dict[str, str]]:
    """Read one CSV of windows."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def decoded(path: Path, rows: list[dict[str, str]]) -> list[np.ndarray]:
    """Decode the windows of a CSV [each shape=(n,), dtype=int16]; nothing where one cannot be."""
    waves = []
    last: tuple[str, np.ndarray] = ("", np.empty(0, np.float32))
    for row in tqdm.tqdm(rows, path.name, mininterval=10):
        try:
            if last[0] != row["path"]:
                last = row["path"], load_audio(Path(row["path"]))[0]
        except SongError as error:
            tqdm.tqdm.write(f"left out {row['path']}: {error}", file=sys.stderr)
            last = row["path"], np.empty(0, np.float32)
        start = int(float(row["start_s"]) * RATE_HZ)
        y = last[1][start : start + int(WINDOW_S * RATE_HZ)]
        is_use = len(y) > SHORTEST_S * RATE_HZ and np.abs(y).max() > sound.SILENCE
        scale = np.float32(FULL_SCALE / max(1.0, np.abs(y).max())) if is_use else 0.0
        waves.append(np.rint(y * scale).astype(np.int16) if is_use else np.empty(0, np.int16))
    return waves


def load_windows(path: Path) -> list[Window]:
    """Load the windows of a CSV; each list weighs the same, in it a label by its root.

    They are decoded once and kept beside the list. What cannot be decoded is reported and left out.
    """
    rows = read_list(path)
    kept = path.with_suffix(".waves.npz")
    if kept.exists() and kept.stat().st_mtime > path.stat().st_mtime:
        with np.load(kept) as stored:
            waves = np.split(stored["samples"], np.cumsum(stored["sizes"])[:-1])
    else:
        waves = decoded(path, rows)
        with atomic_path(kept) as temporary, temporary.open("wb") as file:
            sizes = np.array([len(wave) for wave in waves])
            np.savez(file, samples=np.concatenate(waves), sizes=sizes)
    labels = [row["label"] for row in rows]
    counts = Counter(labels)
    total = sum(count**0.5 for count in counts.values())
    return [
        Window(label, counts[label] ** -0.5 / total, row.get("voice") == "alone", wave)
        for row, label, wave in zip(rows, labels, waves, strict=True)
        if len(wave)
    ]


def layer(window: Window, rng: np.random.Generator) -> np.ndarray | None:
    """Give one changed layer [shape=(SIZE,)], or None where it is silent."""
    y = window.samples
    if rng.random() < 0.85:
        y = sound.sped(y, float(np.exp(rng.uniform(-np.log(FASTEST), np.log(FASTEST)))))
    y = sound.filled(y, SIZE, rng)
    leveled = sound.level(y)
    return None if leveled is None else sound.level(sound.recorded(leveled, rng))


class Stock:
    """All windows that pieces are made of.

    Parameters
    ----------
    lists
        CSVs of windows.
    """

    def __init__(self, lists: list[Path]) -> None:
        self.windows = [window for path in lists for window in load_windows(path)]
        self._voices = [window for window in self.windows if window.is_voice]
        weight = np.array([window.weight for window in self.windows])
        self._share = weight / weight.sum()

    def draw(self, rng: np.random.Generator) -> list[Window]:
        """Draw the windows of one piece."""
        n_layers = int(rng.choice(LAYERS, p=LAYER_SHARES))
        rows = rng.choice(len(self.windows), n_layers, p=self._share)
        chosen = [self.windows[row] for row in rows]
        if self._voices and rng.random() < VOICE_SHARE:
            chosen = [*chosen[:2], self._voices[int(rng.integers(len(self._voices)))]]
        return chosen


def mixture(chosen: list[Window], rng: np.random.Generator) -> np.ndarray | None:
    """Mix one changed piece of music [shape=(SIZE,)]; None where a layer was no use."""
    if len(chosen) == 1 and rng.random() < PLAIN_SHARE / LAYER_SHARES[0]:
        return sound.filled(chosen[0].samples, SIZE, rng)
    y = np.zeros(SIZE, np.float32)
    for number, window in enumerate(chosen):
        added = layer(window, rng)
        if added is None:
            return None
        gain_db = rng.uniform(-12, 0) if number and not window.is_voice else rng.uniform(-4, 3)
        y += added * np.float32(10 ** (gain_db / 20))
    y = sound.mastered(y, rng)
    peak = float(np.abs(y).max())
    if not np.isfinite(peak) or peak < sound.SILENCE:
        return None
    return y * np.float32(10 ** (-rng.uniform(0, 12) / 20) / peak)


class Ears:
    """The teachers."""

    def __init__(self, musicnn: Path, fcns: Path) -> None:
        self._musicnn = Teacher(musicnn)
        self._msd = fcn.Fcn(fcns / "msd_fcn.npz", torch.bfloat16)
        self._jamendo = fcn.Fcn(fcns / "jamendo_fcn.npz", torch.bfloat16)

    def piece(self, y: np.ndarray, *, ask_musicnn: bool = True) -> dict[str, np.ndarray]:
        """Give a piece's picture and what the teachers hear in it, by name.

        musicnn costs more than all the rest: where it is not asked its vectors are NaN.
        """
        pixels = mel_picture(y)
        heard = soxr.resample(y, RATE_HZ, TEACHER_RATE_HZ, quality="HQ")
        places = np.arange((pixels.shape[1] - COLUMNS) // STEP + 1) * (STEP * HOP / RATE_HZ)
        dense = torch.full((len(places), 200), torch.nan)
        if ask_musicnn:
            dense = self._musicnn.windows(heard, places, COLUMNS * HOP / RATE_HZ)
        msd, jamendo = self._msd.hear(heard), self._jamendo.hear(heard)
        vectors = {
            "dense": dense,
            "l3": msd.l3,
            "l4": msd.l4,
            "l5": msd.l5,
            "tags": msd.tags,
            "jamendo_l4": jamendo.l4.mean(0),
            "jamendo_l5": jamendo.l5,
            "jamendo_tags": jamendo.tags,
        }
        return {"picture": pixels} | {
            name: vector.numpy().astype(np.float16) for name, vector in vectors.items()
        }


class Shard:
    """Pieces of one shape, and the labels of the windows that each is made of."""

    def __init__(self) -> None:
        self.pieces: list[dict[str, np.ndarray]] = []
        self._sources: list[str] = []

    def add(self, piece: dict[str, np.ndarray], labels: list[str]) -> None:
        """Add what `Ears.piece` gave."""
        self.pieces.append(piece)
        self._sources.append("\n".join(labels))

    def save(self, path: Path) -> None:
        """Write the shard, whole or not at all."""
        arrays = {name: np.stack([p[name] for p in self.pieces]) for name in self.pieces[0]}
        arrays["sources"] = np.array(self._sources)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)


def make_shard(stock: Stock, ears: Ears, number: int, *, musicnn_share: float) -> Shard:
    """Make the pieces of the shard of this number, which is their seed."""
    rng = np.random.default_rng(number)
    shard = Shard()
    while len(shard.pieces) < PIECES:
        chosen = stock.draw(rng)
        y = mixture(chosen, rng)
        if y is not None:
            piece = ears.piece(y, ask_musicnn=rng.random() < musicnn_share)
            shard.add(piece, [window.label for window in chosen])
    return shard


def plain_shards(windows: list[Window], ears: Ears) -> Iterator[Shard]:
    """Give each window as it is, its beginning repeated where it is too short."""
    for start in range(0, len(windows), PIECES):
        shard = Shard()
        for window in windows[start : start + PIECES]:
            shard.add(ears.piece(np.resize(window.samples, SIZE)), [window.label])
        yield shard


def shard_path(out: Path, number: int) -> Path:
    """Return where the shard of this number is."""
    return out / f"{number:05d}.npz"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("out", type=Path)
    parser.add_argument("teacher", type=Path, help="musicnn, from export_teacher.py")
    parser.add_argument("fcns", type=Path, help="folder of msd_fcn.npz and jamendo_fcn.npz")
    parser.add_argument("windows", type=Path, nargs="+")
    parser.add_argument("--plain", action="store_true", help="each window once, unchanged")
    parser.add_argument(
        "--musicnn", type=float, default=1.0, metavar="SHARE", help="of pieces it is asked about"
    )
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of a shard")
    parser.add_argument("--shards", type=int, default=100, metavar="N")
    return parser


def hear(args: argparse.Namespace) -> int:
    """Decode all windows, make the shards; return the exit status."""
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    ears = Ears(args.teacher, args.fcns)
    stock = Stock(args.windows)
    if args.plain:
        for number, shard in enumerate(plain_shards(stock.windows, ears)):
            shard.save(shard_path(args.out, number))
        return 0
    numbers = range(args.first, args.first + args.shards)
    for number in tqdm.tqdm(numbers, "shards", mininterval=30):
        path = shard_path(args.out, number)
        if not path.exists():
            make_shard(stock, ears, number, musicnn_share=args.musicnn).save(path)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(hear, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
