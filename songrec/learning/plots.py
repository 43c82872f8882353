"""Plots of a training: curves and the confusion matrix, as PNG."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from songrec.files import atomic_path

_MAX_TICKS = 40


def draw_curves(figures: dict[str, Any], folder: Path) -> None:
    """Draw `loss.png` and `accuracy.png` from the figures of `Trainer.finish`."""
    history = figures["history"]
    epochs = [row["epoch"] for row in history]
    chosen_on = "valid" if "valid" in figures else "test"
    curves = {
        "loss": {"train_loss": "train", "loss": chosen_on},
        "accuracy": {
            "train_accuracy_slices": "train, slices",
            "accuracy_slices": f"{chosen_on}, slices",
            "accuracy_songs": f"{chosen_on}, songs",
        },
    }
    for name, lines in curves.items():
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        axes = figure.subplots()
        for key, label in lines.items():
            if key in history[0]:
                axes.plot(epochs, [row[key] for row in history], marker="o", label=label)
        if name == "accuracy":
            axes.axhline(1.0 / len(figures["classes"]), color="grey", linewidth=1, label="chance")
            axes.set_ylim(0, 1)
        axes.axvline(figures["best_epoch"], color="grey", linestyle=":", label="epoch kept")
        axes.set(xlabel="epoch", ylabel=name, title=f"{name} by epoch ({figures['label']})")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
        save_plot(figure, folder / f"{name}.png")


def draw_confusion(measured: dict[str, Any], classes: list[str], path: Path, title: str) -> None:
    """Draw the confusion matrix of songs: rows the true class, columns the found one."""
    matrix = np.array(measured["confusion_songs"])
    size = max(5.0, 1.5 + 0.45 * min(len(classes), _MAX_TICKS))
    figure = Figure(figsize=(size + 1, size), layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, vmin=0, vmax=1, cmap="Blues")
    figure.colorbar(image, label="share of the class's songs")
    if len(classes) <= _MAX_TICKS:
        # "$" begins a formula for matplotlib; in the name of an artist it is a letter.
        names = [name.replace("$", r"\$") for name in classes]
        axes.set_xticks(range(len(classes)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), names)
        for row, column in np.argwhere(matrix > 0):
            dark = shares[row, column] > 0.5
            axes.text(
                column,
                row,
                matrix[row, column],
                ha="center",
                va="center",
                color="white" if dark else "black",
            )
    axes.set(xlabel="predicted", ylabel="true", title=title)
    save_plot(figure, path)


def save_plot(figure: Figure, path: Path) -> None:
    """Save a figure as PNG, whole or not at all."""
    with atomic_path(path) as part:
        figure.savefig(part, format="png", dpi=110)
