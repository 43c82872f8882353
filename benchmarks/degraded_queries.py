"""Ask with degraded copies of songs, and count how often the song itself comes first.

The copies are an mp3 at 48 kb/s, 10 s from the middle, the song 12 dB softer, and the song without
anything above 4 kHz; with --originals, for a library of clips, also another 30 s of the whole song.
The whole song is a file of the same title that contains the clip; the other 30 s do not overlap the
clip, but where the music repeats they may sound the same. Also counts how many of the answers to
the song itself are among the answers to the copy.

    python benchmarks/degraded_queries.py
    python benchmarks/degraded_queries.py --split test --limit 200 --originals ~/fma_full
"""

import argparse
import math
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tqdm
from scipy import stats
from scipy.signal import fftconvolve

from songrec import cli
from songrec.errors import LibraryError, SongError, UndecodableError
from songrec.intake.tags import read_tags
from songrec.names import composed, fold, split_name
from songrec.recommend.library import Library
from songrec.recommend.ranking import RANKINGS, Ranking, best_rows
from songrec.recommend.recommender import Recommender
from songrec.runs.options import Options
from songrec.sound.audio import load_audio
from songrec.sound.mel import mel_picture
from songrec.sound.recipe import RECIPE
from songrec.store.database import AUDIO_ENDINGS, Database, Song
from songrec.store.descriptions import Descriptions

EXCERPT_S = 10.0
CLIP_S = 30.0
MP3, EXCERPT, SOFT = "mp3 of 48 kb/s", "10 s from the middle", "12 dB softer"
DULL, DULL_RATE_HZ = "nothing above 4 kHz", 8000
N_ANSWERS = 10
OTHER_CLIP = "another 30 s of the song"
# From this correlation of the spectrograms on, a clip counts as cut from a song.
FOUND_AGAIN = 0.8

Outcomes = dict[tuple[str, str], list[tuple[bool, float]]]
"""Whether the song itself came first, and the share of its answers that the copy keeps; query by
query, for each copy and ranking."""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    cli.add_data_flag(parser)
    parser.add_argument(
        "--split",
        choices=("train", "valid", "test"),
        help="ask only with songs of this split of tracks.csv; the answers are the whole library's",
    )
    cli.add_model_flag(parser, "the network (default: model.pt)")
    parser.add_argument(
        "--originals", type=Path, metavar="DIR", help="whole songs, by title in name or tags"
    )
    parser.add_argument(
        "--limit", type=cli.positive_int, metavar="N", help="ask with at most N songs"
    )
    parser.add_argument(
        "-j", "--jobs", type=cli.positive_int, default=2, metavar="N", help="threads (default: 2)"
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tracebacks of errors")
    return parser


def ffmpeg(source: Path, target: Path, *, before: list[str], after: list[str]) -> None:
    """Convert one file.

    Parameters
    ----------
    before, after
        Flags of the input and of the output.

    Raises
    ------
    UndecodableError
        If ffmpeg cannot.
    """
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *before, "-i", f"file:{source}"]
    command += ["-map", "0:a:0", *after, f"file:{target}"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise UndecodableError(f"ffmpeg could not make {target.name} of {source.name}: {lines[-1]}")


def length_s(path: Path) -> float:
    """Return how long a song is, by decoding it: what a file says of its length may be wrong."""
    return len(load_audio(path)[0]) / RECIPE.sample_rate_hz


def excerpt(source: Path, target: Path, start_s: float, seconds: float) -> Path:
    """Write a part of a song; return `target`."""
    ffmpeg(source, target, before=["-ss", f"{start_s:.3f}", "-t", f"{seconds:.3f}"], after=[])
    return target


def originals_by_title(folder: Path) -> dict[str, list[Path]]:
    """Map folded titles to the files that have them in their tags or, numbered or not, as name."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(path for path in folder.rglob("*") if is_audio(path)):
        stem = path.stem.lstrip("0123456789 _.-")
        titles = {read_tags(path)[1], stem, path.stem, split_name(path.stem)[1]}
        for title in {fold(title) for title in titles} - {""}:
            found[title].append(path)
    return found


def other_start_s(clip: np.ndarray, whole: np.ndarray) -> float | None:
    """Find where to cut `CLIP_S` that a clip does not contain out of its song.

    Parameters
    ----------
    clip, whole : np.ndarray [shape=(n_mels, n_frames), dtype=uint8]
        Spectrograms of a clip, and of the song it may be from.

    Returns
    -------
    float or None
        None if the clip is not found in the song, or no other music of that length is left.
    """
    n_clip, n_whole = clip.shape[1], whole.shape[1]
    if n_whole < 2 * n_clip:
        return None
    # Normalised cross-correlation of 8 broad bands.
    bands, pattern = (x.reshape(8, 16, -1).mean(axis=1) for x in (whole, clip))
    pattern = pattern - pattern.mean(axis=1, keepdims=True)
    ones = np.ones((1, n_clip))
    matched = fftconvolve(bands, pattern[:, ::-1], mode="valid", axes=1).sum(axis=0)
    sums = fftconvolve(bands, ones, mode="valid", axes=1)
    energy = (fftconvolve(bands**2, ones, mode="valid", axes=1) - sums**2 / n_clip).sum(axis=0)
    correlation = matched / np.sqrt(np.maximum(energy, 1.0) * (pattern**2).sum())
    start = int(correlation.argmax())
    before, after = start, n_whole - (start + n_clip)
    n_other = math.ceil(CLIP_S * RECIPE.sample_rate_hz / RECIPE.hop_length)
    # Written so that NaN, of a picture without any change, is not found.
    if not correlation[start] >= FOUND_AGAIN or max(before, after) < n_other:
        return None
    other = start + n_clip + (after - n_other) // 2 if after >= before else (before - n_other) // 2
    return other * RECIPE.hop_length / RECIPE.sample_rate_hz


def other_clip(path: Path, originals: list[Path], target: Path) -> Path | None:
    """Write another `CLIP_S` of the song of a clip; return `target`, None where there is none."""
    if not originals:
        return None
    clip = mel_picture(load_audio(path)[0])
    for original in originals:
        try:
            start_s = other_start_s(clip, mel_picture(load_audio(original)[0]))
        except SongError as error:
            tqdm.tqdm.write(f"left out: {original}: {error}", file=sys.stderr)
            continue
        if start_s is not None:
            return excerpt(original, target, start_s, CLIP_S)
    return None


def degraded_copies(path: Path, originals: list[Path], folder: Path) -> Iterator[tuple[str, Path]]:
    """Write each degraded copy of a song into `folder`; yield what it is, and its file."""
    mp3 = folder / "low.mp3"
    ffmpeg(path, mp3, before=[], after=["-c:a", "libmp3lame", "-b:a", "48k"])
    yield MP3, mp3
    start_s = max(0.0, (length_s(path) - EXCERPT_S) / 2)
    yield EXCERPT, excerpt(path, folder / "excerpt.wav", start_s, EXCERPT_S)
    soft = folder / "soft.wav"
    # Samples as floats: nothing but the loudness may change.
    ffmpeg(path, soft, before=[], after=["-filter:a", "volume=-12dB", "-c:a", "pcm_f32le"])
    yield SOFT, soft
    dull = folder / "dull.wav"
    ffmpeg(path, dull, before=[], after=["-ar", str(DULL_RATE_HZ)])
    yield DULL, dull
    other = other_clip(path, originals, folder / "other.wav")
    if other is not None:
        yield OTHER_CLIP, other


def rows_to_ask(library: Library, split: str | None, limit: int | None) -> list[int]:
    """Return the rows of the songs to ask with.

    Raises
    ------
    LabelError
        If there is a split to look up and no `tracks.csv`.
    LibraryError
        If no song's audio is there.
    """
    rows = [row for row, song in enumerate(library.songs) if is_audio(song.path)]
    if split:
        from songrec.store.tracks import read_tracks

        splits = read_tracks(library.database.tracks_csv)["split"].to_dict()
        rows = [row for row in rows if splits.get(composed(library.songs[row].name)) == split]
    if not rows:
        wanted = f"of the split {split} " if split else ""
        raise LibraryError(f"no song {wanted}in {library.database.songs_dir} to ask with")
    return rows[:limit]


def is_audio(path: Path) -> bool:
    """Return whether there is an audio file at `path`."""
    return path.suffix.lower() in AUDIO_ENDINGS and path.is_file()


def ask_all(recommender: Recommender, rows: list[int], originals: Path | None) -> Outcomes:
    """Ask with every degraded copy of the songs of `rows`; a copy that fails is left out."""
    library, embedder = recommender.library, recommender.embedder
    by_title = originals_by_title(originals) if originals else {}
    outcomes: Outcomes = defaultdict(list)
    for row in tqdm.tqdm(rows, desc="songs", unit="song", mininterval=5.0):
        song: Song = library.songs[row]
        with tempfile.TemporaryDirectory(prefix="songrec-") as folder:
            try:
                wholes = by_title.get(fold(split_name(song.title)[1]), [])
                copies = degraded_copies(song.path, wholes, Path(folder))
                for name, copy in copies:
                    query = embedder.describe_audio(copy)
                    for ranking in RANKINGS:
                        outcomes[name, ranking].append(outcome(library, row, query, ranking))
            except SongError as error:
                tqdm.tqdm.write(f"left out from here on: {song.file}: {error}", file=sys.stderr)
    return outcomes


def outcome(
    library: Library, row: int, query: Descriptions, ranking: Ranking
) -> tuple[bool, float]:
    """Return whether a copy finds its song first, and the share of the song's answers it keeps."""
    copy = library.similarities(query, ranking)
    song = library.similarities(library.descriptions[[row]], ranking)
    answers, wanted = (best_rows(x, exclude={row})[:N_ANSWERS] for x in (copy, song))
    return best_rows(copy, exclude=())[0] == row, len({*answers} & {*wanted}) / len(wanted)


def table(outcomes: Outcomes) -> str:
    """Return the shares as a Markdown table."""
    lines = [
        f"| asked with | ranking | songs | song itself first | 95 % interval | "
        f"of {N_ANSWERS} answers kept |"
    ]
    lines.append("|---|---|---|---|---|---|")
    for (name, ranking), told in outcomes.items():
        n, n_first = len(told), sum(is_first for is_first, _ in told)
        low, high = stats.binomtest(n_first, n).proportion_ci(method="wilson")
        stay = sum(share for _, share in told) / n
        share = f"{n_first / n:.1%} | {low:.1%} to {high:.1%} | {stay:.2f}"
        lines.append(f"| {name} | {ranking} | {n} | {share} |")
    return "\n".join(lines)


def measure(args: argparse.Namespace) -> int:
    """Print the table; return the exit status."""
    if shutil.which("ffmpeg") is None:
        raise LibraryError("the degraded copies need ffmpeg, which is not installed")
    if args.originals and not args.originals.is_dir():
        raise LibraryError(f"there is no folder {args.originals}")
    database = Database.library(args.data)
    recommender = Recommender(database, args.model, Options(jobs=args.jobs))
    library = recommender.library
    rows = rows_to_ask(library, args.split, args.limit)
    outcomes = ask_all(recommender, rows, args.originals)
    if not outcomes:
        raise LibraryError("no copy of any song could be asked with")
    print(f"{len(rows)} songs asked for among {len(library.songs)}\n")
    print(table(outcomes))
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    return cli.run(measure, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
