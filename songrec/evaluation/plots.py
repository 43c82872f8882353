"""The figures of a comparison as a plot."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from songrec.evaluation.tables import NAMES
from songrec.learning.plots import save_plot


def draw_measures(
    results: dict[str, dict[str, list[float]]], measures: Sequence[str], path: Path
) -> None:
    """Draw [mean, low, high] of each measure of each system as points with intervals."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    for number, (system, of_measure) in enumerate(results.items()):
        shift = (number - (len(results) - 1) / 2) * 0.8 / len(results)
        values = np.array([of_measure[measure] for measure in measures])
        bounds = np.abs(values[:, 1:].T - values[:, 0])
        places = np.arange(len(measures)) + shift
        axes.errorbar(places, values[:, 0], yerr=bounds, fmt="o", capsize=2, label=system)
    names = [NAMES[measure].replace(", ", ",\n") for measure in measures]
    axes.set_xticks(range(len(measures)), names)
    axes.set(ylim=(0, 1), title="higher is better; 95 % intervals by bootstrap over artists")
    axes.grid(axis="y", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=min(len(results), 8))
    save_plot(figure, path)
