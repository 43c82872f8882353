"""Teach the network what the teachers hear in strongly changed sound, patiently.

reads   shards from hear.py, a model.pt to begin with, shards of held-out windows (hear.py --plain)
writes  model.pt, and a checkpoint beside it that the same command goes on from

From a slice's vector the network must tell musicnn's vector and msd_fcn's third layer of the same
moment; from the mean of some slices of a piece, which is what songs are compared by, the deeper
layers and the tags of both FCNs. The likeness of slices and of pieces shall be the teachers', and
slices of one piece shall be found among those of others. Progress is reported as agreement with the
teachers on held-out music, of artists and packages that no training piece has a layer of.

The learning rate falls with time and not with steps: training ends after --minutes. Shards that
appear meanwhile are read too.

    python training/learn.py shards/ held/ model.pt new.pt --minutes 90 --genres clips.csv
"""

import argparse
import copy
import math
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from model import StridedCNN
from songrec import cli
from songrec.errors import LibraryError
from songrec.files import atomic_path
from songrec.network.checkpoint import TrainedModel, load_model, save_model
from songrec.network.device import to_channels_last
from songrec.sound.mel import mel_picture
from songrec.sound.recipe import RECIPE
from training.distil import follow
from training.fcn import HOP as FCN_HOP
from training.fcn import L3_FRAMES
from training.fcn import RATE_HZ as FCN_RATE_HZ
from training.hear import STEP
from training.prepare import part
from training.windows import WINDOW_S, read_windows

COLUMNS = RECIPE.slice_frames
COLUMN_S = RECIPE.hop_length / RECIPE.sample_rate_hz
L3_S = L3_FRAMES * FCN_HOP / FCN_RATE_HZ
N_PIECES, N_SLICES = 32, 3  # of a batch; slices of each piece
# Batches of pieces that are alike, and among how many times a batch's pieces they are drawn.
NEIGHBOURS_SHARE, NEIGHBOURHOOD = 0.7, 5
# Of MSD's tags those of rock, pop, soul, folk and the like: where neighbourhoods are drawn.
SUNG_TAGS = [0, 1, 2, 3, 5, 8, 13, 14, 15, 16, 20, 24, 25, 26, 27, 31, 33, 36, 40, 45]
LEARNING_RATE = 1.5e-3
SCALE = 16.0  # of the cosines before a softmax
CUT_ROWS = 28  # the bands above 4 kHz
OF_SLICE = ("dense", "l3")
OF_PIECE = ("l4", "l5", "tags", "jamendo_l4", "jamendo_l5", "jamendo_tags")
LOSS_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "dense": 1.0,
        "l3": 1.0,
        "l4": 0.5,
        "l5": 0.5,
        "tags": 0.5,
        "jamendo_l4": 0.15,
        "jamendo_l5": 0.15,
        "jamendo_tags": 0.15,
        "relation": 1.0,
        "song_relation": 2.0,
        "same": 0.15,
    }
)
WARM_UP = 200  # steps
KEEP = 0.998  # of the running average, a step
TOLD_EVERY = 100
CHECK_EVERY_S = 420.0


@dataclass(frozen=True)
class Batch:
    """Slices of pieces, those of a piece one after another, and the teachers' vectors.

    Parameters
    ----------
    pixels : Tensor [shape=(pieces * slices, 1, 128, 128)], 0..1
    wanted : dict of Tensor
        Standardised: of `OF_SLICE` a row a slice, of `OF_PIECE` a row a piece.
        What musicnn was not asked about is NaN.
    songs : dict of Tensor [shape=(pieces, n)]
        Vectors of both teachers that pieces are compared by.
    """

    pixels: Tensor
    wanted: dict[str, Tensor]
    songs: dict[str, Tensor]


Moments = dict[str, tuple[np.ndarray, np.ndarray]]
"""Mean and deviation of the vectors of each name."""


class Stateful(Protocol):
    """What can be written to a checkpoint and read again."""

    def state_dict(self) -> dict[str, Any]:
        """Return all numbers."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> object:
        """Take the numbers over."""
        ...


class Pieces:
    """The pieces of a folder of shards, in memory.

    Parameters
    ----------
    folder
        Shards.
    like
        Pieces whose mean and deviation of each teacher's vectors to standardise by; by default
        those of the first shards that are there.
    """

    def __init__(self, folder: Path, like: "Pieces | None" = None) -> None:
        self._folder = folder
        self._seen: set[Path] = set()
        self.pictures: list[np.ndarray] = []
        self.vectors: dict[str, list[np.ndarray]] = {name: [] for name in (*OF_SLICE, *OF_PIECE)}
        self.songs: list[np.ndarray] = []
        self.dense_songs: list[np.ndarray] = []
        self._units, self._anchor_share = np.empty((0, 0)), np.empty(0)
        self.read_new()
        self._moments: Moments = like._moments if like else self._measure()

    def __len__(self) -> int:
        return len(self.pictures)

    def sizes(self) -> dict[str, int]:
        """Return how long each teacher's vectors are."""
        return {name: len(np.atleast_2d(some[0])[0]) for name, some in self.vectors.items()}

    def read_new(self) -> None:
        """Read shards that were not there before."""
        for path in sorted(set(self._folder.glob("*.npz")) - self._seen):
            self._seen.add(path)
            with np.load(path) as stored:
                found = {name: stored[name] for name in self.vectors}
                self.pictures.extend(stored["picture"])
            for layer in ("l4",):
                found[layer] = found[layer].mean(1)
            found["tags"], found["jamendo_tags"] = (
                logits(found[name]) for name in ("tags", "jamendo_tags")
            )
            for name, values in found.items():
                self.vectors[name].extend(values.astype(np.float32))
            self.songs.extend(joined_layers(found))
            self.dense_songs.extend(found["dense"].astype(np.float32).mean(1))

    def _measure(self) -> Moments:
        if not self.songs:
            raise LibraryError(f"there are no shards in {self._folder}; hear.py makes them")
        rows = {
            name: np.concatenate([np.atleast_2d(values) for values in some])
            for name, some in self.vectors.items()
        }
        rows["song"] = np.stack(self.songs)
        rows["dense_song"] = np.stack(self.dense_songs)
        return {
            name: (np.nanmean(some, 0), np.maximum(np.nanstd(some, 0), 1e-4))
            for name, some in rows.items()
        }

    def standardised(self, name: str, values: np.ndarray) -> np.ndarray:
        """Return vectors of this name in standard deviations."""
        mean, deviation = self._moments[name]
        return np.asarray((values - mean) / deviation, np.float32)

    def of_songs(self, rows: np.ndarray) -> dict[str, Tensor]:
        """Return both teachers' vectors of whole pieces, standardised; NaN where not asked."""
        stored = {"song": self.songs, "dense_song": self.dense_songs}
        return {
            name: torch.from_numpy(self.standardised(name, np.stack([some[row] for row in rows])))
            for name, some in stored.items()
        }

    def slice_vectors(self, row: int, start: int) -> dict[str, np.ndarray]:
        """Return the teachers' vectors of the slice that begins at a column of a piece."""
        dense = self.vectors["dense"][row]
        place = start / STEP
        low = min(int(place), len(dense) - 1)
        high, share = min(low + 1, len(dense) - 1), place - int(place)
        l3 = self.vectors["l3"][row]
        bounds = np.arange(len(l3) + 1) * L3_S
        from_s, to_s = start * COLUMN_S, (start + COLUMNS) * COLUMN_S
        heard_s = np.minimum(bounds[1:], to_s) - np.maximum(bounds[:-1], from_s)
        weight = np.maximum(heard_s, 0.0)
        return {
            "dense": (1 - share) * dense[low] + share * dense[high],
            "l3": weight @ l3 / weight.sum(),
        }

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the rows of a batch: mostly pieces that msd_fcn finds alike, some from anywhere.

        Of all music at once only the coarse differences would be learnt; people's libraries are
        mostly songs of neighbouring kinds.
        """
        if rng.random() > NEIGHBOURS_SHARE:
            return rng.choice(len(self), N_PIECES, replace=False)
        if len(self._units) != len(self):
            unit = self.standardised("song", np.stack(self.songs))
            self._units = unit / np.linalg.norm(unit, axis=1, keepdims=True)
            sung = 1 / (1 + np.exp(-np.stack(self.vectors["tags"])[:, SUNG_TAGS]))
            self._anchor_share = sung.sum(1) / sung.sum()
        anchor = rng.choice(len(self), p=self._anchor_share)
        near = np.argsort(-(self._units @ self._units[anchor]))[: N_PIECES * NEIGHBOURHOOD]
        return rng.choice(near, N_PIECES, replace=False)

    def batch(self, rng: np.random.Generator) -> Batch:
        """Draw pieces, and slices of each."""
        rows = self.draw(rng)
        pixels = np.empty((N_PIECES * N_SLICES, RECIPE.n_mels, COLUMNS), np.float32)
        found: dict[str, list[np.ndarray]] = {name: [] for name in OF_SLICE}
        for number, row in enumerate(rows):
            picture = self.pictures[row]
            for one in range(N_SLICES):
                start = int(rng.integers(picture.shape[1] - COLUMNS + 1))
                pixels[number * N_SLICES + one] = picture[:, start : start + COLUMNS]
                for name, vector in self.slice_vectors(row, start).items():
                    found[name].append(vector)
        wanted = {name: np.stack(some) for name, some in found.items()}
        wanted |= {name: np.stack([self.vectors[name][row] for row in rows]) for name in OF_PIECE}
        return Batch(
            torch.from_numpy(augment(pixels, rng)).unsqueeze(1),
            {
                name: torch.from_numpy(self.standardised(name, some))
                for name, some in wanted.items()
            },
            self.of_songs(rows),
        )


def logits(probabilities: np.ndarray) -> np.ndarray:
    """Return the logits of probabilities that were stored in 16 bits."""
    p = np.clip(probabilities.astype(np.float32), 1e-4, 1 - 1e-4)
    return np.asarray(np.log(p / (1 - p)))


def joined_layers(found: dict[str, np.ndarray]) -> np.ndarray:
    """Return msd_fcn's vector of each piece: layers 3 to 5, each of unit length, joined."""
    layers = [found["l3"].astype(np.float32).mean(1), found["l4"], found["l5"]]
    units = [layer / (np.linalg.norm(layer, axis=1, keepdims=True) + 1e-9) for layer in layers]
    return np.concatenate(units, axis=1).astype(np.float32)


def augment(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change slices as copies of one recording differ: what the teachers heard stays true.

    Level and tilt, one band up or down, the highest bands cut away (often those above 4 kHz), a
    noise floor, a masked band and moment.

    Parameters
    ----------
    pixels : np.ndarray [shape=(batch, 128, columns)], float32, 0..255

    Returns
    -------
    np.ndarray of the same shape, 0..1
    """
    size, bands, columns = pixels.shape
    per_db = 255 / RECIPE.top_db
    silent = pixels <= 0
    x = pixels + per_db * rng.uniform(-8, 8, (size, 1, 1)).astype(np.float32)
    tilt = rng.uniform(-4, 4, (size, 1, 1)) * (rng.random((size, 1, 1)) < 0.4)
    x += (per_db * tilt * np.linspace(1, -1, bands)[:, None]).astype(np.float32)
    x[silent] = 0
    for row in range(size):
        if rng.random() < 0.2:
            x[row] = np.roll(x[row], int(rng.integers(-1, 2)), 0)
        chance = rng.random()
        if chance < 0.15:
            x[row, : CUT_ROWS + int(rng.integers(-2, 3))] = 0
        elif chance < 0.3:
            x[row, : int(rng.integers(1, 48))] = 0
        if rng.random() < 0.15:
            x[row] = np.maximum(x[row], rng.uniform(0, 50))
        if rng.random() < 0.4:
            width, start = int(rng.integers(0, 16)), int(rng.integers(bands))
            x[row, start : start + width] = 0
            width, start = int(rng.integers(0, 20)), int(rng.integers(columns))
            x[row, :, start : start + width] = 0
    return np.asarray(np.clip(x, 0, 255) / 255, np.float32)


class Heads(nn.Module):
    """What the vectors must tell of each teacher."""

    def __init__(self, n_latent: int, sizes: dict[str, int]) -> None:
        super().__init__()
        self.tell = nn.ModuleDict({name: nn.Linear(n_latent, size) for name, size in sizes.items()})

    def forward(self, name: str, vector: Tensor) -> Tensor:
        """Return what one teacher would say."""
        found: Tensor = self.tell[name](vector)
        return found


def disagreement(one: Tensor, other: Tensor) -> Tensor:
    """Return 1 - the correlation of two square matrices row by row, their diagonals left out.

    Only which of the others are nearer matters, not how near (DIST: Huang et al., NeurIPS 2022).
    """
    off = ~torch.eye(len(one), dtype=torch.bool)
    rows = [x[off].view(len(x), -1) for x in (one, other)]
    rows = [x - x.mean(1, keepdim=True) for x in rows]
    return 1 - F.cosine_similarity(rows[0], rows[1], dim=1).mean()


def unlike(unit: Tensor, wanted: Tensor) -> Tensor:
    """Return how differently vectors are alike from those of a teacher, where it was asked."""
    known = wanted.isfinite().all(1)
    if known.sum() < 3:
        return 0 * unit.sum()
    own, taught = unit[known], F.normalize(wanted[known])
    return disagreement(own @ own.T, taught @ taught.T)


def losses(heads: Heads, vector: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Give each task's loss of one batch, from the latent vectors of its slices."""
    unit = F.normalize(vector)
    by_piece = unit.view(-1, N_SLICES, unit.shape[1])
    song = by_piece.mean(1)
    parts: dict[str, Tensor] = {}
    for name, wanted in batch.wanted.items():
        source = unit if name in OF_SLICE else song
        guess = heads(name, SCALE * source)
        known = wanted.isfinite().all(1)
        agreed = F.cosine_similarity(guess[known], wanted[known]).mean() if known.any() else 1.0
        parts[name] = 1 - agreed + 0 * guess.sum()
    unit_song = F.normalize(song)
    parts["relation"] = torch.stack([unlike(unit, batch.wanted[name]) for name in OF_SLICE]).mean()
    parts["song_relation"] = torch.stack(
        [unlike(unit_song, wanted) for wanted in batch.songs.values()]
    ).mean()
    # One slice of a piece asks for the mean of its others.
    rest = F.normalize(by_piece[:, 1:].mean(1))
    found = SCALE * (by_piece[:, 0] @ rest.T)
    parts["same"] = F.cross_entropy(found, torch.arange(len(found)), label_smoothing=0.05)
    return parts


@torch.inference_mode()
def song_vectors(network: StridedCNN, pictures: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Return the vectors of the whole slices of pictures of one size, and of the songs.

    Returns
    -------
    slices : Tensor [shape=(songs, slices, n_latent)], of unit length
    songs : Tensor [shape=(songs, n_latent)], of unit length
    """
    network.eval()
    n_slices = pictures[0].shape[1] // COLUMNS
    found = []
    for picture in pictures:
        slices = picture[:, : n_slices * COLUMNS].reshape(RECIPE.n_mels, n_slices, COLUMNS)
        pixels = torch.from_numpy(slices.transpose(1, 0, 2).astype(np.float32) / 255)
        with torch.autocast("cpu", torch.bfloat16):
            latent = network.latent_of(pixels.unsqueeze(1))
        found.append(F.normalize(latent.float()))
    slices_of = torch.stack(found)
    return slices_of, F.normalize(slices_of.mean(1))


def agreement(network: StridedCNN, heads: Heads, held: Pieces) -> dict[str, float]:
    """Tell how well held-out music is heard: cosines to the teachers, likeness, ten nearest."""
    slices, songs = song_vectors(network, held.pictures)
    starts = [number * COLUMNS for number in range(slices.shape[1])]
    told = {}
    with torch.inference_mode():
        for name in OF_SLICE:
            rows = [
                held.slice_vectors(row, start)[name] for row in range(len(held)) for start in starts
            ]
            wanted = torch.from_numpy(held.standardised(name, np.stack(rows)))
            guess = heads(name, SCALE * slices.flatten(0, 1))
            told[name] = float(F.cosine_similarity(guess, wanted).mean())
        for name in OF_PIECE:
            wanted = torch.from_numpy(held.standardised(name, np.stack(held.vectors[name])))
            guess = heads(name, SCALE * slices.mean(1))
            told[name] = float(F.cosine_similarity(guess, wanted).mean())
    own = songs @ songs.T
    for name, wanted in held.of_songs(np.arange(len(held))).items():
        likeness = F.normalize(wanted) @ F.normalize(wanted).T
        told[f"like {name}"] = 1 - float(disagreement(own, likeness))
        told[f"nearest {name}"] = shared_neighbours(own, likeness)
    return told


def shared_neighbours(one: Tensor, other: Tensor, depth: int = 10) -> float:
    """Return the share of the `depth` nearest by one similarity that are so by the other."""
    away = torch.eye(len(one)) * 9
    near = [(x - away).topk(min(depth, len(x) - 1)).indices for x in (one, other)]
    return float((near[0][:, :, None] == near[1][:, None, :]).any(2).float().mean())


class Lesson:
    """A network being taught, its heads, the running averages of both, and the optimiser."""

    def __init__(self, network: StridedCNN, sizes: dict[str, int]) -> None:
        self.network = to_channels_last(network)
        self.heads = Heads(network.latent.out_features, sizes)
        self.average, self.average_heads = copy.deepcopy(network), copy.deepcopy(self.heads)
        self._parameters = [*network.parameters(), *self.heads.parameters()]
        self._optimiser = torch.optim.AdamW(self._parameters, lr=LEARNING_RATE, weight_decay=0.05)
        self.n_steps = 0

    def step(self, batch: Batch, share_done: float) -> dict[str, Tensor]:
        """Learn from one batch; return the parts of its loss."""
        falling = 0.5 + 0.5 * math.cos(math.pi * share_done)
        for group in self._optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (self.n_steps + 1) / WARM_UP) * falling + 1e-6
        self.network.train()
        with torch.autocast("cpu", torch.bfloat16):
            vector = self.network.latent_of(batch.pixels)
        found = losses(self.heads, vector.float(), batch)
        loss = torch.stack([LOSS_WEIGHTS[name] * part for name, part in found.items()]).sum()
        self._optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._parameters, 5.0)
        self._optimiser.step()
        keep = min(KEEP, self.n_steps / (self.n_steps + 10))
        follow(self.average, self.network, keep)
        follow(self.average_heads, self.heads, keep)
        self.n_steps += 1
        return found

    def _parts(self) -> list[Stateful]:
        return [self.network, self.heads, self.average, self.average_heads, self._optimiser]

    def keep(self, path: Path, spent_s: float) -> None:
        """Write all that is needed to go on."""
        states = [part.state_dict() for part in self._parts()]
        with atomic_path(path) as temporary:
            torch.save({"step": self.n_steps, "spent": spent_s, "parts": states}, temporary)

    def resume(self, path: Path) -> float:
        """Take over what `keep` wrote; return how long it had been taught, in seconds."""
        state = torch.load(path, weights_only=True)
        for one, stored in zip(self._parts(), state["parts"], strict=True):
            one.load_state_dict(stored)
        self.n_steps = int(state["step"])
        return float(state["spent"])


def teach(
    lesson: Lesson, pieces: Pieces, held: Pieces, out: Path, *, minutes: float, seed: int
) -> Iterator[str]:
    """Teach for so long; whenever a checkpoint is due, write it and say how it goes."""
    checkpoint = out.with_suffix(".checkpoint")
    began = time.time() - (lesson.resume(checkpoint) if checkpoint.exists() else 0.0)
    checked = time.time()
    rng = np.random.default_rng((seed, lesson.n_steps))
    while (spent := time.time() - began) < 60 * minutes:
        found = lesson.step(pieces.batch(rng), spent / (60 * minutes))
        if lesson.n_steps % TOLD_EVERY == 0:
            told = " ".join(f"{name} {part.item():.3f}" for name, part in found.items())
            print(f"{spent:6.0f} s step {lesson.n_steps} {told}", file=sys.stderr, flush=True)
            pieces.read_new()
        if time.time() - checked > CHECK_EVERY_S:
            checked = time.time()
            lesson.keep(checkpoint, spent)
            yield progress(lesson, pieces, held)
    yield progress(lesson, pieces, held)


def progress(lesson: Lesson, pieces: Pieces, held: Pieces) -> str:
    """Tell how well held-out music is heard."""
    told = agreement(lesson.average, lesson.average_heads, held)
    figures = " ".join(f"{name} {x:.3f}" for name, x in told.items())
    return f"held out: step {lesson.n_steps}, {len(pieces)} pieces: {figures}"


def fit_classes(network: StridedCNN, clips: Path, classes: list[str]) -> None:
    """Make the last layer name the genres of clips anew: a regression on their slices' vectors."""
    vectors, genres = [], []
    for window in read_windows(clips):
        if window.genre in classes:
            picture = mel_picture(part(window.path, window.start_s, WINDOW_S))
            slices, _ = song_vectors(network, [picture])
            vectors.append(slices[0].numpy())
            genres += [classes.index(window.genre)] * len(slices[0])
    judge = LogisticRegression(C=3.0, class_weight="balanced", max_iter=3000)
    judge.fit(SCALE * np.concatenate(vectors), genres)
    with torch.no_grad():
        network.classify.weight.copy_(torch.from_numpy(SCALE * judge.coef_))
        network.classify.bias.copy_(torch.from_numpy(judge.intercept_))


def save(path: Path, start: TrainedModel, lesson: Lesson, seed: int) -> None:
    """Write the running average as model.pt, with the classes that the first one had."""
    settings = {"steps": lesson.n_steps, "seed": seed, "loss_weights": dict(LOSS_WEIGHTS)}
    network = copy.deepcopy(lesson.average)
    save_model(
        path, TrainedModel(network, start.architecture, start.label, start.classes, {}, settings)
    )


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("held", type=Path, help="shards of held-out windows")
    parser.add_argument("start", type=Path, help="model.pt to begin with")
    parser.add_argument("model", type=Path, help="model.pt to write")
    parser.add_argument(
        "--genres", type=Path, metavar="CSV", help="windows with genres to fit the classes to"
    )
    parser.add_argument("--minutes", type=float, default=90.0, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("-j", "--jobs", type=int, default=1, metavar="N", help="threads")
    return parser


def learn(args: argparse.Namespace) -> int:
    """Read the shards, train, save; return the exit status."""
    torch.set_num_threads(args.jobs)
    torch.manual_seed(args.seed)
    pieces = Pieces(args.shards)
    held = Pieces(args.held, like=pieces)
    start = load_model(args.start)
    if not isinstance(start.classifier, StridedCNN):
        print("only a StridedCNN can be taught so", file=sys.stderr)
        return 1
    lesson = Lesson(start.classifier, pieces.sizes())
    for told in teach(lesson, pieces, held, args.model, minutes=args.minutes, seed=args.seed):
        print(told, flush=True)
        save(args.model, start, lesson, args.seed)
    if args.genres:
        fit_classes(lesson.average, args.genres, start.classes)
        save(args.model, start, lesson, args.seed)
    return 0


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(learn, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
