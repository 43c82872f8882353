"""Turn labelled windows of music into what `distil.py` reads, and add varied pieces.

reads   CSVs with the columns path,start_s,label,genre (label: artist and album, else the
        package), and the teacher from export_teacher.py
writes  pieces.npz: pictures, the teacher's 200-d vector of the 128 columns that begin at every
        16th column, and the labels of the windows that each piece is made of

A varied piece is 12 s of a window played 0.8 to 1.25 times as fast, in half of the cases with
another window mixed in, often with its spectrum bent; it has no label, only the teacher's
vectors.

    python training/prepare.py clips.csv open/windows.csv teacher.npz pieces.npz -j 2
    python training/prepare.py clips.csv teacher.npz pieces.npz --varied 0
"""

import argparse
import functools
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
import torch
import tqdm
from scipy.fft import irfft, rfft, rfftfreq

from songrec import cli
from songrec.advice import again
from songrec.errors import SongError, UnusableAudioError
from songrec.files import atomic_path
from songrec.sound.audio import load_audio
from songrec.sound.mel import mel_picture
from songrec.sound.recipe import RECIPE
from training.teacher import RATE_HZ as TEACHER_RATE_HZ
from training.teacher import Teacher
from training.windows import WINDOW_S, Window, read_windows

RATE_HZ, HOP = RECIPE.sample_rate_hz, RECIPE.hop_length
COLUMNS = RECIPE.slice_frames
STEP = 16
VARIED_S = 12.2
BENDS_HZ = np.array([20, 100, 300, 1000, 3000, 8000, 11025])


@dataclass(frozen=True)
class Piece:
    """One training piece."""

    label: str
    genre: str
    sources: list[str]
    picture: np.ndarray
    dense: np.ndarray


@functools.lru_cache(maxsize=64)
def whole(path: Path) -> np.ndarray:
    """Return a file as mono at the recipe's rate [shape=(n,), dtype=float32]."""
    return load_audio(path)[0]


def part(path: Path, start_s: float, length_s: float) -> np.ndarray:
    """Return a part of a file [shape=(n,), dtype=float32]."""
    return whole(path)[int(start_s * RATE_HZ) : int((start_s + length_s) * RATE_HZ)]


def piece_of(y: np.ndarray, label: str, genre: str, sources: list[str], teacher: Teacher) -> Piece:
    """Make the picture of a waveform and ask the teacher about it."""
    pixels = mel_picture(y)
    heard = soxr.resample(y, RATE_HZ, TEACHER_RATE_HZ, quality="HQ")
    places = np.arange((pixels.shape[1] - COLUMNS) // STEP + 1) * (STEP * HOP / RATE_HZ)
    dense = teacher.windows(heard, places, COLUMNS * HOP / RATE_HZ)
    return Piece(label, genre, sources, pixels, dense.numpy().astype(np.float16))


def faster(window: Window, rng: np.random.Generator) -> np.ndarray | None:
    """Give 12 s of a window at another speed and at one loudness; None where it is too short."""
    speed = float(np.exp(rng.uniform(np.log(0.8), np.log(1.25))))
    length = VARIED_S * speed
    begin = window.start_s + rng.uniform(0, max(0.0, WINDOW_S - 0.5 - length))
    y = part(window.path, begin, length + 0.2)
    y = soxr.resample(y, RATE_HZ * speed, RATE_HZ, quality="MQ")[: int(VARIED_S * RATE_HZ)]
    loudness = float(np.sqrt(np.mean(y**2))) if len(y) else 0.0
    if loudness < 1e-4 or len(y) < VARIED_S * RATE_HZ - 2000:
        return None
    return np.asarray(y, np.float32) * np.float32(0.1 / loudness)


def bent(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Raise and lower parts of the spectrum by some decibels."""
    gain_db = np.clip(rng.normal(0, 4, len(BENDS_HZ)), -9, 9)
    octave = np.log2(np.maximum(rfftfreq(len(y), 1 / RATE_HZ), 20))
    curve = 10 ** (np.interp(octave, np.log2(BENDS_HZ), gain_db) / 20)
    return np.asarray(irfft(rfft(y) * curve, len(y)), np.float32)


def varied(windows: list[Window], rng: np.random.Generator) -> tuple[np.ndarray, list[str]] | None:
    """Give one varied piece of music and its sources' labels, or None where one was no use."""
    first = windows[int(rng.integers(len(windows)))]
    sources = [first.label]
    y = faster(first, rng)
    if y is None:
        return None
    if rng.random() < 0.5:
        second = windows[int(rng.integers(len(windows)))]
        other = faster(second, rng)
        if other is not None:
            sources.append(second.label)
            size = min(len(y), len(other))
            y = y[:size] + other[:size] * np.float32(10 ** (-rng.uniform(0, 10) / 20))
    if rng.random() < 0.6:
        y = bent(y, rng)
    y *= np.float32(0.95 / np.abs(y).max() * 10 ** (-rng.uniform(0, 6) / 20))
    return y, sources


@functools.cache
def loaded(teacher: Path) -> Teacher:
    """Load the teacher once a process, to compute on one thread."""
    torch.set_num_threads(1)
    return Teacher(teacher)


def of_window(teacher: Path, window: Window) -> Piece | str:
    """Give a window's piece, or why there is none."""
    try:
        y = part(window.path, window.start_s, WINDOW_S)
    except SongError as error:
        return f"left out {window.path}: {error}"
    return piece_of(y, window.label, window.genre, [window.label], loaded(teacher))


def of_several(teacher: Path, windows: list[Window], seed: int, number: int) -> Piece:
    """Give the varied piece of this seed and number."""
    rng = np.random.default_rng((seed, number))
    while (made := varied(windows, rng)) is None:
        continue
    y, sources = made
    return piece_of(y, "", "", sources, loaded(teacher))


def save(pieces: list[Piece], path: Path) -> None:
    """Write the pieces end to end, with their lengths."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            label=np.array([p.label for p in pieces]),
            genre=np.array([p.genre for p in pieces]),
            sources=np.array(["\n".join(p.sources) for p in pieces]),
            pictures=np.concatenate([p.picture for p in pieces], 1),
            columns=np.array([p.picture.shape[1] for p in pieces]),
            dense=np.concatenate([p.dense for p in pieces]),
            places=np.array([len(p.dense) for p in pieces]),
        )


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("windows", type=Path, nargs="+")
    parser.add_argument("teacher", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--varied", type=cli.not_negative_int, default=2711, metavar="N", help="varied pieces"
    )
    parser.add_argument("--seed", type=cli.not_negative_int, default=0, metavar="N")
    parser.add_argument(
        "-j", "--jobs", type=cli.positive_int, default=1, metavar="N", help="processes"
    )
    return parser


def prepare(args: argparse.Namespace) -> int:
    """Read the CSVs, make the pieces and the varied ones, save; return the exit status."""
    listed = [window for path in args.windows for window in read_windows(path)]
    pieces, windows = [], []
    with ProcessPoolExecutor(args.jobs) as processes:
        made = processes.map(functools.partial(of_window, args.teacher), listed)
        for window, piece in zip(listed, tqdm.tqdm(made, "windows", len(listed)), strict=True):
            if isinstance(piece, str):
                tqdm.tqdm.write(piece, file=sys.stderr)
                continue
            pieces.append(piece)
            if piece.picture.shape[1] * HOP / RATE_HZ >= VARIED_S:
                windows.append(window)
        if args.varied and not windows:
            raise UnusableAudioError(
                f"no window is {VARIED_S} s long, which varied pieces need", again("--varied", "0")
            )
        mix = functools.partial(of_several, args.teacher, windows, args.seed)
        mixed = processes.map(mix, range(args.varied), chunksize=20)
        pieces += tqdm.tqdm(mixed, "varied", args.varied)
    save(pieces, args.out)
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(prepare, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
