"""Let a band of samplers play pieces nobody wrote: rock, soul, country, swing and a hundred more.

reads   the styles that come with MMA (Musical MIDI Accompaniment), a General MIDI soundfont
writes  OUT/0000.flac ..., 30 s each, and OUT/windows.csv, as hear.py reads it

Each piece has a style, a tempo, a key, a progression of chords and mostly a made-up melody on some
instrument. Nobody would listen to it, but it has drum kits, electric guitars, basses, brass and
pianos where most open music has synthesisers; hear.py changes it and lays voices over it.

Needs Debian's packages mma, fluidsynth and fluid-soundfont-gm.

    python training/bands.py bands/ 400
"""

import argparse
import csv
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr
import tqdm

from songrec import cli
from songrec.sound.recipe import RECIPE

STYLES = Path("/usr/share/mma/lib/stdlib")
SOUNDFONT = Path("/usr/share/sounds/sf2/FluidR3_GM.sf2")
WINDOW_S = 30.0
SYNTH_HZ = 44_100
# Counts and tests, no music.
NO_STYLES = ("metronome", "none")
# A style is drawn in proportion to how near it is to what commercial radio plays.
NEAR = re.compile("rock|pop|rb|blues|soul|funk|ballad|folk|country|ska|boneym|trance|8beat|twist")
NEARER = 4.0
MELODY_SHARE = 0.65
KEYS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
# Degrees in semitones and the kind of chord; four-bar progressions of much popular music.
PROGRESSIONS = (
    "0 7 9:m 5",
    "9:m 5 0 7",
    "0 9:m 5 7",
    "0 5 7 5",
    "0 0 5 7",
    "9:m 7 5 4",
    "9:m 2:m 4 9:m",
    "0 10 5 0",
    "2:m7 7:7 0:M7 9:m7",
    "0:7 5:7 0:7 7:7",
    "9:m 9:m 5 7",
    "0:m 8 3 10",
    "0:m 5:m 7 0:m",
    "0:m 10 8 7",
)
# General MIDI programs: keys, organs, guitars, fiddle, voices, brass, reeds, flutes, synthesisers.
MELODIES = (
    0,
    4,
    7,
    11,
    16,
    21,
    22,
    24,
    25,
    26,
    27,
    29,
    30,
    40,
    52,
    53,
    54,
    56,
    57,
    61,
    62,
    64,
    65,
    66,
    71,
    73,
    75,
    80,
    81,
    82,
    84,
    85,
    87,
    90,
)


def grooves(styles: Path) -> dict[str, list[str]]:
    """Return the grooves of each style file, by the file's name."""
    found = {}
    for path in sorted(styles.glob("*.mma")):
        text = path.read_text(encoding="latin-1")
        names = re.findall(r"(?im)^\s*DefGroove\s+(\S+)", text)
        names = [name for name in names if not re.search("(?i)intro|end|ending|fill", name)]
        if names and not path.stem.startswith(NO_STYLES):
            found[path.stem] = names
    return found


def chord(token: str, key: int) -> str:
    """Return a chord's name, of a degree in semitones with a kind, in a key."""
    degree, _, kind = token.partition(":")
    return KEYS[(int(degree) + key) % 12] + kind


def song(style: str, names: list[str], rng: np.random.Generator) -> str:
    """Write one piece in MMA's language, somewhat longer than a window."""
    key, tempo = int(rng.integers(12)), int(rng.integers(75, 190))
    lines = [f"Tempo {tempo}", "SeqSize 4", f"MidiText {style}"]
    if rng.random() < MELODY_SHARE:
        notes = int(rng.choice([4, 8, 8, 16]))
        lines += [
            "Begin Aria",
            f"  Voice {rng.choice(MELODIES)}",
            f"  Octave {rng.integers(5, 7)}",
            "  Range 2",
            f"  ScaleType {rng.choice(['Auto', 'Chord'])}",
            f"  Sequence {{1 {notes} 100 * {notes}}}",
            f"  Rskip {rng.integers(0, 50)}",
            "  Articulate 90",
            "End",
        ]
    lines.append(f"Groove {rng.choice(names)}")
    bars = int(WINDOW_S * tempo / 60 / 3) + 4
    written = 0
    while written < bars:
        progression = str(rng.choice(PROGRESSIONS)).split()
        for _ in range(2):
            for token in progression:
                written += 1
                lines.append(f"{written} {chord(token, key)}")
        if rng.random() < 0.5:
            lines.append(f"Groove {rng.choice(names)}")
    return "\n".join(lines) + "\n"


def play(text: str, folder: Path, soundfont: Path) -> np.ndarray | None:
    """Play a piece; None where MMA or the synthesiser will not."""
    score, midi, wave = folder / "song.mma", folder / "song.mid", folder / "song.wav"
    score.write_text(text, encoding="ascii")
    synthesiser = ["fluidsynth", "-ni", "-q", "-g", "0.5", "-r", str(SYNTH_HZ), "-F", str(wave)]
    band = ["mma", "-f", str(midi), str(score)]
    for command in (band, [*synthesiser, str(soundfont), str(midi)]):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            tqdm.tqdm.write(f"left out: {done.stdout.strip()[-200:]}", file=sys.stderr)
            return None
    y, _ = soundfile.read(wave, dtype="float32", always_2d=True, frames=int(WINDOW_S * SYNTH_HZ))
    y = soxr.resample(y.mean(1), SYNTH_HZ, RECIPE.sample_rate_hz)
    peak = float(np.abs(y).max()) if len(y) else 0.0
    return y * np.float32(0.9 / peak) if peak > 1e-3 else None


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("out", type=Path)
    parser.add_argument("pieces", type=int)
    parser.add_argument("--styles", type=Path, default=STYLES, metavar="DIR")
    parser.add_argument("--soundfont", type=Path, default=SOUNDFONT, metavar="FILE")
    return parser


def play_all(args: argparse.Namespace) -> int:
    """Write the pieces and their list; return the exit status."""
    args.out.mkdir(parents=True, exist_ok=True)
    styles = grooves(args.styles)
    share = np.array([NEARER if NEAR.search(style) else 1.0 for style in styles])
    rows = []
    for number in tqdm.tqdm(range(args.pieces), "pieces", mininterval=10):
        rng = np.random.default_rng(number)
        style = str(rng.choice(list(styles), p=share / share.sum()))
        with tempfile.TemporaryDirectory(prefix="songrec-") as folder:
            y = play(song(style, styles[style], rng), Path(folder), args.soundfont)
        if y is None:
            continue
        path = args.out / f"{number:04d}.flac"
        soundfile.write(path, y, RECIPE.sample_rate_hz)
        rows.append({"path": path, "start_s": 0.0, "label": f"band {style}", "genre": ""})
    with (args.out / "windows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["path", "start_s", "label", "genre"])
        writer.writeheader()
        writer.writerows(rows)
    return 0 if rows else 1


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(play_all, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
