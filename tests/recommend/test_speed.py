"""How long an answer takes, and what it imports."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from songrec.recommend.ranking import Descriptions
from songrec.sound.patterns import N_DIMS
from songrec.sound.timbre import Timbres
from songrec.store.vectors import VectorStore
from tests.models import write_model
from tests.recommend.asking import recommend
from tests.running import ROOT


@pytest.mark.slow
def test_the_answer_needs_no_torch_when_all_is_known(library, tmp_path):
    trap = tmp_path / "trap"
    trap.mkdir()
    for name in ("torch", "librosa", "pandas", "matplotlib"):
        (trap / f"{name}.py").write_text(f"raise RuntimeError('{name} was imported')")
    done = recommend(library, "Artist 0 - Song 0", env={"PYTHONPATH": str(trap)})
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_thousand_songs_are_answered_in_half_a_second(tmp_path):
    rng = np.random.default_rng(0)
    write_model(tmp_path / "model.pt")
    slices = tmp_path / "data/song_db/slices"
    for number in range(1000):
        (slices / f"Artist {number % 300} - Song {number}").mkdir(parents=True)
        (slices / f"Artist {number % 300} - Song {number}/0000.png").touch()
    from songrec.files import fingerprint
    from songrec.network.modelfile import model_digest

    digest = model_digest(tmp_path / "model.pt")
    with VectorStore(tmp_path / "data/song_db/vectors.db", digest) as store:
        for folder in slices.iterdir():
            noise = rng.integers(0, 256, (2, 128, 128), dtype=np.uint8)
            vector = rng.standard_normal((1, 128)).astype(np.float32)
            patterns = rng.standard_normal((1, N_DIMS)).astype(np.float32)
            description = Descriptions(vector, Timbres.of_slices(noise), patterns)
            store.put(folder.name, fingerprint(folder), description)
    assert recommend(tmp_path, "Song 500", "10").returncode == 0  # measures the scales
    command = [sys.executable, ROOT / "recommender.py", "-m", "Recommend", "Song 500", "10"]
    command += ["--data", tmp_path / "data", "--model", tmp_path / "model.pt"]
    seconds = []
    while len(seconds) < 20 and min(seconds, default=1) >= 0.5:
        start_s = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert len(process.stdout.readlines()) == 10
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            taken_s = time.perf_counter() - start_s
            seconds.append(taken_s - waited_for_a_core_s(process.pid))
        assert process.returncode == 0
    assert min(seconds) < 0.5


def waited_for_a_core_s(pid):
    """Tell how long a process could have run but others had the cores; 0 where nothing tells."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0
