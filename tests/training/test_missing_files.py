"""A file that is not there is one line, in every script of training/ and benchmarks/."""

import pytest

from tests.running import run_script

CASES = {
    "training/distil.py": ["none.npz", "model.pt"],
    "training/fit_patterns.py": ["none.csv", "patterns.npz"],
    "training/folds.py": ["none.npz", "none.csv", "folds", "--data", "data"],
    "training/open_music.py": ["none.csv", "open"],
    "training/prepare.py": ["none.csv", "teacher.npz", "pieces.npz"],
    "training/teacher.py": ["none.npz", "songs", "vectors.npz"],
    "benchmarks/analysis_speed.py": ["--songs", "none"],
    "benchmarks/classifiers.py": ["--data", "data", "--group", "a", "1.pt", "2.pt"],
    "benchmarks/degraded_queries.py": ["--data", "data"],
    "benchmarks/spec_speed.py": ["--songs", "none"],
}


@pytest.mark.parametrize("script", CASES)
def test_a_missing_file_is_one_line(script, tmp_path):
    done = run_script(script, *CASES[script], cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith(f"{script}: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_list_without_its_columns_is_one_line(tmp_path):
    (tmp_path / "clips.csv").write_text("path,label\na.mp3,A|B\n")
    done = run_script("training/fit_patterns.py", "clips.csv", "patterns.npz", cwd=tmp_path)
    assert done.returncode == 1
    assert "clips.csv is not a list of windows" in done.stderr and "Traceback" not in done.stderr
