"""MSD-musicnn's forward pass in torch: the teacher the network learned from.

Reads the variables of the PyPI package ``musicnn`` 0.1.0 (ISC licence) once
exported to an ``.npz`` (names with ``/`` written as ``__``) and gives, for a
waveform at 16 kHz, the 200-d vectors of its dense layer. Run alone it writes the
mean vector of every song of a folder, for `evaluate.py --vectors`:

    python training/teacher.py teacher.npz data/song_db/songs musicnn.npz
"""

import argparse
import sys
from pathlib import Path

import librosa
import numpy as np
import soxr
import torch
import torch.nn.functional as F
import tqdm
from torch import Tensor

from songrec import cli
from songrec.errors import SongError, UnusableAudioError
from songrec.files import atomic_path
from songrec.sound.audio import load_audio
from songrec.sound.recipe import RECIPE
from songrec.store.database import AUDIO_ENDINGS

RATE_HZ = 16_000
HOP = 256
PATCH_FRAMES = 187
BN_EPS = 1e-3
BLOCK = 64


def log_mel(y: np.ndarray) -> np.ndarray:
    """Give musicnn's input: log-compressed mel frames of a 16 kHz waveform.

    Parameters
    ----------
    y : np.ndarray [shape=(n,)]

    Returns
    -------
    np.ndarray [shape=(frames, 96)], float32
    """
    mel = librosa.feature.melspectrogram(y=y, sr=RATE_HZ, hop_length=HOP, n_fft=512, n_mels=96).T
    return np.log10(10_000 * mel.astype(np.float16).astype(np.float32) + 1)


class Teacher:
    """MSD-musicnn with the weights of one exported ``.npz``."""

    def __init__(self, weights: Path) -> None:
        with np.load(weights) as stored:
            self.w = {k: torch.from_numpy(stored[k]) for k in stored.files if stored[k].ndim}

    def _bn(self, x: Tensor, index: int, dim: int = 1) -> Tensor:
        name = "batch_normalization" + (f"_{index}" if index else "")
        gamma, beta, mean, var = (
            self.w[f"{name}__{part}"]
            for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = gamma / torch.sqrt(var + BN_EPS)
        shape = [1] * x.ndim
        shape[dim] = -1
        return x * scale.view(shape) + (beta - mean * scale).view(shape)

    def _front(self, x: Tensor, index: int) -> Tensor:
        """Convolve, rectify, normalise, and take the maximum over frequency.

        Where the normalisation's gain is negative the maximum is taken before the
        rest by turning the kernel's sign round; blocks of frames stay in the cache.
        """
        name = "conv2d" + (f"_{index}" if index else "")
        sign = torch.sign(self.w[f"batch_normalization_{index + 1}__gamma"])
        kernel = (self.w[f"{name}__kernel"] * sign).permute(3, 2, 0, 1).contiguous()
        bias = self.w[f"{name}__bias"] * sign
        frames = x.shape[2] - kernel.shape[2] + 1
        blocks = [
            F.conv2d(x[:, :, s : min(s + BLOCK, frames) + kernel.shape[2] - 1], kernel, bias).amax(
                3
            )
            for s in range(0, frames, BLOCK)
        ]
        return self._bn(F.relu(torch.cat(blocks, 2) * sign[:, None]), index + 1)

    def feature_map(self, mel: Tensor) -> Tensor:
        """Run front and middle of the network.

        Parameters
        ----------
        mel : Tensor [shape=(batch, frames, 96)]

        Returns
        -------
        Tensor [shape=(batch, 753, frames)]
        """
        x = self._bn(mel[:, None], 0)
        front = []
        padded = F.pad(x, (0, 0, 3, 3))
        for i in (0, 1):
            front.append(self._front(padded, i))
        for i, length in ((2, 128), (3, 64), (4, 32)):
            before = (length - 1) // 2
            padded = F.pad(x, (0, 0, before, length - 1 - before))
            front.append(self._front(padded, i))
        maps = [torch.cat(front, 1)]
        for i in (5, 6, 7):
            name = f"conv2d_{i}"
            kernel = self.w[f"{name}__kernel"][:, :, 0].permute(2, 1, 0).contiguous()
            y = F.relu(F.conv1d(maps[-1], kernel, self.w[f"{name}__bias"], padding=3))
            y = self._bn(y, i + 1)
            maps.append(y if i == 5 else y + maps[-1])
        return torch.cat(maps, 1)

    def dense(self, maps: Tensor) -> Tensor:
        """Give the dense layer, before its ReLU, of maps [shape=(batch, 753, frames)]."""
        flat = torch.stack([maps.amax(2), maps.mean(2)], 2).flatten(1)
        return self._bn(flat, 9) @ self.w["dense__kernel"] + self.w["dense__bias"]

    @torch.inference_mode()
    def patches(self, y: np.ndarray) -> Tensor:
        """Give the vectors of consecutive 3 s patches, each run alone, as musicnn itself does.

        Returns
        -------
        Tensor [shape=(patches, 200)]

        Raises
        ------
        UnusableAudioError
            If it is shorter than a patch.
        """
        mel = torch.from_numpy(log_mel(y))
        starts = range(0, len(mel) - PATCH_FRAMES + 1, PATCH_FRAMES)
        if not starts:
            raise UnusableAudioError("too short for the teacher")
        return self.dense(
            self.feature_map(torch.stack([mel[s : s + PATCH_FRAMES] for s in starts]))
        )

    @torch.inference_mode()
    def windows(self, y: np.ndarray, starts_s: np.ndarray, length_s: float) -> Tensor:
        """Give the vectors of any windows of a song, its maps computed once.

        Parameters
        ----------
        y : np.ndarray [shape=(n,)], 16 kHz
        starts_s : np.ndarray [shape=(windows,)]
        length_s : float

        Returns
        -------
        Tensor [shape=(windows, 200)]
        """
        maps = self.feature_map(torch.from_numpy(log_mel(y))[None])[0]
        size = round(length_s * RATE_HZ / HOP)
        first = np.minimum(np.round(starts_s * RATE_HZ / HOP).astype(int), maps.shape[1] - size)
        return self.dense(torch.stack([maps[:, s : s + size] for s in first]))


def vector_of(path: Path, teacher: Teacher) -> np.ndarray:
    """Return a file's mean patch vector [shape=(200,), dtype=float32].

    Raises
    ------
    SongError
        If the file cannot be decoded or is too short.
    """
    samples, _ = load_audio(path)
    heard = soxr.resample(samples, RECIPE.sample_rate_hz, RATE_HZ, quality="HQ")
    return teacher.patches(heard).mean(0).numpy().astype(np.float32)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("weights", type=Path, help="from export_teacher.py")
    parser.add_argument("songs", type=Path, help="folder of audio files")
    parser.add_argument("out", type=Path, help=".npz with `songs` and `vectors`")
    return parser


def write_vectors(args: argparse.Namespace) -> int:
    """Write the mean patch vector of every song of a folder; return the exit status."""
    teacher = Teacher(args.weights)
    names, vectors = [], []
    found = (path for path in args.songs.rglob("*") if path.suffix.lower() in AUDIO_ENDINGS)
    for path in tqdm.tqdm(sorted(found)):
        try:
            vector = vector_of(path, teacher)
        except SongError as error:
            print(f"left out {path}: {error}", file=sys.stderr)
            continue
        names.append(path.relative_to(args.songs).with_suffix("").as_posix())
        vectors.append(vector)
    with atomic_path(args.out) as temporary, temporary.open("wb") as file:
        np.savez(file, songs=np.array(names), vectors=np.array(vectors))
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(write_vectors, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
