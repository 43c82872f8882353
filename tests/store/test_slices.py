"""Spectrograms to slices, and both stages killed at random moments."""

import dataclasses
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from songrec.errors import BadPictureError
from songrec.store.pictures import read_origin, read_picture, save_png
from songrec.store.skips import SkipList
from songrec.store.slices import read_slices
from tests.running import on_small_disk, run_script
from tests.tunes import write_tune


def stage(script, data, *flags):
    return run_script(script, "-m", "Test", "--data", data, *flags)


def test_slices_are_the_spectrograms_consecutive_columns(data):
    write_tune(data / "song_db/songs/sub/Ann - One.wav", seconds=10)
    stage("spotify_specs.py", data)
    done = stage("spotify_slices.py", data)
    assert done.returncode == 0 and "1 done" in done.stderr
    spec = np.asarray(Image.open(data / "song_db/specs/sub/Ann - One.png"))
    folder = data / "song_db/slices/sub/Ann - One"
    assert sorted(p.name for p in folder.iterdir()) == ["0000.png", "0001.png", "0002.png"]
    for number in range(3):
        cut = np.asarray(Image.open(folder / f"{number:04d}.png"))
        assert cut.shape == (128, 128)
        assert np.array_equal(cut, spec[:, number * 128 : (number + 1) * 128])


def test_follows_the_spectrograms(data, songs):
    stage("spotify_specs.py", data)
    assert "4 done" in stage("spotify_slices.py", data).stderr
    assert "0 done, 4 already there" in stage("spotify_slices.py", data).stderr
    write_tune(songs / "Ann - One.wav", seed=70, seconds=7)
    (songs / "Bob - Four.wav").unlink()
    stage("spotify_specs.py", data)
    done = stage("spotify_slices.py", data)
    assert "1 done, 2 already there, 0 skipped, 1 deleted (song removed)" in done.stderr
    assert len(list((data / "song_db/slices/Ann - One").iterdir())) == 2
    assert not (data / "song_db/slices/Bob - Four").exists()


def test_damaged_and_foreign_pictures_are_skipped(data, songs):
    stage("spotify_specs.py", data)
    specs = data / "song_db/specs"
    whole = (specs / "Ann - One.png").read_bytes()
    (specs / "Ann - One.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (300, 128)).save(specs / "Ann - Two.png")
    Image.new("L", (100, 128)).save(specs / "Bob - Three.png")
    done = stage("spotify_slices.py", data)
    assert done.returncode == 0
    assert "1 done, 0 already there, 3 skipped" in done.stderr
    reasons = {s.song: s.reason for s in SkipList(data / "song_db/skipped.csv").read()}
    assert "not a picture" in reasons["Ann - One"]
    assert "not a grey picture" in reasons["Ann - Two"]
    assert "shorter than one slice" in reasons["Bob - Three"]


@pytest.mark.slow
def test_a_full_disk_stops_the_run(data, songs):
    stage("spotify_specs.py", data)
    done = on_small_disk(data, 30, ["spotify_slices.py", "-m", "Test", "--data", data])
    assert done.returncode == 1
    assert "the disk is full" in done.stderr and "Traceback" not in done.stderr
    assert ".part" not in done.stdout


def test_spectrograms_of_another_recipe_are_not_cut(data, songs):
    """As after `--force --limit 1` under a new recipe: the mark is new, the pictures are not."""
    stage("spotify_specs.py", data)
    for path in (data / "song_db/specs").glob("*.png"):
        origin = read_origin(path)
        save_png(path, read_picture(path), dataclasses.replace(origin, recipe="old"))
    done = stage("spotify_slices.py", data)
    assert done.returncode == 1 and "4 skipped" in done.stderr
    assert "another recipe" in (data / "song_db/skipped.csv").read_text()


def test_without_spectrograms_it_says_what_to_run(data):
    done = stage("spotify_slices.py", data)
    assert done.returncode == 1
    assert "spotify_specs.py -m Test" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_slice_that_went_missing_is_noticed(data):
    folder = data / "song_db"
    write_tune(folder / "songs/Ann - One.wav", seconds=7)
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", data)
    slices = folder / "slices/Ann - One"
    (slices / "0001.png").unlink()
    with pytest.raises(BadPictureError, match="holds 1 of 2 slices"):
        read_slices(slices)
    done = run_script("spotify_slices.py", "-m", "Test", "--data", data)
    assert "1 done" in done.stderr and (slices / "0001.png").exists()


def test_what_lies_behind_a_link_is_neither_listed_nor_deleted(data, tmp_path):
    folder = data / "song_db"
    elsewhere = tmp_path / "elsewhere"
    write_tune(folder / "songs/Ann - One.wav")
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", data)
    subprocess.run(["cp", "-a", folder / "slices/Ann - One", elsewhere], check=True)
    (folder / "slices/link").symlink_to(elsewhere)
    (folder / "slices/loop").symlink_to(folder / "slices")
    kept = folder / "slices/not ours"
    kept.mkdir()
    Image.new("L", (128, 128)).save(kept / "0000.png")
    (folder / "slices/Gone - Two").mkdir()
    shutil.copy(elsewhere / "0000.png", folder / "slices/Gone - Two")
    (folder / "slices/Gone - Two/notes.txt").write_text("mine")
    done = run_script("spotify_slices.py", "-m", "Test", "--data", data)
    assert done.returncode == 0 and "1 deleted (song removed)" in done.stderr
    assert (elsewhere / "0000.png").exists() and (kept / "0000.png").exists()
    assert [path.name for path in (folder / "slices/Gone - Two").iterdir()] == ["notes.txt"]


def test_slices_of_another_recipe_are_refused(data):
    write_tune(data / "song_db/songs/Ann - One.wav")
    for script in ("spotify_specs.py", "spotify_slices.py"):
        stage(script, data)
    first = data / "song_db/slices/Ann - One/0000.png"
    origin = dataclasses.replace(read_origin(first), recipe="0123456789ab")
    save_png(first, read_picture(first), origin)
    with pytest.raises(BadPictureError, match="another recipe"):
        read_slices(first.parent)


def test_a_dry_run_lists_only_what_a_run_deletes(data):
    write_tune(data / "song_db/songs/Ann - One.wav")
    for script in ("spotify_specs.py", "spotify_slices.py"):
        stage(script, data)
    folder = data / "song_db"
    (folder / "slices/mine").mkdir()
    Image.new("L", (128, 128)).save(folder / "slices/mine/0000.png")
    Image.new("L", (4, 4)).save(folder / "specs/cover.png")
    shutil.copytree(folder / "slices/Ann - One", folder / "slices/Gone - Two")
    shutil.copy(folder / "specs/Ann - One.png", folder / "specs/Gone - Two.png")
    assert stage("spotify_specs.py", data, "--dry-run").stdout == "delete specs of Gone - Two\n"
    (folder / "specs/Gone - Two.png").unlink()
    (folder / "specs/cover.png").unlink()
    assert stage("spotify_slices.py", data, "--dry-run").stdout == "delete slices of Gone - Two\n"
