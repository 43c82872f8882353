"""What a training writes: `model.pt`, the figures and the plots in `model/`."""

import json
import shutil
from pathlib import Path
from typing import Any

from songrec.files import atomic_path
from songrec.learning.plots import draw_confusion, draw_curves
from songrec.learning.trainer import Trainer
from songrec.network.checkpoint import TrainedModel, save_model


def write_model(path: Path, trainer: Trainer, figures: dict[str, Any]) -> str:
    """Write `model.pt` from a finished training.

    A model that is there already is kept beside it, as `model.pt.bak`, in place of the one kept
    before.

    Returns
    -------
    str
        A remark about the models that were there before, "" if there was none.
    """
    settings = figures["settings"]
    metrics = {key: value for key, value in figures.items() if key not in {"settings", "classes"}}
    trained = TrainedModel(
        trainer.classifier.cpu(),
        trainer.architecture,
        figures["label"],
        figures["classes"],
        metrics,
        settings,
    )
    remark = _keep_replaced(path)
    save_model(path, trained)
    return remark


def _keep_replaced(path: Path) -> str:
    if not path.is_file():
        return ""
    backup = path.with_name(f"{path.name}.bak")
    remark = f"the model that was there is now {backup}"
    if backup.exists():
        remark += " (the one kept before is gone)"
    with atomic_path(backup, durable=True) as part:
        shutil.copyfile(path, part)
    return remark


def write_report(folder: Path, figures: dict[str, Any]) -> str:
    """Write `metrics.json` and the pictures into `folder`; return a short summary."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "metrics.json") as part:
        text = json.dumps(figures, indent=1, ensure_ascii=False)
        part.write_text(text + "\n", encoding="utf-8")
    draw_curves(figures, folder)
    lines = [
        f"kept epoch {figures['best_epoch']} of {len(figures['history'])} "
        f"(chosen by {figures['best_epoch_chosen_by']})"
    ]
    for split in ("valid", "test"):
        if split in figures:
            title = f"{split} songs by {figures['label']}"
            path = folder / f"confusion_{split}.png"
            draw_confusion(figures[split], figures["classes"], path, title)
            lines.append(_line(split, figures[split]))
    if "test" not in figures:
        lines.append("no test songs: its accuracy on unseen songs is not known")
    return "\n".join(lines)


def _line(split: str, measured: dict[str, Any]) -> str:
    low, high = measured["accuracy_songs_95"]
    return (
        f"{split}: {measured['accuracy_songs']:.1%} of {measured['n_songs']} songs right "
        f"(95 % interval {low:z.1%} to {high:.1%}), {measured['accuracy_slices']:.1%} of "
        f"{measured['n_slices']} slices; chance {measured['chance']:.1%}, "
        f"always the commonest class {measured['always_the_commonest_class']:.1%}"
    )
