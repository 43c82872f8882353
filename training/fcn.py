"""The forward pass of the fully convolutional taggers that the network learns from.

Reads the state dictionary of an FCN (Won et al., SMC 2020; MIT licence) as an ``.npz`` and gives,
for a waveform at 16 kHz, what its third and fourth layers hear over time, what its fifth hears in
29 s, and its tags. Run alone it compares itself with outputs of the original weights:

    python training/fcn.py teachers/msd_fcn.npz teachers/check.npz music/
"""

import argparse
import functools
import sys
from dataclasses import dataclass
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr
import torch
import torch.nn.functional as F
from torch import Tensor

from songrec import cli

RATE_HZ = 16_000
N_FFT, HOP, BANDS = 512, 256, 96
POOLS = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4))
SAMPLES = 29 * RATE_HZ  # what the fifth layer hears as one column
# Frames of the spectrogram that a step of the third and of the fourth layer stands for.
L3_FRAMES, L4_FRAMES = 64, 320
AGREES = 1e-4


@dataclass(frozen=True)
class Heard:
    """What an FCN hears in 29 s.

    Parameters
    ----------
    l3, l4 : Tensor [shape=(steps, 128)]
        Third and fourth layer, averaged over bands.
    l5 : Tensor [shape=(64,)]
    tags : Tensor [shape=(50,)]
        Probabilities.
    """

    l3: Tensor
    l4: Tensor
    l5: Tensor
    tags: Tensor

    @property
    def vector(self) -> Tensor:
        """The vector to compare songs by: three layers, each of unit length, joined."""
        parts = (self.l3.mean(0), self.l4.mean(0), self.l5)
        return torch.cat([F.normalize(part, dim=0) for part in parts])


@functools.cache
def mel_filters() -> Tensor:
    """Return the mel filters [shape=(96, 257)]."""
    filters = librosa.filters.mel(
        sr=RATE_HZ, n_fft=N_FFT, n_mels=BANDS, fmin=0, fmax=RATE_HZ / 2, htk=True, norm=None
    )
    return torch.from_numpy(filters.astype(np.float32))


def level_db(y: Tensor) -> Tensor:
    """Give an FCN's input [shape=(96, frames)] of a waveform at 16 kHz [shape=(n,)]."""
    spectrum = torch.stft(
        y, N_FFT, HOP, window=torch.hann_window(N_FFT), pad_mode="reflect", return_complex=True
    )
    power = spectrum.real**2 + spectrum.imag**2
    return 10 * torch.log10(torch.clamp(mel_filters() @ power, min=1e-10))


class Fcn:
    """An FCN with the weights of one ``.npz``.

    Parameters
    ----------
    weights
        The state dictionary, names as in PyTorch.
    dtype
        What the convolutions compute in. bfloat16 is several times quicker where the processor
        has it, and near enough to learn from (cosine 0.9999).
    """

    def __init__(self, weights: Path, dtype: torch.dtype = torch.float32) -> None:
        with np.load(weights) as stored:
            w = {name: torch.from_numpy(stored[name]) for name in stored.files}
        self._dense = w["dense.weight"], w["dense.bias"]
        gain = w["spec_bn.weight"] / torch.sqrt(w["spec_bn.running_var"] + 1e-5)
        self._input = gain, w["spec_bn.bias"] - gain * w["spec_bn.running_mean"]
        self._dtype = dtype
        self._layers: list[tuple[Tensor, Tensor]] = []
        for number in range(1, len(POOLS) + 1):
            conv, norm = f"layer{number}.conv", f"layer{number}.bn"
            gain = w[f"{norm}.weight"] / torch.sqrt(w[f"{norm}.running_var"] + 1e-5)
            bias = (w[f"{conv}.bias"] - w[f"{norm}.running_mean"]) * gain + w[f"{norm}.bias"]
            kernel = w[f"{conv}.weight"] * gain[:, None, None, None]
            self._layers.append((kernel.to(dtype), bias.to(dtype)))

    @torch.inference_mode()
    def hear(self, y: np.ndarray) -> Heard:
        """Hear a waveform at 16 kHz [shape=(n,)] of 29 s or a little more."""
        spectrogram = level_db(torch.from_numpy(np.ascontiguousarray(y[:SAMPLES], np.float32)))
        x = spectrogram[None, None] * self._input[0] + self._input[1]
        x = x.to(self._dtype, memory_format=torch.channels_last)
        maps = []
        for (kernel, bias), pool in zip(self._layers, POOLS, strict=True):
            x = F.max_pool2d(F.relu(F.conv2d(x, kernel, bias, padding=1)), pool)
            maps.append(x.float())
        l3, l4 = (maps[number][0].mean(1).T for number in (2, 3))
        l5 = maps[4].flatten()
        return Heard(l3, l4, l5, torch.sigmoid(self._dense[0] @ l5 + self._dense[1]))


def farthest_off(name: str, teacher: Fcn, check: Path, music: Path) -> float:
    """Return how far this forward pass is from the outputs in `check`, relative to their size."""
    worst = 0.0
    with np.load(check) as stored:
        for number, clip in enumerate(stored["clips"].tolist()):
            y, rate_hz = soundfile.read(music / clip, dtype="float32", always_2d=True)
            heard = teacher.hear(soxr.resample(y.mean(1), rate_hz, RATE_HZ))
            found = {"emb": heard.l5, "tags": heard.tags, "l4": heard.l4.mean(0)}
            for kind, vector in {**found, "l34": heard.vector}.items():
                right = stored[f"{name}/{kind}/{number}"]
                off = np.abs(vector.numpy() - right).max() / max(1.0, np.abs(right).max())
                worst = max(worst, float(off))
    return worst


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("weights", type=Path)
    parser.add_argument("check", type=Path, help="outputs of the original weights")
    parser.add_argument("music", type=Path, help="folder that the clips' names in it begin from")
    return parser


def check(args: argparse.Namespace) -> int:
    """Compare with the original's outputs; return 1 where they differ."""
    worst = farthest_off(args.weights.stem, Fcn(args.weights), args.check, args.music)
    print(f"{args.weights.name}: at most {worst:.1e} from the original's outputs")
    return 0 if worst < AGREES else 1


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(check, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
