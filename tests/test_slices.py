"""Spectrograms to slices, and both stages killed at random moments."""

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Run, on_small_disk, run_script, tree, write_tune
from PIL import Image

from songrec import files
from songrec.store.pictures import read_origin, read_picture, save_png
from songrec.store.skips import SkipList


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
    assert "1 done, 2 already there, 0 skipped, 1 of removed songs deleted" in done.stderr
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


def is_at_work(session):
    """Tell whether a process of a session lives; one that is only not collected does not."""
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, of_session = entry.read_text().rpartition(")")[2].split()[:4]
        except OSError:
            continue
        if int(of_session) == session and state not in "ZX":
            return True
    return False


def wait_for_workers(session):
    """Wait until the workers of a killed run have noticed and gone."""
    deadline_s = time.monotonic() + 20
    while is_at_work(session):
        assert time.monotonic() < deadline_s, "workers outlived the killed run"
        time.sleep(0.02)


def n_finished(files):
    """Count the pictures that have their final names."""
    return sum(name.endswith(".png") and ".part" not in name for name in files)


def test_what_is_replaced_goes_only_when_its_successor_stands(tmp_path, monkeypatch):
    final = tmp_path / "song"
    final.mkdir()
    (final / "old").touch()

    def remove(path):
        assert (final / "new").exists()
        shutil.rmtree(path)

    monkeypatch.setattr(files, "remove_path", remove)
    with files.atomic_path(final) as part:
        part.mkdir()
        (part / "new").touch()
    assert list(tmp_path.iterdir()) == [final]


@pytest.mark.parametrize("script", ["spotify_specs.py", "spotify_slices.py"])
def test_killed_twenty_times_it_ends_with_the_same_files(data, script, tmp_path):
    folder = data / "song_db/songs"
    for number in range(14):
        write_tune(folder / f"Ann - {number}.wav", seconds=8, seed=number)
    if script == "spotify_slices.py":
        stage("spotify_specs.py", data)
    made = data / "song_db" / ("specs" if script == "spotify_specs.py" else "slices")
    command = [script, "-m", "Test", "--data", data, "-q"]
    subprocess.run([sys.executable, ROOT / script, *command[1:]], check=True, timeout=120)
    undisturbed = tree(made)
    run_script(script, "-h")  # so that the time taken is not that of the first start
    start_s = time.monotonic()
    assert run_script(*command, "--force").returncode == 0
    whole_run_s = time.monotonic() - start_s
    assert tree(made) == undisturbed
    shutil.rmtree(made)

    rng = random.Random(0)
    n_killed, partial = 0, set()
    while n_killed < 20:
        process = Run(*command)
        time.sleep(rng.uniform(0.3, 1.0) * whole_run_s)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            n_killed += 1
        process.wait()
        wait_for_workers(process.pid)
        files = tree(made)
        partial.add(n_finished(files))
        for name, content in files.items():
            # What has its final name is whole, at any moment.
            if ".part" not in name:
                assert undisturbed[name] == content
        if n_finished(files) == n_finished(undisturbed):
            shutil.rmtree(made)
    done = stage(script, data)
    assert done.returncode == 0, done.stderr
    assert tree(made) == undisturbed
    assert any(0 < count < n_finished(undisturbed) for count in partial)


def test_interrupted_it_says_what_is_done_and_goes_on(data):
    folder = data / "song_db/songs"
    first = write_tune(folder / "Ann - 0.wav", seconds=40)
    for number in range(1, 30):
        (folder / f"Ann - {number}.wav").hardlink_to(first)
    process = Run("spotify_specs.py", "-m", "Test", "--data", data, "-j", "1")
    while not list((data / "song_db").glob("specs/Ann*.png")):
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130
    assert "Traceback" not in told
    assert "interrupted" in told and "already there" in told
    n_there = len(list((data / "song_db/specs").glob("*.png")))
    assert 0 < n_there < 30
    assert not [p for p in (data / "song_db/specs").iterdir() if p.name.endswith(".part")]
    assert f"{30 - n_there} done, {n_there} already there" in stage("spotify_specs.py", data).stderr


def test_two_runs_at_once_do_no_harm(data):
    folder = data / "song_db/songs"
    for number in range(16):
        write_tune(folder / f"Ann - {number}.wav", seconds=10, seed=number)
    for script, made in [("spotify_specs.py", "specs"), ("spotify_slices.py", "slices")]:
        command = [script, "-m", "Test", "--data", data, "-q", "--force"]
        runs = [Run(*command) for _ in range(3)]
        for run in runs:
            _, told = run.communicate()
            assert (run.returncode, told) == (0, "")
        together = tree(data / "song_db" / made)
        assert run_script(*command).returncode == 0
        assert tree(data / "song_db" / made) == together


def test_a_decoder_that_crashes_costs_only_its_song(data, songs, tmp_path):
    """A stand-in for a decoder that segfaults: the process dies at one file."""
    trap = tmp_path / "trap"
    trap.mkdir()
    (trap / "sitecustomize.py").write_text(
        "import os, soundfile\n"
        "plain = soundfile.SoundFile\n"
        "def sound_file(name, *args):\n"
        "    if b'Ann - Two' in name:\n"
        "        os._exit(11)\n"
        "    return plain(name, *args)\n"
        "soundfile.SoundFile = sound_file\n"
    )
    done = run_script(
        "spotify_specs.py", "-m", "Test", "--data", data, env={"PYTHONPATH": str(trap)}
    )
    assert done.returncode == 0, done.stderr
    assert "3 done, 0 already there, 1 skipped" in done.stderr
    assert "crashed" in (data / "song_db/skipped.csv").read_text()
