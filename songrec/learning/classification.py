"""How well the trained network classifies songs that it was not trained on."""

from pathlib import Path
from typing import Any

import numpy as np

from songrec.errors import LabelError
from songrec.learning.accuracy import interval_95, measure
from songrec.learning.arrays import WITH_TEST_SONGS, open_arrays
from songrec.learning.plots import draw_confusion
from songrec.network.checkpoint import load_model
from songrec.network.device import pick_device
from songrec.network.modelfile import TRAIN_ONE
from songrec.store.database import Database


def classify_test_songs(database: Database, model_path: Path, plot: Path | None) -> dict[str, Any]:
    """Measure `model.pt` on the test songs of the arrays; draw their confusion if asked.

    Raises
    ------
    LabelError
        If there are no test songs, or the model has other classes.
    ModelError, RecipeMismatchError
        As `load_model` does.
    """
    data = open_arrays(database)
    if data.test is None:
        raise LabelError("the arrays hold no test songs", WITH_TEST_SONGS)
    trained = load_model(model_path)
    if (trained.label, trained.classes) != (data.label, data.classes):
        raise LabelError(
            f"{model_path} classifies {trained.label}s {trained.classes[:5]}, the arrays hold "
            f"{data.label}s {data.classes[:5]}; train a model on them",
            TRAIN_ONE,
        )
    device = pick_device()
    measured = measure(trained.classifier.to(device), data.test, device)
    figures = measured.as_figures(data.classes)
    right = np.diag(measured.confusion)
    totals = measured.confusion.sum(axis=1)
    # With other arrays, or a model that does not say, test songs may have been training songs.
    figures["trained_on_these_arrays"] = trained.metrics.get("data_digest") == data.digest
    figures["per_class"] = {
        name: {"right": int(n_right), "n_songs": int(n), "interval_95": interval_95(n_right, n)}
        for name, n_right, n in zip(data.classes, right.tolist(), totals.tolist(), strict=True)
        if n
    }
    if plot:
        draw_confusion(figures, data.classes, plot, f"test songs by {data.label}")
    return figures


def classification_text(figures: dict[str, Any]) -> str:
    """Return the figures in a few lines."""
    low, high = figures["accuracy_songs_95"]
    lines = [
        f"songs   {figures['accuracy_songs']:.1%} of {figures['n_songs']} right "
        f"(95 % interval {low:z.1%} to {high:.1%})",
        f"slices  {figures['accuracy_slices']:.1%} of {figures['n_slices']}",
        f"chance  {figures['chance']:.1%}; always the commonest class "
        f"{figures['always_the_commonest_class']:.1%}",
    ]
    if not figures["trained_on_these_arrays"]:
        lines.append(
            "the model was not trained on these arrays: if any of the test songs was among its "
            "training songs, it looks better here than it is"
        )
    for name, of_class in figures["per_class"].items():
        low, high = of_class["interval_95"]
        lines.append(
            f"  {name}: {of_class['right']} of {of_class['n_songs']} ({low:z.0%} to {high:.0%})"
        )
    return "\n".join(lines)
