"""The frame of the scripts: any stream, any caller, any Python."""

import ast
import contextlib
import importlib
import io
import os
import subprocess
import sys

import pytest

import spotify_specs
from tests.running import ROOT, run_script

SCRIPTS = sorted(path.stem for path in ROOT.glob("*.py") if path.stem != "model")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_and_wrong_usage_go_to_any_stream(script):
    main = importlib.import_module(script).main
    with contextlib.redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as end:
        main(["-h"])
    assert end.value.code == 0 and out.getvalue()
    with contextlib.redirect_stderr(io.StringIO()) as err, pytest.raises(SystemExit) as end:
        main(["--no-such-flag"])
    assert end.value.code == 2 and len(err.getvalue().splitlines()) == 1


def test_a_stream_that_cannot_show_a_name_does_not_end_the_run(data):
    (data / "song_db/songs").mkdir(parents=True)
    (data / "song_db/songs/Björk - Jóga.mp3").write_text("no music")
    raw = io.BytesIO()
    terminal = io.TextIOWrapper(raw, "ascii", write_through=True)
    with contextlib.redirect_stdout(terminal):
        assert spotify_specs.main(["-m", "Test", "--data", str(data), "--dry-run"]) == 0
    assert b"Bj\\xf6rk - J\\xf3ga" in raw.getvalue()


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_python_that_is_too_old_gets_one_line(script):
    code = (
        "import runpy, sys; sys.version_info, sys.version = (3, 10, 9, 'final', 0), '3.10.9 (x)';"
        f"runpy.run_path('{script}.py', run_name='__main__')"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Song-Recommender needs Python 3.11 or newer; this is 3.10.9\n"


@pytest.mark.parametrize("file", ["songrec/__init__.py", *(f"{script}.py" for script in SCRIPTS)])
def test_an_old_python_can_read_the_file_that_says_so(file):
    ast.parse((ROOT / file).read_text(encoding="utf-8"), feature_version=(3, 8))


def test_set_up_says_in_one_line_that_python_is_too_old(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 || exit 1\n')
    python.chmod(0o755)
    make = ["make", "setup", f"PYTHON={python}", f"VENV={tmp_path}/venv"]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)
    first, *rest = done.stderr.splitlines()
    assert first.startswith(f"Python 3.11 or newer is needed, {python} is Python 3.9.2;")
    assert done.returncode == 2 and len(rest) == 1 and not (tmp_path / "venv").exists()


def test_surroundings_are_put_back_after_a_run(data, monkeypatch):
    monkeypatch.chdir(data)
    before = dict(os.environ), os.getcwd(), sys.stdout, sys.argv
    env = {"SONGREC_TEST": "1"}
    done = run_script("spotify_specs.py", "-m", "Test", env=env, cwd=data.parent)
    assert done.returncode == 1 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert (dict(os.environ), os.getcwd(), sys.stdout, sys.argv) == before
