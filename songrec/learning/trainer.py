"""The training: epochs over the arrays, the best one kept, a state to resume from."""

import dataclasses
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tqdm
from torch.nn import functional

import model as network
from songrec.advice import again
from songrec.errors import TrainingError
from songrec.files import atomic_path, remove_stale_parts
from songrec.learning.accuracy import Measured, measure
from songrec.learning.arrays import SplitArrays, TrainingData
from songrec.learning.augmentation import SpectrogramMasks
from songrec.learning.settings import TrainingSettings
from songrec.network.checkpoint import LOAD_ERRORS, serialised
from songrec.network.device import half_precision, pick_device, to_channels_last, to_input
from songrec.runs.progress import redraw_interval_s

_FOCAL_GAMMA = 2.0
_START_ANEW = again(without=("--resume",))


class Trainer:
    """Trains one network; `run_epoch` until `is_finished`, then `finish`.

    Each epoch's order and masks come from the seed and the epoch's number alone, so that a
    resumed training ends where an undisturbed one does.

    Parameters
    ----------
    state_path
        Where `save_state` keeps the last whole epoch.
    """

    def __init__(
        self, data: TrainingData, settings: TrainingSettings, state_path: Path, *, n_threads: int
    ) -> None:
        torch.set_num_threads(n_threads)
        self.data = data
        self.settings = settings
        self.state_path = state_path
        self.device = pick_device()
        self.architecture: dict[str, Any] = network.ARCHITECTURES[settings.architecture]
        torch.manual_seed(settings.seed)
        classifier = network.build(self.architecture, len(data.classes)).to(self.device)
        self.classifier = to_channels_last(classifier)
        self.optimizer = self._new_optimizer()
        self.history: list[dict[str, float]] = []
        self.best_epoch = 0
        self._best_score = -math.inf
        self._best_weights: dict[str, torch.Tensor] = {}
        self._masks = SpectrogramMasks() if settings.augment else None
        self._half = half_precision(self.device)
        scaled = self._half == torch.float16
        self._scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)

    @property
    def is_finished(self) -> bool:
        """Return whether all epochs are done."""
        return len(self.history) >= self.settings.epochs

    @property
    def chooser(self) -> SplitArrays | None:
        """The songs by which the best epoch is chosen: valid, else test, else none."""
        return self.data.valid or self.data.test

    def run_epoch(self, *, quiet: bool) -> None:
        """Train one epoch, measure, and append the figures to `history`.

        Raises
        ------
        TrainingError
            If the loss is no longer a finite number.
        """
        start_s = time.monotonic()
        epoch = len(self.history) + 1
        torch.manual_seed(self.settings.seed * 100_003 + epoch)
        train = self.data.train
        order = np.random.default_rng((self.settings.seed, epoch)).permutation(len(train.y))
        loss_sum, n_right, n_seen = 0.0, 0, 0
        self.classifier.train()
        description = f"epoch {epoch}/{self.settings.epochs}"
        with tqdm.tqdm(
            total=len(order),
            desc=description,
            unit="slice",
            disable=quiet,
            mininterval=redraw_interval_s(),
        ) as bar:
            for start in range(0, len(order), self.settings.batch_size):
                # Sorted, a batch reads the memory map in one direction.
                rows = np.sort(order[start : start + self.settings.batch_size])
                if len(rows) == 1 < len(order):
                    continue  # a batch of one has no spread for BatchNorm to norm by
                loss, right = self._step(train.x[rows], train.y[rows])
                loss_sum += loss * len(rows)
                n_right += right
                n_seen += len(rows)
                bar.update(len(rows))
                bar.set_postfix(loss=f"{loss_sum / n_seen:.3f}", accuracy=f"{n_right / n_seen:.3f}")
            figures = {
                "epoch": epoch,
                "train_loss": loss_sum / n_seen,
                "train_accuracy_slices": n_right / n_seen,
            }
            if self.chooser is not None:
                measured = self._measure(self.chooser)
                if not math.isfinite(measured.loss):
                    raise self._diverged()
                figures["loss"] = measured.loss
                figures["accuracy_slices"] = measured.accuracy_slices
                figures["accuracy_songs"] = measured.accuracy_songs
                bar.set_postfix(
                    loss=f"{loss_sum / n_seen:.3f}",
                    accuracy=f"{n_right / n_seen:.3f}",
                    songs=f"{measured.accuracy_songs:.3f}",
                )
            elif not self._gives_numbers(train.x[rows]):
                raise self._diverged()
        figures["seconds"] = time.monotonic() - start_s
        self.history.append(figures)
        self._keep_best(figures)

    def _step(self, slices: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
        """Make one step of the optimizer; return the batch's mean loss and how many are right."""
        x = to_input(slices, self.device)
        y = torch.from_numpy(labels).to(self.device)
        if self._masks is not None:
            x = self._masks(x)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, self._half, enabled=self._half is not None):
            logits = self.classifier(x)
            loss = _LOSSES[self.settings.loss](logits.float(), y)
        if not torch.isfinite(loss):
            raise self._diverged()
        torch.autograd.backward(self._scaler.scale(loss))
        self._scaler.step(self.optimizer)
        self._scaler.update()
        return loss.item(), int((logits.argmax(dim=1) == y).sum().item())

    @torch.inference_mode()
    def _gives_numbers(self, slices: np.ndarray) -> bool:
        """Return whether the network, after its last step, still gives finite numbers."""
        self.classifier.eval()
        return bool(torch.isfinite(self.classifier(to_input(slices, self.device))).all())

    def _diverged(self) -> TrainingError:
        return TrainingError(
            "the loss is no longer a finite number; train with a smaller --learning-rate "
            f"than {self.settings.learning_rate}"
        )

    def _new_optimizer(self) -> torch.optim.Optimizer:
        weights = self.classifier.parameters()
        rate, decay = self.settings.learning_rate, self.settings.weight_decay
        if self.settings.optimizer == "sgd":
            return torch.optim.SGD(weights, rate, momentum=0.9, weight_decay=decay)
        return torch.optim.AdamW(weights, rate, weight_decay=decay)

    def _keep_best(self, figures: dict[str, float]) -> None:
        """Keep the weights of the best epoch; without songs to choose by, those of the last."""
        # With few songs many epochs tie; then the loss decides.
        score = figures.get("accuracy_songs", 0.0) - 1e-6 * figures.get("loss", 0.0)
        if self.chooser is None or score > self._best_score:
            self._best_score = score
            self.best_epoch = int(figures["epoch"])
            self._best_weights = {
                name: tensor.detach().cpu().clone()
                for name, tensor in self.classifier.state_dict().items()
            }

    def save_state(self) -> None:
        """Write all that is needed to go on after the last epoch."""
        remove_stale_parts(self.state_path.parent)
        with atomic_path(self.state_path) as part:
            part.write_bytes(serialised(self._state()))

    def _state(self) -> dict[str, Any]:
        return {
            "settings": dataclasses.asdict(self.settings),
            "data_digest": self.data.digest,
            "classifier": self.classifier.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self._scaler.state_dict(),
            "history": self.history,
            "best_epoch": self.best_epoch,
            "best_score": self._best_score,
            "best_weights": self._best_weights,
        }

    def load_state(self) -> None:
        """Go back to the last whole epoch of an interrupted training.

        Raises
        ------
        TrainingError
            If there is none, or it is not one, or it is of other settings or other arrays.
        """
        try:
            state = torch.load(self.state_path, map_location=self.device, weights_only=True)
        except FileNotFoundError as error:
            raise TrainingError(
                f"there is nothing to resume: {self.state_path} is missing", _START_ANEW
            ) from error
        except LOAD_ERRORS as error:
            raise TrainingError(f"{self.state_path} is damaged", _START_ANEW) from error
        if not isinstance(state, dict) or state.keys() != self._state().keys():
            raise TrainingError(
                f"{self.state_path} is not the state of a stopped training", _START_ANEW
            )
        mine = dataclasses.asdict(self.settings)
        changed = [name for name in mine if mine[name] != state["settings"].get(name)]
        if "epochs" in changed and self.settings.epochs >= len(state["history"]):
            changed.remove("epochs")
        if changed or state["data_digest"] != self.data.digest:
            what = ", ".join(changed) or "the arrays"
            raise TrainingError(
                f"the stopped training differs in {what}: use the same flags, or start again",
                _START_ANEW,
            )
        self.classifier.load_state_dict(state["classifier"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._scaler.load_state_dict(state["scaler"])
        self.history = state["history"]
        self.best_epoch = state["best_epoch"]
        self._best_score = state["best_score"]
        self._best_weights = {name: w.cpu() for name, w in state["best_weights"].items()}

    def finish(self) -> dict[str, Any]:
        """Put the best epoch's weights in place; return all figures of the training.

        The test songs are measured here, once, unless there were no others to choose the best
        epoch by; then the figures say so.
        """
        self.classifier.load_state_dict(self._best_weights)
        chosen_by = "none: the last epoch is kept"
        if self.data.valid is not None:
            chosen_by = "valid songs"
        elif self.data.test is not None:
            chosen_by = "test songs, so their accuracy is optimistic"
        songs_per_split = self.data.songs.groupby("split").size()
        figures: dict[str, Any] = {
            "label": self.data.label,
            "classes": self.data.classes,
            "data_digest": self.data.digest,
            "n_songs": {str(split): int(n) for split, n in songs_per_split.items()},
            "n_parameters": sum(p.numel() for p in self.classifier.parameters()),
            "settings": dataclasses.asdict(self.settings),
            "device": self.device.type,
            "precision": str(self._half or torch.float32).removeprefix("torch."),
            "best_epoch": self.best_epoch,
            "best_epoch_chosen_by": chosen_by,
            "history": self.history,
        }
        for name in ("valid", "test"):
            split: SplitArrays | None = getattr(self.data, name)
            if split is not None:
                figures[name] = self._measure(split).as_figures(self.data.classes)
        return figures

    def _measure(self, split: SplitArrays) -> Measured:
        return measure(self.classifier, split, self.device)


def _focal_loss(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Weigh each slice by (1 - p)^2, p its class's probability (Lin et al., ICCV 2017)."""
    log_p = functional.log_softmax(logits, dim=1).gather(1, y.unsqueeze(1)).squeeze(1)
    return -((1.0 - log_p.exp()) ** _FOCAL_GAMMA * log_p).mean()


_LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "cross-entropy": functional.cross_entropy,
    "focal": _focal_loss,
}
