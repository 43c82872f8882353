"""Fit the projection of the patterns: what differs within an album should count little.

reads   a CSV with the columns path,start_s,label,genre, as prepare.py does
writes  the projection, as songrec/sound/patterns.npz

No teacher and no network: principal components of the standardised patterns, then whitening by
the covariance within the labels. A minute for 700 clips; the same input gives the same numbers.
With --band-limited, what changes in a copy that ends at 4 kHz should count little as well.

    python training/fit_patterns.py clips.csv songrec/sound/patterns.npz
    python training/fit_patterns.py clips.csv patterns.npz --band-limited
"""

import argparse
import sys
from pathlib import Path

import librosa
import numpy as np
import tqdm

from songrec import cli
from songrec.errors import LabelError, SongError
from songrec.sound.mel import cut, mel_picture
from songrec.sound.patterns import N_DIMS, Projection, measure_patterns
from songrec.sound.recipe import RECIPE
from songrec.sound.timbre import Timbres
from training.prepare import part
from training.windows import WINDOW_S, read_windows

# Share of a round covariance that is mixed in: few songs a label leave directions unmeasured.
# Chosen on validation songs, as N_DIMS.
ROUND_SHARE = 0.2
# How much the change of a copy counts beside what differs between songs and within labels.
COPIES_IN_AXES, COPIES_SHARE = 0.25, 0.5
LIMIT_HZ = 4000.0  # of old recordings and low bit rates


def fit(
    songs: list[list[np.ndarray]],
    labels: list[str],
    copies: list[list[np.ndarray]] | None = None,
) -> Projection:
    """Fit the projection.

    Parameters
    ----------
    songs
        Of each song, what `measure_patterns` gives.
    labels
        Of each song, "" where it has none.
    copies
        Of a worse copy of each song, the same: what a copy changes should count little too.

    Raises
    ------
    LabelError
        If there are too few songs for `N_DIMS` components, or no label has two.
    """
    if len(songs) <= N_DIMS:
        raise LabelError(f"{len(songs)} songs are too few for {N_DIMS} components")
    # Each kind of pattern weighs the same, however many numbers it has.
    weight = np.concatenate([np.full(len(p), len(p) ** -0.5) for p in songs[0]])
    patterns = np.stack([np.concatenate(song) for song in songs])
    spread = patterns.std(axis=0) + 1e-6
    plain = Projection(patterns.mean(axis=0), spread, np.empty(0), np.empty(0))
    standardised = plain.standardise(patterns) * weight
    mean = standardised.mean(axis=0)
    centred = standardised - mean
    change = np.zeros_like(centred)
    if copies:
        worse = np.stack([np.concatenate(song) for song in copies])
        change = plain.standardise(worse) * weight - mean - centred
    scatter = centred.T @ centred + COPIES_IN_AXES * change.T @ change
    axes = np.linalg.eigh(scatter)[1][:, ::-1][:, :N_DIMS]
    covariance = within_covariance(centred @ axes, labels)
    moved = change @ axes
    covariance += COPIES_SHARE * moved.T @ moved / len(moved)
    whiten = np.linalg.cholesky(np.linalg.inv(covariance))
    basis = axes @ whiten
    return Projection(plain.centre, spread, weight[:, None] * basis, mean @ basis)


def within_covariance(x: np.ndarray, labels: list[str]) -> np.ndarray:
    """Return the covariance within the labels, a little rounded [shape=(n_dims, n_dims)].

    Raises
    ------
    LabelError
        If no label has two songs.
    """
    total, n_free = np.zeros((x.shape[1], x.shape[1])), 0
    for label in sorted(set(labels) - {""}):
        same = x[[other == label for other in labels]]
        rest = same - same.mean(axis=0)
        total += rest.T @ rest
        n_free += len(same) - 1
    if n_free == 0:
        raise LabelError("no label has two songs: nothing is known of what differs within one")
    covariance = total / n_free
    rounded = np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    return np.asarray((1 - ROUND_SHARE) * covariance + ROUND_SHARE * rounded)


def band_limited(slices: np.ndarray) -> np.ndarray:
    """Return the slices of a copy that ends at `LIMIT_HZ`: silent above it."""
    bands_hz = librosa.mel_frequencies(RECIPE.n_mels, fmin=RECIPE.f_min_hz, fmax=RECIPE.f_max_hz)
    copy = slices.copy()
    # Row 0 is the highest band.
    copy[:, : int((bands_hz > LIMIT_HZ).sum())] = 0
    return copy


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("windows", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--band-limited",
        action="store_true",
        help="also compare each window with a copy that ends at 4 kHz",
    )
    return parser


def fit_windows(args: argparse.Namespace) -> int:
    """Measure the windows, fit, save; return the exit status."""
    songs, labels, copies = [], [], []
    for window in tqdm.tqdm(read_windows(args.windows), desc="windows"):
        try:
            slices = cut(mel_picture(part(window.path, window.start_s, WINDOW_S)))
        except SongError as error:
            print(f"left out {window.path}: {error}", file=sys.stderr)
            continue
        songs.append(measure_patterns(slices, Timbres.of_slices(slices)))
        labels.append(window.label)
        if args.band_limited:
            worse = band_limited(slices)
            copies.append(measure_patterns(worse, Timbres.of_slices(worse)))
    fit(songs, labels, copies).save(args.out)
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(fit_windows, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
