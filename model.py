"""The network, and nothing else: a residual CNN that tells slices of music apart.

A slice is a grey picture [shape=(1, n_mels, n_frames)] with values 0 (80 dB below the song's
loudest point) to 1. Trained as a classifier of labels; without its last Linear layer it is
the embedder, whose output is the latent feature vector that songs are compared by.
"""

from typing import Any

import torch
from torch import nn

DEFAULT_ARCHITECTURE = {"name": "ResidualCNN", "widths": [64, 64, 128, 256, 512], "n_latent": 40}


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
        How many labels it tells apart.
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
        return self.classify(self.latent(pooled))


def build(architecture: dict[str, Any], n_classes: int) -> ResidualCNN:
    """Build the network that `architecture` (kept in `model.pt`) describes.

    Raises
    ------
    ValueError
        If the name is not known to this version.
    """
    sizes = dict(architecture)
    name = sizes.pop("name")
    if name != "ResidualCNN":
        raise ValueError(f"unknown architecture {name!r}")
    return ResidualCNN(n_classes, **sizes)
