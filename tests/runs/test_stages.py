"""What every stage does when it is killed, interrupted or run twice at once."""

import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.running import Run, run_script, tree
from tests.store.test_slices import stage
from tests.tunes import write_tune


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


class Forked:
    """A script in a process of its own that need not import everything again, to be killed."""

    def __init__(self, script, *args):
        self.process = multiprocessing.get_context("fork").Process(
            target=self.run, args=(script, args)
        )
        self.process.start()

    @staticmethod
    def run(script, args):
        os.setsid()
        sys.exit(run_script(script, *args).returncode)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers are looked for in /proc")
@pytest.mark.parametrize("script", ["spotify_specs.py", "spotify_slices.py"])
def test_killed_twenty_times_it_ends_with_the_same_files(data, script, tmp_path):
    folder = data / "song_db/songs"
    for number in range(10):
        write_tune(folder / f"Ann - {number}.wav", seed=number)
    if script == "spotify_slices.py":
        stage("spotify_specs.py", data)
    made = data / "song_db" / ("specs" if script == "spotify_specs.py" else "slices")
    command = [script, "-m", "Test", "--data", data, "-q"]
    assert run_script(*command).returncode == 0
    undisturbed = tree(made)
    start_s = time.monotonic()
    assert run_script(*command, "--force").returncode == 0
    whole_run_s = time.monotonic() - start_s
    assert tree(made) == undisturbed
    shutil.rmtree(made)

    rng = random.Random(0)
    n_killed, partial = 0, set()
    # At least twenty kills, and one that met some songs done and some not.
    while n_killed < 20 or (n_killed < 60 and not partial - {0, n_finished(undisturbed)}):
        process = Forked(*command).process
        process.join(rng.uniform(0.3, 1.0) * whole_run_s)
        if process.is_alive():
            process.kill()
            n_killed += 1
        process.join()
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
