"""What every test has: one thread a process, Ctrl-C, and fixtures of real audio."""

import os
import shutil
import signal

# Two test processes keep two cores busy; more threads would only wait for each other.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"

import pytest

from tests.training_data import write_slices, write_tracks
from tests.tunes import write_tune

# A shell's background job ignores Ctrl-C, and so would the scripts that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Skip what needs ffmpeg where there is none."""
    if not shutil.which("ffmpeg"):
        for item in items:
            if item.get_closest_marker("ffmpeg"):
                item.add_marker(pytest.mark.skip(reason="ffmpeg is not installed"))


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


@pytest.fixture
def data(tmp_path):
    """Return an empty data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """Return a short mp3."""
    return write_tune(tmp_path_factory.mktemp("clip") / "clip.mp3", seconds=3.5)


@pytest.fixture
def bin_folder(tmp_path):
    """Return a folder for made-up commands."""
    return tmp_path / "bin"


@pytest.fixture
def songs(data):
    """Return `song_db/songs` with four tunes of two artists."""
    folder = data / "song_db" / "songs"
    for number, name in enumerate(["Ann - One", "Ann - Two", "Bob - Three", "Bob - Four"]):
        write_tune(folder / f"{name}.wav", seed=number // 2 * 10 + number)
    return folder
