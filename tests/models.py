"""Models that were never trained."""

import torch

import model
from songrec.network.checkpoint import TrainedModel, save_model

ARCHITECTURE = {
    "name": "StridedCNN",
    "widths": [8, 16, 32],
    "n_blocks": [1, 1, 1],
    "n_bands": 2,
    "n_latent": 24,
}


def write_model(path, seed=0, architecture=None):
    """A network that was never trained still maps like to like."""
    architecture = architecture or ARCHITECTURE
    torch.manual_seed(seed)
    network = model.build(architecture, 3)
    save_model(path, TrainedModel(network, architecture, "genre", ["a", "b", "c"], {}, {}))
    return path


def write_classifier(path, label, classes):
    architecture = ARCHITECTURE
    network = model.build(architecture, len(classes))
    save_model(path, TrainedModel(network, architecture, label, classes, {}, {}))
