"""Train the network that comes with the project.

reads   pieces.npz from prepare.py
writes  model.pt

The network learns four things at once from the same vector: the artist and album of a slice (a
softmax over cosines), its genre, the teacher's vector of the same moment, and which slices the
teacher finds alike. Few pieces have a genre: for the others it is predicted from the teacher's
vector, by a logistic regression fitted to those few.

    python training/distil.py pieces.npz model.pt
    python training/distil.py pieces.npz model.pt --steps 1200 --seed 1
"""

import argparse
import copy
import math
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.npyio import NpzFile
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from model import ARCHITECTURES, StridedCNN
from songrec import cli
from songrec.errors import LabelError
from songrec.network.checkpoint import TrainedModel, save_model
from songrec.network.device import to_channels_last
from songrec.sound.recipe import RECIPE

ARCHITECTURE = ARCHITECTURES["StridedCNN"]
COLUMNS = RECIPE.slice_frames
TEACHER_STEP = 16
GENRE_STEP = 8  # the genres are fitted to every 8th place: one slice apart
BATCH_SIZE = 64
LEARNING_RATE = 2e-3
UNLABELLED_SHARE = 0.5  # of what is drawn
SCALE = 16.0  # of the cosines before a softmax
LOSS_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {"label": 0.3, "genre": 0.6, "dense": 2.0, "relation": 5.0}
)


@dataclass(frozen=True)
class Batch:
    """Slices and what is known about them.

    Parameters
    ----------
    pixels : Tensor [shape=(batch, 1, n_mels, slice_frames)], 0..1
    label : Tensor [shape=(batch,)], -1 where unknown
    genre : Tensor [shape=(batch, genres)], probabilities
    is_named : Tensor [shape=(batch,)], whether the genre is a label's and no guess
    dense : Tensor [shape=(batch, n_dense)], the teacher's vectors, standardised
    """

    pixels: Tensor
    label: Tensor
    genre: Tensor
    is_named: Tensor
    dense: Tensor


class Songs:
    """Training pieces: picture, label, genre and the teacher's vectors every 16 columns.

    A piece without a label (``""``) is only learnt from through the teacher's vectors;
    such pieces are `UNLABELLED_SHARE` of what is drawn. Among the others, a
    label is drawn in proportion to the root of how many pieces it has.

    Parameters
    ----------
    path
        What prepare.py wrote.
    without
        Labels to leave out, with every piece that has a source of theirs.

    Raises
    ------
    LabelError
        If there are labels to leave out and the file does not list the sources of its pieces.
    """

    def __init__(self, path: Path, without: Collection[str] = ()) -> None:
        with np.load(path) as stored:
            kept = pieces_without(stored, path, without)
            # Plain text: numpy's own kind would not load again from a model.pt.
            labels, genres = stored["label"][kept].tolist(), stored["genre"][kept].tolist()
            ends = np.cumsum(stored["columns"])[:-1]
            pictures = np.split(stored["pictures"], ends, axis=1)
            self.pictures = [pictures[piece] for piece in kept]
            vectors = np.maximum(stored["dense"].astype(np.float32), 0)
            of_piece = np.split(vectors, np.cumsum(stored["places"])[:-1])
        dense = np.concatenate([of_piece[piece] for piece in kept])
        places = np.cumsum([len(of_piece[piece]) for piece in kept])[:-1]
        self.dense_mean, self.dense_std = dense.mean(0), np.maximum(dense.std(0), 1e-6)
        self.dense = np.split((dense - self.dense_mean) / self.dense_std, places)
        self.label_names = sorted(set(labels) - {""})
        self.genre_names = sorted(set(genres) - {""})
        self.label = np.array([self.label_names.index(x) if x else -1 for x in labels])
        genre = np.array([self.genre_names.index(x) if x else -1 for x in genres])
        self.is_named = genre >= 0
        self.genre = genres_by_teacher(self.dense, genre)
        known = self.label >= 0
        count = np.bincount(self.label[known])
        weight = np.where(known, count[self.label] ** -0.5, 0.0)
        share = 0.0 if known.all() else UNLABELLED_SHARE
        self.weight = (1 - share) * weight / weight.sum()
        if share:
            self.weight[~known] = share / np.sum(~known)

    def batch(self, size: int, rng: np.random.Generator) -> Batch:
        """Draw slices at random places of songs, a little off the teacher's places."""
        chosen = rng.choice(len(self.pictures), size, p=self.weight)
        pixels = np.empty((size, RECIPE.n_mels, COLUMNS), np.float32)
        dense = np.empty((size, len(self.dense_mean)), np.float32)
        genre = np.empty((size, len(self.genre_names)), np.float32)
        for row, song in enumerate(chosen):
            latest = self.pictures[song].shape[1] - COLUMNS
            place = int(rng.integers(min(len(self.dense[song]), latest // TEACHER_STEP + 1)))
            start = place * TEACHER_STEP + int(rng.integers(-7, 8))
            start = min(max(start, 0), latest)
            pixels[row] = self.pictures[song][:, start : start + COLUMNS]
            dense[row] = self.dense[song][place]
            genre[row] = self.genre[song][place]
        return Batch(
            torch.from_numpy(augment(pixels, rng)).unsqueeze(1),
            torch.from_numpy(self.label[chosen]),
            torch.from_numpy(genre),
            torch.from_numpy(self.is_named[chosen]),
            torch.from_numpy(dense),
        )


def sources_of(stored: NpzFile, path: Path) -> list[list[str]]:
    """Return the labels of the windows that each piece is made of.

    Raises
    ------
    LabelError
        If the file does not list them.
    """
    if "sources" not in stored:
        raise LabelError(
            f"{path} was written by an older prepare.py; run it again: training/README.md"
        )
    return [some.split("\n") for some in stored["sources"].tolist()]


def pieces_without(stored: NpzFile, path: Path, labels: Collection[str]) -> list[int]:
    """Return the rows of the pieces that no window of these labels is part of."""
    if not labels:
        return list(range(len(stored["label"])))
    sources = sources_of(stored, path)
    return [piece for piece, some in enumerate(sources) if set(labels).isdisjoint(some)]


def genres_by_teacher(dense: list[np.ndarray], genre: np.ndarray) -> list[np.ndarray]:
    """Return the genre of each place of each piece: the label's, or a prediction.

    Parameters
    ----------
    dense
        The teacher's vectors of each piece [shape=(places, n_dense)], standardised.
    genre : np.ndarray [shape=(pieces,)], -1 where unknown

    Returns
    -------
    list of np.ndarray [shape=(places, genres)]
        Probabilities.
    """
    directions = [vectors / np.linalg.norm(vectors, axis=1, keepdims=True) for vectors in dense]
    named = np.flatnonzero(genre >= 0)
    rows = [directions[piece][::GENRE_STEP] for piece in named]
    of_row = np.repeat(genre[named], [len(some) for some in rows])
    weight = np.concatenate([np.full(len(some), 1 / len(some)) for some in rows])
    judge = LogisticRegression(C=3.0, class_weight="balanced", max_iter=3000)
    judge.fit(np.concatenate(rows), of_row, sample_weight=weight)
    n_genres = len(judge.classes_)
    return [
        judge.predict_proba(vectors)
        if known < 0
        else np.tile(np.eye(n_genres)[known], (len(vectors), 1))
        for vectors, known in zip(directions, genre, strict=True)
    ]


def augment(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change slices as recordings of the same music differ, and mask parts.

    Level and tilt of the spectrum, one band up or down, the highest bands cut
    away as a low bit rate does, a noise floor, a masked band and moment.

    Parameters
    ----------
    pixels : np.ndarray [shape=(batch, n_mels, columns)], float32, 0..255

    Returns
    -------
    np.ndarray of the same shape, 0..1
    """
    size, bands, columns = pixels.shape
    per_db = 255 / RECIPE.top_db
    silent = pixels <= 0
    x = pixels + per_db * rng.uniform(-8, 8, (size, 1, 1)).astype(np.float32)
    tilt = rng.uniform(-4, 4, (size, 1, 1)) * (rng.random((size, 1, 1)) < 0.5)
    x += (per_db * tilt * np.linspace(1, -1, bands)[:, None]).astype(np.float32)
    x[silent] = 0
    for row in range(size):
        if rng.random() < 0.3:
            x[row] = np.roll(x[row], int(rng.integers(-1, 2)), 0)
        if rng.random() < 0.25:
            x[row, : int(rng.integers(1, 40))] = 0
        if rng.random() < 0.2:
            x[row] = np.maximum(x[row], rng.uniform(0, 50))
        if rng.random() < 0.7:
            width, start = int(rng.integers(0, 20)), int(rng.integers(bands))
            x[row, start : start + width] = 0
            width, start = int(rng.integers(0, 24)), int(rng.integers(columns))
            x[row, :, start : start + width] = 0
    return np.asarray(np.clip(x, 0, 255) / 255)


class Heads(nn.Module):
    """What is predicted from the vector: the label (by cosine), the genre, the teacher's vector."""

    def __init__(self, dimensions: int, labels: int, genres: int, dense: int) -> None:
        super().__init__()
        self.label = nn.Parameter(torch.randn(labels, dimensions))
        self.genre = nn.Linear(dimensions, genres)
        self.dense = nn.Linear(dimensions, dense)


def losses(heads: Heads, vector: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Give each task's loss of one batch.

    ``relation`` compares the cosines between the batch's vectors with those
    between the teacher's: neighbours of the teacher should be neighbours here.
    """
    unit = F.normalize(vector)
    known, named = batch.label >= 0, batch.is_named
    by_label = SCALE * (unit @ F.normalize(heads.label).T)
    by_genre = -(batch.genre * F.log_softmax(heads.genre(SCALE * unit), 1)).sum(1)
    guess = heads.dense(vector)
    wanted = F.normalize(batch.dense)
    return {
        "label": F.cross_entropy(by_label[known], batch.label[known], label_smoothing=0.05)
        if known.any()
        else 0 * by_label.sum(),
        # Labels and guesses weigh the same, however many there are of each.
        "genre": torch.stack([by_genre[x].mean() for x in (named, ~named) if x.any()]).mean(),
        "dense": F.mse_loss(guess, batch.dense)
        + 1
        - F.cosine_similarity(guess, batch.dense).mean(),
        "relation": F.mse_loss(unit @ unit.T, wanted @ wanted.T),
    }


@torch.no_grad()
def follow(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Move the average's numbers towards the network's."""
    pairs = zip(average.state_dict().values(), network.state_dict().values(), strict=True)
    for slow, quick in pairs:
        if slow.dtype.is_floating_point:
            slow.lerp_(quick, 1 - keep)
        else:
            slow.copy_(quick)


def train(songs: Songs, network: StridedCNN, steps: int, *, seed: int) -> tuple[StridedCNN, Heads]:
    """Train, and give the running average of the network."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = to_channels_last(network)
    heads = Heads(
        network.latent.out_features,
        len(songs.label_names),
        len(songs.genre_names),
        len(songs.dense_mean),
    )
    average = copy.deepcopy(network)
    parameters = [*network.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.05)
    began = time.time()
    network.train()
    for step in range(steps):
        falling = 0.5 + 0.5 * math.cos(math.pi * step / steps)
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, step / 100) * falling + 1e-6
        batch = songs.batch(BATCH_SIZE, rng)
        with torch.autocast("cpu", torch.bfloat16):
            vector = network.latent_of(batch.pixels)
        parts = losses(heads, vector.float(), batch)
        loss = torch.stack([LOSS_WEIGHTS[name] * part for name, part in parts.items()]).sum()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        follow(average, network, min(0.998, step / (step + 10)))
        if (step + 1) % 100 == 0:
            shown = " ".join(f"{name} {part.item():.3f}" for name, part in parts.items())
            print(f"{time.time() - began:6.0f} s step {step + 1} {shown}", file=sys.stderr)
    return average.eval(), heads


def make_model(songs: Songs, path: Path, *, steps: int, seed: int, jobs: int) -> None:
    """Train a network on `jobs` threads and write it as a model.pt."""
    torch.set_num_threads(jobs)
    torch.manual_seed(seed)
    sizes = {name: size for name, size in ARCHITECTURE.items() if name != "name"}
    network = StridedCNN(len(songs.genre_names), **sizes)
    network, heads = train(songs, network, steps, seed=seed)
    with torch.no_grad():
        # The genre head saw cosines times SCALE; the classifier sees unit vectors.
        network.classify.weight.copy_(SCALE * heads.genre.weight)
        network.classify.bias.copy_(heads.genre.bias)
    settings = {"steps": steps, "seed": seed, "loss_weights": dict(LOSS_WEIGHTS)}
    save_model(path, TrainedModel(network, ARCHITECTURE, "genre", songs.genre_names, {}, settings))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("pieces", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--steps", type=cli.positive_int, default=2800, metavar="N")
    parser.add_argument("--seed", type=cli.not_negative_int, default=0, metavar="N")
    parser.add_argument(
        "-j", "--jobs", type=cli.positive_int, default=1, metavar="N", help="threads"
    )
    return parser


def distil(args: argparse.Namespace) -> int:
    """Read the pieces, train, save; return the exit status."""
    make_model(Songs(args.pieces), args.model, steps=args.steps, seed=args.seed, jobs=args.jobs)
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(distil, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
