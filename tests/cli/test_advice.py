"""Every command that the code advises is typed as printed, and mends what it was given for.

Each scenario makes one trouble in a library outside `data/`, from a folder other than the
project's: it runs a script, types the command that the script prints, and runs the script again.
At the end, the places in the code that gave advice on the way are compared with all that there
are, so that new advice needs a scenario of its own.
"""

import argparse
import ast
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from songrec.advice import Advice
from songrec.cli import ROOT, commands
from tests.models import write_model
from tests.running import run_script
from tests.training_data import LIGHT, write_slices, write_tracks
from tests.tunes import write_tune

GIVERS = {"Advice", "again", "ask_about", "make_specs", "make_slices"}
PRINTED = re.compile(r"(?:; |^)(?:run|next): (?P<command>.+)$", re.MULTILINE)
DATA = "my data"  # the blank must survive the shell
OWN = ("--data", DATA, "--model", "own.pt")
OLD_RECIPE = '{"digest": "0123456789ab"}'


class Place:
    """A folder outside the project with a library and a training set, and scripts run in it."""

    def __init__(self, folder):
        self.folder = folder
        self.song_db = folder / DATA / "song_db"
        self.train_db = folder / DATA / "train_db"

    def run(self, script, *words):
        return run_script(script, *words, cwd=self.folder)

    def advice_of(self, script, *words, status=1):
        """Run a script that ends with `status`; return the last command that it prints."""
        done = self.run(script, *words)
        assert done.returncode == status, done.stderr
        matches = PRINTED.findall(done.stderr)
        assert matches, done.stderr
        return matches[-1]

    def type(self, command):
        """Do what a shell does with a printed command; return all that goes to stderr."""
        told = ""
        for part in command.split(" && "):
            python, script, *words = shlex.split(part)
            assert Path(python).samefile(sys.executable) or python == "python", command
            done = self.run(Path(script).relative_to(ROOT).as_posix(), *words)
            assert done.returncode == 0, (command, done.stderr)
            told += done.stderr
        return told

    def mended(self, script, *words, status=1):
        """Type what a failing script advises; it then works."""
        command = self.advice_of(script, *words, status=status)
        self.type(command)
        again = self.run(script, *words)
        assert again.returncode == 0, (command, again.stderr)
        return command


def new_place(folder):
    """Four songs and eight labelled training songs, nothing made of them, and a model."""
    here = Place(folder)
    for number in range(4):
        write_tune(here.song_db / f"songs/Ann - Song {number}.wav", seed=number)
    rows = []
    for number in range(8):
        artist, genre = f"artist {number // 2}", f"genre {number % 2}"
        write_slices(folder / DATA, f"song {number}", 2, grey=80 * (number % 2))
        rows.append([f"song {number}", artist, f"song {number}", "", genre, ""])
    write_tracks(folder / DATA, rows)
    write_model(folder / "own.pt")
    return here


@pytest.fixture
def given(monkeypatch):
    """Record the places in the code that give advice, and what they give."""
    places = set()
    make = Advice.__init__

    def recorded(self, *args, **kwargs):
        frame = sys._getframe(1)
        while Path(frame.f_code.co_filename).name == "advice.py" or frame.f_code.co_name in GIVERS:
            frame = frame.f_back
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(ROOT):
            places.add((file.relative_to(ROOT).as_posix(), frame.f_code.co_name))
        make(self, *args, **kwargs)

    monkeypatch.setattr(Advice, "__init__", recorded)
    return places


def places_in_the_code():
    """Return (file, function) of every function that gives advice."""
    found = set()
    for path in [*ROOT.glob("*.py"), *(ROOT / "songrec").rglob("*.py")]:
        if path.name == "advice.py":
            continue
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef) or function.name in GIVERS:
                continue
            names = {
                getattr(node.func, "id", getattr(node.func, "attr", ""))
                for node in ast.walk(function)
                if isinstance(node, ast.Call)
            }
            if names & GIVERS:
                found.add((path.relative_to(ROOT).as_posix(), function.name))
    return found


def library(place):
    """Nothing made yet; then another recipe; then songs that wait or were skipped."""
    test = ("-m", "Test", "--data", DATA)
    assert "spotify_specs.py" in place.mended("spotify_slices.py", *test)
    for stage in ("slices", "specs"):
        (place.song_db / stage / "recipe.json").write_text(OLD_RECIPE)
        command = place.mended(f"spotify_{stage}.py", *test)
        assert "--force" in command and "'my data'" in command
    shutil.rmtree(place.song_db / "slices")
    ask = ("-m", "Recommend", "Song 1", *OWN)
    place.mended("recommender.py", *ask)
    (place.song_db / "slices/recipe.json").write_text(OLD_RECIPE)
    place.mended("recommender.py", *ask)
    write_tune(place.song_db / "songs/New - Song.wav", seed=9)
    place.mended("recommender.py", "-m", "Recommend", "New - Song", *OWN)


def skipped_songs(place):
    """A damaged slice that is whole again at the next try."""
    for script in ("spotify_specs.py", "spotify_slices.py"):
        place.run(script, "-m", "Test", "--data", DATA)
    slices = place.song_db / "slices/Ann - Song 1/0000.png"
    whole = slices.read_bytes()
    slices.write_bytes(b"damaged")
    ask = ("-m", "Recommend", "Song 1", *OWN)
    place.mended("recommender.py", *ask)
    assert slices.read_bytes() == whole
    slices.with_name("0001.png").unlink(missing_ok=True)
    write_tune(place.song_db / "songs/Bad - Song.wav", seed=3).write_bytes(b"no audio")
    for script in ("spotify_specs.py", "spotify_slices.py"):
        place.run(script, "-m", "Test", "--data", DATA)
    command = place.advice_of("recommender.py", "-m", "Recommend", "Bad - Song", *OWN)
    assert "spotify_specs.py" in command and "--retry-skipped" in command
    (place.song_db / "songs/Bad - Song.wav").unlink()
    folders = list((place.song_db / "slices").glob("*/0000.png"))
    (place.song_db / "vectors.db").unlink()
    for path in folders:
        path.write_bytes(b"damaged")
    place.mended("recommender.py", *ask)


def next_steps(place):
    """The closing line of each stage names the next; the last of them answers."""
    command = place.advice_of("spotify_specs.py", "-m", "Test", "--data", DATA, status=0)
    for script in ("spotify_slices.py", "recommender.py"):
        assert script in command
        matches = PRINTED.findall(place.type(command))
        command = matches[-1] if matches else ""


def training(place):
    """No arrays; arrays of another recipe or without test songs; a training that stops."""
    train = ("-m", "Train", "--data", DATA, "--model", "new.pt", *LIGHT, "--epochs", "1")
    command = place.mended("recommender.py", *train)
    assert "load_training_data.py" in command
    for script in ("spotify_specs.py", "spotify_slices.py"):
        place.run(script, "-m", "Test", "--data", DATA)
    place.type(place.advice_of("recommender.py", *train, status=0))
    (place.train_db / "arrays/recipe.json").write_text(OLD_RECIPE)
    place.mended("recommender.py", *train)
    (place.train_db / "arrays/recipe.json").write_text(OLD_RECIPE)
    place.mended("load_training_data.py", "--data", DATA, "--size", "0.8")
    (place.train_db / "slices/recipe.json").write_text(OLD_RECIPE)
    command = place.advice_of("load_training_data.py", "--data", DATA)
    assert "-m Train" in command and "spotify_specs.py" in command  # there is no audio to do it
    (place.train_db / "slices/recipe.json").unlink()
    (place.folder / "model/checkpoint.pt").unlink()
    place.type(place.advice_of("recommender.py", *train, "--resume"))
    place.run("load_training_data.py", "--data", DATA, "--size", "1")
    evaluate = ("-m", "Train", "--data", DATA, "--model", "new.pt")
    command = place.advice_of("evaluate.py", *evaluate)
    assert "load_training_data.py" in command
    place.type(command)


def models(place):
    """A model that is not there can be trained."""
    for script in ("spotify_specs.py", "spotify_slices.py"):
        place.run(script, "-m", "Test", "--data", DATA)
    place.run("load_training_data.py", "--data", DATA, "--size", "0.8")
    (place.folder / "own.pt").unlink()
    command = place.advice_of("recommender.py", "-m", "Recommend", "Song 1", *OWN)
    place.type(f"{command} {' '.join(LIGHT)} --epochs 1")
    assert place.run("recommender.py", "-m", "Recommend", "Song 1", *OWN).returncode == 0


def own_files(place):
    """A song that is added prints what recommends by it; a training set that has only specs."""
    guest = write_tune(place.folder / "in/Bob - Guest.wav", seed=20)
    for script in ("spotify_specs.py", "spotify_slices.py"):
        place.run(script, "-m", "Test", "--data", DATA)
    added = place.run("add_song.py", "--file", guest, "--data", DATA)
    assert added.returncode == 0, added.stderr
    assert "--data" in added.stdout
    place.type(added.stdout.strip())
    shutil.rmtree(place.train_db / "slices")
    for number in range(4):
        write_tune(place.train_db / f"songs/song {number}.wav", seed=number)
    place.run("spotify_specs.py", "-m", "Train", "--data", DATA)
    place.mended("load_training_data.py", "--data", DATA)
    for path in (place.train_db / "slices").rglob("*.png"):
        path.write_bytes(b"damaged")
    command = place.mended("load_training_data.py", "--data", DATA, "--force")
    assert "spotify_slices.py" in command and "--force" in command


def damaged_ledger(place):
    """A damaged ledger is put aside, and the run goes on."""
    (place.folder / "mine.csv").write_text(
        f"track_id,artists,album_name,track_name,track_genre\n{'1' * 22},Ann,A,One,jazz\n"
    )
    (place.song_db / "downloads.db").write_bytes(b"rubbish" * 1000)
    words = ("--csv", "mine.csv", "--dry-run", "--data", DATA)
    command = place.advice_of("load_csv.py", *words)
    assert command.startswith("mv ")
    subprocess.run(command, shell=True, cwd=place.folder, check=True, capture_output=True)


# Not typed here: they install packages, change the checkout, or need a server.
ONLY_READ = {
    ("fma_dl.py", "bring_songs"),
    ("songrec/intake/batch.py", "_check_row"),
    ("songrec/intake/links.py", "song_of_link"),
    ("songrec/sound/audio.py", "_decode_with_ffmpeg"),
    ("songrec/sound/patterns.py", "_unreadable"),
}

SCENARIOS = [library, skipped_songs, next_steps, training, models, own_files, damaged_ledger]


@pytest.mark.slow
def test_all_advice_typed_as_printed_mends(tmp_path, given):
    for scenario in SCENARIOS:
        scenario(new_place(tmp_path / scenario.__name__))
    assert places_in_the_code() - given == ONLY_READ


def test_programs_that_are_not_ours_run_in_the_projects_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = argparse.Namespace()
    assert (
        commands([Advice("make", ("setup",))], words) == f"make -C {shlex.quote(str(ROOT))} setup"
    )
    monkeypatch.chdir(ROOT)
    assert commands([Advice("make", ("setup",))], words) == "make setup"


@pytest.mark.slow
def test_a_command_passes_through_a_shell(tmp_path):
    place = new_place(tmp_path)
    command = place.advice_of("spotify_slices.py", "-m", "Test", "--data", DATA)
    done = subprocess.run(
        command, shell=True, cwd=place.folder, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0 and "4 done" in done.stderr, (command, done.stderr)
