"""Judge candidate networks on labelled sets that none of them learnt from, in one table.

reads   folders with specs/ and tracks.csv (a song_db, or ../shared/dev/mainstream), model.pt files
writes  for each set a table of every network, alone by cosine and inside the ranking without
        classes, and the paired differences to the first network, with intervals over artists

Other systems' vectors, of songs named as the specs, stand beside them: --vectors SET:NAME=FILE.

    python training/judge.py model.pt new.pt --set dev/mainstream --set dev/genres
"""

import argparse
import csv
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from songrec import cli
from songrec.evaluation.labels import LabelledSongs
from songrec.evaluation.measures import (
    ARTIST_MEASURES,
    GENRE_MEASURES,
    Resamples,
    Scores,
    differences,
    score,
    summarise,
)
from songrec.evaluation.tables import table
from songrec.network.checkpoint import load_model
from songrec.network.device import to_channels_last
from songrec.sound.mel import cut
from songrec.sound.patterns import PROJECTION_FILE, Projection, measure_patterns
from songrec.sound.timbre import Timbres
from songrec.store.pictures import read_picture

COLUMNS = (*ARTIST_MEASURES, *GENRE_MEASURES)


@dataclass(frozen=True)
class Judged:
    """A labelled set of songs, measured once for all networks.

    Parameters
    ----------
    names
        Of the songs, as in tracks.csv.
    slices
        Of each song [shape=(n_slices, n_mels, slice_frames), dtype=uint8].
    timbre : np.ndarray [shape=(n, n)]
        Distances.
    measured : np.ndarray [shape=(n, n_patterns)]
    """

    names: list[str]
    labels: LabelledSongs
    slices: list[np.ndarray]
    timbre: np.ndarray
    measured: np.ndarray


def read_set(folder: Path) -> Judged:
    """Read a folder's pictures and labels, and measure timbres and patterns."""
    with (folder / "tracks.csv").open(newline="", encoding="utf-8") as file:
        row_of = {row["song"]: row for row in csv.DictReader(file)}
    paths = [path for path in sorted((folder / "specs").glob("*.png")) if path.stem in row_of]
    rows = [row_of[path.stem] for path in paths]
    labels = LabelledSongs(
        *(
            np.array([row[column] for row in rows], dtype=object)
            for column in ("artist", "album", "genre")
        )
    )
    slices = [cut(read_picture(path)) for path in paths]
    timbres = [Timbres.of_slices(some) for some in slices]
    measured = np.stack(
        [
            np.concatenate(measure_patterns(some, one))
            for some, one in zip(slices, timbres, strict=True)
        ]
    )
    together = Timbres(
        *(
            np.concatenate([getattr(one, part) for one in timbres])
            for part in ("mean", "covariance", "log_determinant")
        )
    )
    timbre = np.stack([together.distances_from(one) for one in timbres])
    return Judged([path.stem for path in paths], labels, slices, timbre, measured)


@torch.inference_mode()
def vectors_of(model: Path, judged: Judged) -> np.ndarray:
    """Return the songs' vectors by a network [shape=(n, n_latent)]."""
    network = to_channels_last(load_model(model).classifier.embedder()).eval()
    found = []
    for slices in judged.slices:
        pixels = torch.from_numpy(slices.astype(np.float32) / 255).unsqueeze(1)
        found.append(network(pixels).mean(0).numpy())
    return np.stack(found)


def cosine_distances(vectors: np.ndarray) -> np.ndarray:
    """Return 1 - cosine similarity of all pairs [shape=(n, n)]."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(1 - unit @ unit.T, np.float64)


def usual(distances: np.ndarray) -> np.ndarray:
    """Return distances in deviations from what is usual for either song, as the ranking does."""
    others = np.where(np.eye(len(distances), dtype=bool), np.nan, distances)
    mean, deviation = np.nanmean(others, axis=1), np.nanstd(others, axis=1) + 1e-9
    by_row = (distances - mean[:, None]) / deviation[:, None]
    return np.asarray((by_row + by_row.T) / 2)


def systems_of(
    name: str, vectors: np.ndarray, judged: Judged, projection: Projection
) -> dict[str, Scores]:
    """Score one system's vectors alone, and joined with timbre and patterns."""
    alone = cosine_distances(vectors)
    patterns = cosine_distances(projection.apply(judged.measured))
    mixed = usual(alone) + usual(judged.timbre) + usual(patterns)
    return {
        f"{name}, alone": score(-alone, judged.labels),
        f"{name} + timbre + patterns": score(-mixed, judged.labels),
    }


def other_vectors(path: Path, names: list[str]) -> np.ndarray:
    """Return the vectors of another system, in the order of these songs."""
    with np.load(path) as stored:
        row_of = {name: row for row, name in enumerate(stored["songs"].tolist())}
        return np.asarray(stored["vectors"][[row_of[name] for name in names]], np.float64)


def report(
    folder: Path, models: list[Path], vectors: dict[str, Path], projections: list[Path]
) -> str:
    """Return the tables of one set."""
    judged = read_set(folder)
    found = {path.stem: vectors_of(path, judged) for path in models}
    found |= {name: other_vectors(path, judged.names) for name, path in vectors.items()}
    scores: dict[str, Scores] = {}
    for path in projections or [PROJECTION_FILE]:
        projection = Projection.load(path)
        suffix = f" ({path.stem})" if projections else ""
        for name, some in found.items():
            for system, one in systems_of(name, some, judged, projection).items():
                scores[system + (suffix if "+" in system else "")] = one
    resamples = Resamples.of(judged.labels.groups)
    measured = next(iter(scores.values())).per_query
    columns = [name for name in COLUMNS if np.isfinite(measured[name]).any()]
    text = [f"## {folder.name}: {len(judged.names)} songs"]
    told = {name: summarise(one, resamples) for name, one in scores.items()}
    text.append(table(told, [*columns, "hub_skew"]))
    firsts = list(scores)[:2]
    leads = {
        f"{name} - {first}": differences(one, scores[first], resamples)
        for name, one in scores.items()
        for first in firsts
        if name != first and ("+" in name) == ("+" in first)
    }
    if leads:
        text += ["Paired:", table(leads, columns)]
    return "\n\n".join(text)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("models", type=Path, nargs="+", help="the first is what others are held to")
    parser.add_argument("--set", type=Path, action="append", required=True, dest="sets")
    parser.add_argument("--vectors", action="append", default=[], metavar="SET:NAME=FILE")
    parser.add_argument("--patterns", type=Path, action="append", default=[], metavar="FILE")
    return parser


def vectors_by_set(flags: list[str]) -> dict[str, dict[str, Path]]:
    """Return other systems' files by set and name."""
    found: dict[str, dict[str, Path]] = {}
    for flag in flags:
        of_set, _, rest = flag.partition(":")
        name, _, path = rest.partition("=")
        found.setdefault(of_set, {})[name] = Path(path)
    return found


def judge(args: argparse.Namespace) -> int:
    """Print the tables; return the exit status."""
    torch.set_num_threads(1)
    vectors = vectors_by_set(args.vectors)
    for folder in args.sets:
        print(report(folder, args.models, vectors.get(folder.name, {}), args.patterns), end="\n\n")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(judge, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
