"""Labels to arrays, arrays to a trained network."""

import csv
import json
import math
import os
import signal
import time
import zlib

import numpy as np
import pytest
import torch
from conftest import Run, on_small_disk, run_script, tree, write_tune
from PIL import Image

import model
from songrec.learning import trainer as training
from songrec.learning.arrays import open_arrays
from songrec.learning.augmentation import SpectrogramMasks
from songrec.learning.plots import draw_confusion
from songrec.learning.settings import TrainingSettings
from songrec.learning.statistics import wilson_interval
from songrec.store.database import Database

LIGHT = ["--architecture", "StridedCNN", "-j", "1"]


def write_tracks(data, rows):
    path = data / "train_db/tracks.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["song", "artist", "title", "album", "genre", "split"])
        writer.writerows(rows)


def write_slices(data, song, n_slices=2, grey=0):
    """Slices as the stage before leaves them; what is heard in them does not matter here."""
    folder = data / "train_db/slices" / song
    folder.mkdir(parents=True)
    rng = np.random.default_rng(zlib.crc32(song.encode()))
    for number in range(n_slices):
        picture = rng.integers(0, 60, (128, 128), dtype=np.uint8)
        picture[grey : grey + 40] += 150
        Image.fromarray(picture).save(folder / f"{number:04d}.png")


@pytest.fixture
def train_db(data):
    """Two genres of eight artists with three songs each, told apart by a band of the picture."""
    rows = []
    for number in range(24):
        artist, genre = f"artist {number // 3}", f"genre {number // 3 % 2}"
        split = ["train", "train", "valid", "test"][number // 6]
        song = f"{number:03d}/song {number}"
        rows.append([song, artist, f"song {number}", f"album {number % 6}", genre, split])
        write_slices(data, song, 1 + number % 3, grey=80 * (number // 3 % 2))
    write_tracks(data, rows)
    return data


def load(data, *flags):
    return run_script("load_training_data.py", "--data", data, *flags)


def arrays(data):
    folder = data / "train_db/arrays"
    return {path.stem: np.load(path) for path in folder.glob("*.npy")}


def songs_of(data):
    with (data / "train_db/arrays/songs.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_arrays_hold_every_slice_with_its_song_and_label(train_db):
    done = load(train_db, "--size", "0.75")
    assert done.returncode == 0, done.stderr
    made, songs = arrays(train_db), songs_of(train_db)
    labels = json.loads((train_db / "train_db/arrays/labels.json").read_text())
    assert labels["classes"] == ["genre 0", "genre 1"]
    assert set(made) == {f"{s}_{a}" for s in ("train", "test") for a in ("x", "y", "song")}
    seen = 0
    for split in ("train", "test"):
        x, y, song = made[f"{split}_x"], made[f"{split}_y"], made[f"{split}_song"]
        assert (x.dtype, y.dtype, song.dtype) == (np.uint8, np.int64, np.int64)
        assert x.shape == (len(y), 128, 128) and len(y) == len(song)
        for number in np.unique(song):
            row = songs[number]
            assert row["split"] == split
            folder = train_db / "train_db/slices" / row["song"]
            whole = np.stack([np.asarray(Image.open(p)) for p in sorted(folder.iterdir())])
            assert np.array_equal(x[song == number], whole)
            assert {labels["classes"][k] for k in y[song == number]} == {row["label"]}
            seen += 1
    assert seen == 24
    sides = {}
    for row in songs:
        sides.setdefault(row["artist"], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())
    test_songs = [row["label"] for row in songs if row["split"] == "test"]
    assert sorted(test_songs) == ["genre 0"] * 3 + ["genre 1"] * 3

    before = tree(train_db / "train_db/arrays")
    again = load(train_db, "--size", "0.75")
    assert "24 already there" in again.stderr
    assert tree(train_db / "train_db/arrays") == before
    write_slices(train_db, "new/song", grey=0)
    with (train_db / "train_db/tracks.csv").open("a") as handle:
        handle.write("new/song,new artist,song,,genre 0,\n")
    assert "25 done" in load(train_db, "--size", "0.75").stderr


def test_by_default_all_songs_train_and_a_file_says_so(train_db):
    assert load(train_db).returncode == 0
    made = arrays(train_db)
    assert len(made["test_y"]) == 0 and made["test_x"].shape == (0, 128, 128)
    note = (train_db / "train_db/arrays/NO_TEST_SET.txt").read_text()
    assert "no test set" in note and "--size 0.8" in note


def test_what_the_official_split_would_ignore_is_refused(train_db):
    # Also where it is what would be taken anyway.
    for flag, value in (("--size", "1.0"), ("--size", "0.8"), ("--seed", "0")):
        done = load(train_db, "--split", "official", flag, value)
        assert done.returncode == 2
        assert "no --size, no --seed" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (train_db / "train_db/arrays").exists()


def test_quiet_leaves_the_result(train_db):
    told = "2 genre labels: train 18 songs (36 slices), test 6 songs (12 slices)\n"
    quiet = load(train_db, "--size", "0.75", "-q")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, told, "")
    again = load(train_db, "--size", "0.75")
    assert again.stdout == told
    assert len(again.stderr.strip().splitlines()) == 1 and "24 already there" in again.stderr


def test_the_official_split_is_obeyed(train_db):
    assert load(train_db, "--split", "official").returncode == 0
    made = arrays(train_db)
    counts = {s: len(np.unique(made[f"{s}_song"])) for s in ("train", "valid", "test")}
    assert counts == {"train": 12, "valid": 6, "test": 6}


def test_artist_and_album_labels_are_tested_on_artists_that_train(train_db):
    assert load(train_db, "--label", "artist", "--size", "0.7").returncode == 0
    songs = songs_of(train_db)
    trained = {row["label"] for row in songs if row["split"] == "train"}
    tested = {row["label"] for row in songs if row["split"] == "test"}
    assert len(trained) == 8 and tested and tested <= trained
    assert load(train_db, "--label", "album", "--size", "0.7").returncode == 0
    classes = json.loads((train_db / "train_db/arrays/labels.json").read_text())["classes"]
    # "album 0" by four artists is four albums.
    assert (
        len(classes) == 24 and "artist 0 - album 0" in classes and "artist 2 - album 0" in classes
    )


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (None, "there are no labels"),
        ([], "no song with slices has a genre"),
        ([["000/song 0", "a", "t", "", "", ""]], "no song with slices has a genre"),
        ([["000/song 0", "a", "t", "", "g", ""]], "only one genre"),
        ([["000/song 0", "a", "t", "", "g", "third"]], "unknown split 'third'"),
    ],
)
def test_missing_labels_are_told_in_one_line(train_db, rows, told):
    if rows is None:
        (train_db / "train_db/tracks.csv").unlink()
    else:
        write_tracks(train_db, rows)
    done = load(train_db)
    assert done.returncode == 1
    assert told in done.stderr and "Traceback" not in done.stderr
    assert not (train_db / "train_db/arrays").exists()


def test_a_class_with_one_song_only_trains(train_db):
    write_slices(train_db, "rare")
    with (train_db / "train_db/tracks.csv").open("a") as handle:
        handle.write("rare,someone,rare,,lonely,\n")
    done = load(train_db, "--size", "0.75")
    assert done.returncode == 0
    assert "lonely" in done.stderr
    assert [row["split"] for row in songs_of(train_db) if row["label"] == "lonely"] == ["train"]


def test_a_damaged_slice_skips_its_song(train_db):
    (train_db / "train_db/slices/003/song 3/0000.png").write_bytes(b"\x89PNG damaged")
    done = load(train_db, "--size", "0.75")
    assert done.returncode == 0
    assert "23 done, 0 already there, 1 skipped" in done.stderr
    assert len(songs_of(train_db)) == 23


def test_a_song_in_two_formats_is_on_one_side(data):
    rows = []
    for number in range(12):
        rows.append([f"song {number}", "", "", "", f"genre {number % 2}", ""])
        for ending in ("wav", "flac"):
            write_tune(data / f"train_db/songs/song {number}.{ending}", 3.2, seed=number)
    write_tracks(data, rows)
    for script in ("spotify_specs.py", "spotify_slices.py"):
        assert run_script(script, "-m", "Train", "--data", data).returncode == 0
    assert "24 done" in load(data, "--size", "0.5").stderr
    sides = {}
    for row in songs_of(data):
        sides.setdefault(row["song"], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert "24 already there" in load(data, "--size", "0.5").stderr


def test_a_full_disk_is_told_by_arrays_and_training(train_db):
    load_words = ["load_training_data.py", "--data", train_db, "--size", "0.75"]
    done = on_small_disk(train_db, 300, load_words)
    assert done.returncode == 1, done
    assert "the disk is full" in done.stderr and "Traceback" not in done.stderr
    assert ".part" not in done.stdout
    train_db.rmdir()
    train_db.with_name(train_db.name + "-source").rename(train_db)
    load(train_db, "--size", "0.75")
    words = ["recommender.py", "-m", "Train", *LIGHT, "--epochs", "1", "--data", train_db]
    done = on_small_disk(train_db, 2000, [*words, "--model", train_db / "model.pt"])
    assert done.returncode == 1
    assert "the disk is full" in done.stderr and "Traceback" not in done.stderr
    assert ".part" not in done.stdout and "model.pt" not in done.stdout


# --- the network ---------------------------------------------------------------------------


def test_the_network_has_the_sizes_of_the_design():
    network = model.build(model.ARCHITECTURES["ResidualCNN"], 8)
    assert sum(p.numel() for p in network.parameters()) == 8_017_840
    for n_frames in (1, 30, 128, 300):
        slices = torch.zeros(2, 1, 128, n_frames)
        with torch.inference_mode():
            assert network(slices).shape == (2, 8)
            assert network.embedder()(slices).shape == (2, 40)
    x = torch.rand(2, 1, 128, 128)
    network.eval()
    with torch.inference_mode():
        assert torch.allclose(network.classify(network.embedder()(x)), network(x), atol=1e-5)


def test_the_light_network_takes_any_length_and_gives_unit_vectors():
    network = model.build(model.ARCHITECTURES["StridedCNN"], 5).eval()
    for n_frames in (1, 30, 128, 300):
        slices = torch.rand(3, 1, 128, n_frames)
        with torch.inference_mode():
            vectors = network.embedder()(slices)
            assert vectors.shape == (3, 128)
            assert torch.allclose(vectors.norm(dim=1), torch.ones(3), atol=1e-5)
            assert torch.allclose(network.classify(vectors), network(slices), atol=1e-5)


def test_the_designs_network_trains(train_db, tmp_path):
    """One epoch of the default architecture, as `-m Train` does without flags."""
    load(train_db, "--size", "0.75")
    done = train(train_db, tmp_path / "model.pt", "--epochs", "1", "-j", "1")
    assert done.returncode == 0, done.stderr
    shown = run_script("summary.py", "--model", tmp_path / "model.pt")
    assert shown.returncode == 0, shown.stderr
    assert "Total params: 8,017,594" in shown.stdout
    assert "classifier" in shown.stdout and "embedder" in shown.stdout


def test_masks_hide_at_most_a_part_and_differ_by_picture():
    torch.manual_seed(0)
    x = torch.ones(64, 1, 128, 128)
    masked = SpectrogramMasks()(x)
    hidden = (masked == 0).float().mean(dim=(1, 2, 3))
    assert hidden.max() < 0.35 and hidden.max() > 0 and len(hidden.unique()) > 10
    assert (x == 1).all()


def train(data, out, *flags):
    return run_script("recommender.py", "-m", "Train", "--data", data, "--model", out, *flags)


def test_training_learns_and_leaves_its_papers(train_db, tmp_path):
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
    refused = train(train_db, out, "--epochs", "0")
    assert refused.returncode == 2
    mark = train_db / "train_db/arrays/recipe.json"
    mark.write_text(mark.read_text().replace('"digest": "', '"digest": "old'))
    done = train(train_db, out)
    assert done.returncode == 1 and "load_training_data.py --force" in done.stderr


def test_a_dollar_in_a_name_is_drawn_as_a_letter(tmp_path):
    measured = {"confusion_songs": [[1, 0], [0, 1]]}
    draw_confusion(measured, ["$100_a_b$", "$uicideboy$"], tmp_path / "x.png", "by artist")
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.format == "PNG"


def test_wilson_interval_is_the_published_one():
    # Newcombe, Statistics in Medicine 1998, table I: 81 of 263 and 0 of 20.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    low, high = wilson_interval(10, 10)
    assert math.isclose(high, 1.0) and 0.7 < low < 0.75
