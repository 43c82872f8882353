"""load_training_data.py: slices and labels to arrays."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.running import on_small_disk, run_script, tree
from tests.training_data import LIGHT, arrays, load, songs_of, write_slices, write_tracks
from tests.tunes import write_tune


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


def test_damaged_slices_of_every_song_are_told(train_db):
    for path in (train_db / "train_db/slices").rglob("0000.png"):
        path.write_bytes(b"\x89PNG damaged")
    for _ in range(2):  # the second time, all are skipped as remembered
        done = load(train_db, "--size", "0.75")
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert "no song's slices can be read; the reasons are in" in done.stderr
        assert "spotify_slices.py -m Train" in done.stderr and "--force" in done.stderr
    assert not (train_db / "train_db/arrays").exists()


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


@pytest.mark.slow
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
