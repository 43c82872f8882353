"""A library that is ready to ask."""

import subprocess

import pytest

from tests.models import write_model
from tests.running import run_script
from tests.tunes import write_tune


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A library of 24 songs through specs and slices, and a model."""
    folder = tmp_path_factory.mktemp("library")
    data = folder / "data"
    for number in range(24):
        path = data / f"song_db/songs/Artist {number // 4} - Song {number}.wav"
        write_tune(path, seconds=6.5, seed=number)
    for script in ("spotify_specs.py", "spotify_slices.py"):
        assert run_script(script, "-m", "Test", "--data", data).returncode == 0
    write_model(folder / "model.pt")
    first = run_script(
        "recommender.py",
        "-m",
        "Recommend",
        "Song 1",
        "--data",
        data,
        "--model",
        folder / "model.pt",
    )
    assert first.returncode == 1 and "matches" in first.stderr
    return folder


@pytest.fixture
def library(prepared, tmp_path):
    """A copy of the prepared library to change."""
    folder = tmp_path / "library"
    subprocess.run(["cp", "-a", prepared, folder], check=True)
    return folder
