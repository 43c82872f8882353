"""training/candidates.py: one table of all sets for a candidate beside the shipped network."""

import csv

import numpy as np
import pytest

from songrec.evaluation.measures import MEASURES, Scores
from tests.evaluation.labels import labelled_songs
from tests.models import write_model
from tests.running import run_script
from tests.tunes import write_tune
from training.candidates import Pair, text_of


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A library of twelve songs by three artists, half of them of split "valid"; two networks."""
    folder = tmp_path_factory.mktemp("sets")
    rows = ["song,artist,title,album,genre,split"]
    for n in range(12):
        name = f"Artist {n // 4} - Song {n}"
        write_tune(folder / f"data/song_db/songs/{name}.wav", seconds=6.5, seed=n)
        rows.append(f"{name},Artist {n // 4},Song {n},,genre {n % 2},{('valid', 'train')[n % 2]}")
    (folder / "data/song_db/tracks.csv").write_text("\n".join(rows), encoding="utf-8")
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", folder / "data")
    write_model(folder / "shipped.pt")
    write_model(folder / "new.pt", seed=5)
    return folder


def candidates(folder, candidate, *flags):
    return run_script(
        "training/candidates.py",
        folder / candidate,
        *("--model", folder / "shipped.pt", "--looks", folder / "looks.csv", "-q"),
        *flags,
    )


def rows_of(text):
    lines = [line.strip("| ").split("|") for line in text.splitlines() if line[:2] == "| "]
    return [[cell.strip() for cell in line] for line in lines]


def test_every_set_is_in_one_table_and_every_look_is_noted(sets):
    flags = ["--set", f"all={sets / 'data'}", "--set", f"half={sets / 'data'}:valid"]
    done = candidates(sets, "new.pt", "--note", "a first try", *flags)
    assert done.returncode == 0, done.stderr
    systems = [row[0] for row in rows_of(done.stdout)]
    wanted = [
        f"{name}, {ranking}, {network}"
        for name in ("all", "half")
        for ranking in ("full", "cosine")
        for network in ("candidate", "shipped")
    ]
    assert systems[1:9] == wanted
    assert "all, full" in systems and "half, cosine" in systems
    assert candidates(sets, "new.pt", "--note", "again", *flags[:2]).returncode == 0
    with (sets / "looks.csv").open(encoding="utf-8", newline="") as file:
        looks = list(csv.DictReader(file))
    assert [(look["note"], look["set"]) for look in looks] == [
        ("a first try", "all"),
        ("a first try", "half"),
        ("again", "all"),
    ]
    assert looks[0]["artist_mrr"] == looks[2]["artist_mrr"] != ""
    assert 0 < float(looks[1]["artist_mrr"]) <= 1


def test_the_shipped_network_is_no_better_than_itself(sets):
    done = candidates(sets, "shipped.pt", "--note", "x", "--set", f"all={sets / 'data'}")
    rows = {row[0]: row[1:] for row in rows_of(done.stdout)}
    assert rows["all, full, candidate"] == rows["all, full, shipped"]
    assert rows["all, cosine, candidate"] == rows["all, cosine, shipped"]
    assert {cell for cell in rows["all, full"] if cell} == {"0.000 (0.00..0.00)"}
    assert "clearly worse: nothing" in done.stdout


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--set", "all=data"], "--note"),
        (["--note", "x"], "--set"),
        (["--note", "x", "--set", "data"], "not of the form"),
        (["--note", "x", "--set", "a=data", "--set", "a=data"], "the name 'a' is taken"),
    ],
)
def test_wrong_usage(tmp_path, flags, told):
    done = candidates(tmp_path, "new.pt", *flags)
    assert done.returncode == 2 and told in done.stderr
    assert not (tmp_path / "looks.csv").exists()


def test_what_is_clearly_worse_is_named():
    labels = labelled_songs(*((f"artist {n // 2}", "", "rock") for n in range(40)))
    good, bad = (
        Scores({name: np.full(40, value) for name in MEASURES}, np.arange(40)[:, None])
        for value in (0.8, 0.5)
    )
    rng = np.random.default_rng(0)
    noisy = Scores(
        {name: 0.8 + 0.3 * rng.standard_normal(40) for name in MEASURES}, good.neighbours
    )
    pairs = {
        "first": Pair(labels, {"full": bad}, {"full": good}),
        "second": Pair(labels, {"full": good}, {"full": bad}),
        "third": Pair(labels, {"full": noisy}, {"full": good}),
    }
    verdict = text_of(pairs).splitlines()[-1]
    assert "first: artist MRR" in verdict and "first: genre P@10" in verdict
    assert "second" not in verdict and "third" not in verdict
