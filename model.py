"""The network, and nothing else: residual CNNs that classify slices of music.

A slice is a grey picture [shape=(1, n_mels, n_frames)] with values 0 (80 dB below the song's
loudest point) to 1. Trained as a classifier of labels; without its last Linear layer it is
the embedder, whose output is the latent feature vector that songs are compared by.
"""

from typing import Any

import torch
from torch import nn

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "ResidualCNN": {"name": "ResidualCNN", "widths": [64, 64, 128, 256, 512], "n_latent": 40},
    "StridedCNN": {
        "name": "StridedCNN",
        "widths": [24, 48, 96, 160, 256],
        "n_blocks": [0, 1, 1, 2, 2],
        "n_bands": 4,
        "n_latent": 128,
    },
}


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions whose result is added to their input (He et al., CVPR 2016).

    The block only has to learn what to change, so that depth does not hinder training.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return an output of the input's shape [shape=(n, width, rows, columns)]."""
        return torch.relu(x + self.change(x))


def conv_stage(n_in: int, width: int) -> nn.Sequential:
    """Look at more, in less detail: widen to `width` channels, halve rows and columns, refine."""
    return nn.Sequential(
        nn.Conv2d(n_in, width, kernel_size=3, padding=1),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        # ceil_mode lets slices of any length through, down to a single column.
        nn.AvgPool2d(kernel_size=2, ceil_mode=True),
        ResidualBlock(width),
    )


class ResidualCNN(nn.Module):
    """Five stages, a 2x2 summary of where things are, a short latent vector, the classes.

    Parameters
    ----------
    n_classes
        Number of labels.
    widths
        Channels of each stage. 128x128 pixels come out of the fifth as 4x4.
    n_latent
        Length of the latent feature vector.
    """

    def __init__(self, n_classes: int, widths: list[int], n_latent: int) -> None:
        super().__init__()
        inputs = [1, *widths[:-1]]
        self.features = nn.Sequential(
            *(conv_stage(n_in, width) for n_in, width in zip(inputs, widths, strict=True))
        )
        # 2x2 keeps low apart from high and early from late, whatever the slice's length.
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.latent = nn.Linear(4 * widths[-1], n_latent)
        self.classify = nn.Linear(n_latent, n_classes)

    def embedder(self) -> nn.Sequential:
        """Return the network without its last Linear layer; the weights are shared."""
        return nn.Sequential(self.features, self.pool, nn.Flatten(), self.latent)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [shape=(n, n_classes)] of slices [shape=(n, 1, rows, columns)]."""
        pooled = self.pool(self.features(x)).flatten(start_dim=1)
        logits: torch.Tensor = self.classify(self.latent(pooled))
        return logits


class Standardise(nn.Module):
    """Shift and scale pixels (0..1) to about mean 0 and spread 1."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return standardised pictures of the input's shape."""
        return (x - 0.45) / 0.25


class StridedBlock(nn.Module):
    """A residual block that may also halve rows and columns, then with a shortcut to match."""

    def __init__(self, n_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or n_in != width:
            self.shortcut = nn.Sequential(
                nn.Conv2d(n_in, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `width` channels; half the rows and columns with stride 2."""
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class MeanMaxPool(nn.Module):
    """Summarise each of `n_bands` ranges of rows by its mean and its maximum."""

    def __init__(self, n_bands: int) -> None:
        super().__init__()
        self.mean = nn.AdaptiveAvgPool2d((n_bands, 1))
        self.max = nn.AdaptiveMaxPool2d((n_bands, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [shape=(n, 2 * channels * n_bands)]."""
        return torch.cat([self.mean(x), self.max(x)], dim=1).flatten(start_dim=1)


class UnitLength(nn.Module):
    """Scale each vector to length 1, so that every slice weighs the same in a song's mean."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return vectors of length 1 [shape=(n, n_latent)]."""
        return nn.functional.normalize(x)


class StridedCNN(nn.Module):
    """A lighter residual CNN: strides instead of pooling take a sixth of the multiply-adds.

    Parameters
    ----------
    n_classes
        Number of labels.
    widths
        Channels of each stage; each halves rows and columns.
    n_blocks
        Residual blocks of each stage; 0 stands for one plain 5x5 convolution.
    n_bands
        Ranges of frequency that are summarised apart.
    n_latent
        Length of the latent feature vector.
    """

    def __init__(
        self, n_classes: int, *, widths: list[int], n_blocks: list[int], n_bands: int, n_latent: int
    ) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        n_in = 1
        for width, count in zip(widths, n_blocks, strict=True):
            if count == 0:
                conv = nn.Conv2d(n_in, width, 5, stride=2, padding=2, bias=False)
                stages.append(nn.Sequential(conv, nn.BatchNorm2d(width), nn.ReLU()))
            for number in range(count):
                stages.append(
                    StridedBlock(width if number else n_in, width, stride=1 if number else 2)
                )
            n_in = width
        self.standardise = Standardise()
        self.features = nn.Sequential(*stages)
        self.pool = MeanMaxPool(n_bands)
        self.norm = nn.BatchNorm1d(2 * n_bands * widths[-1])
        self.latent = nn.Linear(2 * n_bands * widths[-1], n_latent)
        self.unit_length = UnitLength()
        self.classify = nn.Linear(n_latent, n_classes)
        # Unit vectors alone would give logits too small to be sure of anything.
        nn.init.normal_(self.classify.weight)

    def embedder(self) -> nn.Sequential:
        """Return the network without its last Linear layer; the weights are shared."""
        return nn.Sequential(
            self.standardise, self.features, self.pool, self.norm, self.latent, self.unit_length
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [shape=(n, n_classes)] of slices [shape=(n, 1, rows, columns)]."""
        logits: torch.Tensor = self.classify(self.unit_length(self.latent_of(x)))
        return logits

    def latent_of(self, x: torch.Tensor) -> torch.Tensor:
        """Return latent vectors before their length is made 1 [shape=(n, n_latent)]."""
        features = self.features(self.standardise(x))
        latent: torch.Tensor = self.latent(self.norm(self.pool(features)))
        return latent


Network = ResidualCNN | StridedCNN


def build(architecture: dict[str, Any], n_classes: int) -> Network:
    """Build the network that `architecture` (kept in `model.pt`) describes.

    Raises
    ------
    ValueError
        If the name is not known to this version.
    """
    sizes = dict(architecture)
    name = sizes.pop("name")
    for kind in (ResidualCNN, StridedCNN):
        if name == kind.__name__:
            return kind(n_classes, **sizes)
    raise ValueError(f"unknown architecture {name!r}")
