"""Labels to arrays, arrays to a trained network."""

import json
import math
import os
import signal
import time

import numpy as np
import pytest
import torch
from PIL import Image

import model
from songrec.learning import plots
from songrec.learning import trainer as training
from songrec.learning.accuracy import interval_95
from songrec.learning.arrays import open_arrays
from songrec.learning.augmentation import SpectrogramMasks
from songrec.learning.plots import draw_confusion
from songrec.learning.settings import TrainingSettings
from songrec.store.database import Database
from tests.models import write_model
from tests.running import Run, run_script
from tests.training_data import LIGHT, load, train


@pytest.mark.slow
def test_the_designs_network_trains(train_db, tmp_path):
    """One epoch of the default architecture, as `-m Train` does without flags."""
    load(train_db, "--size", "0.75")
    done = train(train_db, tmp_path / "model.pt", "--epochs", "1", "-j", "1")
    assert done.returncode == 0, done.stderr
    shown = run_script("summary.py", "--model", tmp_path / "model.pt")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"{tmp_path / 'model.pt'}: ResidualCNN with 2 classes (genre)")
    assert "classifier: 8,017,594 parameters, 993 million multiply-adds a slice" in shown.stdout
    assert "embedder: 8,017,512 parameters" in shown.stdout
    assert max(map(len, shown.stdout.splitlines()[1:])) <= 100


def test_masks_hide_at_most_a_part_and_differ_by_picture():
    torch.manual_seed(0)
    x = torch.ones(64, 1, 128, 128)
    masked = SpectrogramMasks()(x)
    hidden = (masked == 0).float().mean(dim=(1, 2, 3))
    assert hidden.max() < 0.35 and hidden.max() > 0 and len(hidden.unique()) > 10
    assert (x == 1).all()


@pytest.mark.slow
def test_training_learns_and_writes_its_figures(train_db, tmp_path):
    load(train_db, "--split", "official")
    out = tmp_path / "out/model.pt"
    done = train(train_db, out, *LIGHT, "--epochs", "16", "--batch-size", "8")
    assert done.returncode == 0, done.stderr
    figures = json.loads((out.parent / "model/metrics.json").read_text())
    assert figures["history"][-1]["train_loss"] < 0.8 * figures["history"][0]["train_loss"]
    assert figures["valid"]["accuracy_songs"] >= 5 / 6
    assert figures["best_epoch_chosen_by"] == "valid songs"
    assert figures["test"]["n_songs"] == 6 and figures["test"]["chance"] == 0.5
    assert f"{figures['test']['accuracy_songs']:.1%} of 6 songs" in done.stdout
    content = torch.load(out, weights_only=True)
    assert content["classes"] == ["genre 0", "genre 1"]
    assert content["settings"]["epochs"] == 16
    for name in ("loss", "accuracy", "confusion_valid", "confusion_test"):
        with Image.open(out.parent / f"model/{name}.png") as picture:
            assert min(picture.size) > 300
            assert len(np.unique(np.asarray(picture.convert("L")))) > 5


@pytest.mark.parametrize("has_bfloat16", [False, True])
def test_a_cpu_computes_in_the_format_it_is_fast_in(train_db, tmp_path, monkeypatch, has_bfloat16):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bfloat16})
    monkeypatch.setattr(training, "pick_device", lambda: torch.device("cpu"))
    # The first stages are enough. (With widths of 8 and 16, torch 2.13 crashes in float32 here.)
    few = {**model.ARCHITECTURES["StridedCNN"], "widths": [24, 48], "n_blocks": [0, 1]}
    monkeypatch.setitem(model.ARCHITECTURES, "StridedCNN", few)
    load(train_db, "--size", "0.75")
    settings = TrainingSettings(architecture="StridedCNN", epochs=6, batch_size=8)
    data = open_arrays(Database.training(train_db))
    trainer = training.Trainer(data, settings, tmp_path / "checkpoint.pt", n_threads=1)
    formats = set()
    for layer in trainer.classifier.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(
                lambda layer, _, out: formats.add(out.dtype) if layer.training else None
            )
    while not trainer.is_finished:
        trainer.run_epoch(quiet=True)
    assert formats == {torch.bfloat16 if has_bfloat16 else torch.float32}
    assert {weight.dtype for weight in trainer.classifier.parameters()} == {torch.float32}
    losses = [figures["train_loss"] for figures in trainer.history]
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.slow
def test_resumed_after_a_kill_it_ends_as_if_undisturbed(train_db, tmp_path):
    load(train_db, "--size", "0.75")
    flags = [*LIGHT, "--epochs", "6", "--batch-size", "16"]
    whole = train(train_db, tmp_path / "whole/model.pt", *flags)
    assert whole.returncode == 0, whole.stderr
    assert "optimistic" in whole.stdout

    out = tmp_path / "killed/model.pt"
    state = out.parent / "model/checkpoint.pt"
    words = ["-m", "Train", "--data", train_db, "--model", out, *flags]
    process = Run("recommender.py", *words)
    while not state.exists():
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    other = train(train_db, out, *flags, "--resume", "--batch-size", "8")
    assert other.returncode == 1 and "batch_size" in other.stderr
    done = train(train_db, out, *flags, "--resume")
    assert done.returncode == 0, done.stderr
    weights = [
        torch.load(p, weights_only=True)["weights"] for p in (tmp_path / "whole/model.pt", out)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.slow
def test_interrupted_training_says_how_to_go_on(train_db, tmp_path):
    load(train_db)
    out = tmp_path / "out/model.pt"
    words = ["-m", "Train", "--data", train_db, "--model", out, *LIGHT, "--epochs", "50"]
    process = Run("recommender.py", *words, "--batch-size", "8")
    while not (out.parent / "model/checkpoint.pt").exists():
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130
    assert "--resume" in told and "Traceback" not in told


def test_training_that_cannot_start_says_why(data, train_db, tmp_path):
    out = tmp_path / "out/model.pt"
    cases = [
        ([], "load_training_data.py"),
        (["--resume"], "nothing to resume"),
        (
            [*LIGHT, "--learning-rate", "1e30", "--epochs", "3", "--batch-size", "8"],
            "--learning-rate",
        ),
    ]
    for number, (flags, told) in enumerate(cases):
        if number == 1:
            load(train_db)
        done = train(train_db, out, *flags)
        assert done.returncode == 1, done.stderr
        assert told in done.stderr and "Traceback" not in done.stderr
    # One batch an epoch: its loss is finite, that of the weights it leaves is not.
    burst = [*LIGHT, "--learning-rate", "1e30", "--epochs", "1"]
    for split in (["--split", "official"], []):  # with and without songs to choose the epoch by
        load(train_db, *split)
        diverged = train(train_db, out, *burst)
        assert diverged.returncode == 1 and "--learning-rate" in diverged.stderr, split
        assert not out.exists()
    single = train(train_db, out, "--batch-size", "1")
    assert single.returncode == 2 and "2 or more" in single.stderr
    out.parent.joinpath("model").mkdir(parents=True, exist_ok=True)
    (out.parent / "model/checkpoint.pt").write_bytes(b"junk")
    damaged = train(train_db, out, *LIGHT, "--resume")
    assert damaged.returncode == 1 and "damaged" in damaged.stderr
    write_model(out.parent / "model/checkpoint.pt")
    mistaken = train(train_db, out, *LIGHT, "--resume")
    assert mistaken.returncode == 1 and "Traceback" not in mistaken.stderr
    assert "not the state of a stopped training" in mistaken.stderr
    advised = mistaken.stderr.partition("run: ")[2]
    assert "-m Train" in advised and "--resume" not in advised
    refused = train(train_db, out, "--epochs", "0")
    assert refused.returncode == 2
    mark = train_db / "train_db/arrays/recipe.json"
    mark.write_text(mark.read_text().replace('"digest": "', '"digest": "old'))
    done = train(train_db, out)
    assert done.returncode == 1 and "load_training_data.py --data" in done.stderr
    assert done.stderr.endswith("--size 0.8 --force\n")


def test_a_model_that_is_replaced_is_kept(train_db, tmp_path):
    load(train_db, "--size", "0.75")
    out = write_model(tmp_path / "model.pt")
    shipped = out.read_bytes()
    flags = [*LIGHT, "--epochs", "1"]
    first = train(train_db, out, *flags)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "model.pt.bak").read_bytes() == shipped != out.read_bytes()
    assert f"the model that was there is now {out}.bak" in first.stderr
    trained = out.read_bytes()
    again = train(train_db, out, *flags)
    assert f"is now {out}.bak (the one kept before is gone)" in again.stderr
    assert (tmp_path / "model.pt.bak").read_bytes() == trained


def test_a_dollar_in_a_name_is_drawn_as_a_letter(tmp_path):
    measured = {"confusion_songs": [[1, 0], [0, 1]]}
    draw_confusion(measured, ["$100_a_b$", "$uicideboy$"], tmp_path / "x.png", "by artist")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.format == "PNG"


def test_accuracy_is_drawn_from_0_to_1_above_chance(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(plots, "save_plot", lambda figure, path: drawn.update({path.stem: figure}))
    epoch = {"epoch": 1, "train_loss": 1.0, "train_accuracy_slices": 0.6}
    figures = {"history": [epoch], "classes": ["a", "b", "c", "d"], "label": "genre"}
    plots.draw_curves({**figures, "best_epoch": 1}, tmp_path)
    axes = drawn["accuracy"].axes[0]
    assert axes.get_ylim() == (0, 1)
    chance = {line.get_label(): line for line in axes.get_lines()}["chance"]
    assert set(chance.get_ydata()) == {0.25}


def test_the_interval_is_the_one_that_wilson_published():
    # Newcombe, Statistics in Medicine 1998, table I: 81 of 263 and 0 of 20.
    assert interval_95(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert interval_95(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    low, high = interval_95(10, 10)
    assert math.isclose(high, 1.0) and 0.7 < low < 0.75
