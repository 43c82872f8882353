"""evaluate.py: the measures by hand, other systems beside this one, and the classifier."""

import json
import shutil

import mutagen
import numpy as np
import pytest
from PIL import Image

from songrec.evaluation.comparison import open_subject
from songrec.evaluation.measures import MEASURES
from songrec.evaluation.tables import NAMES
from songrec.recommend.recommender import Recommender
from songrec.runs.options import Options
from songrec.runs.prepare import write_spec
from songrec.store.database import Database
from songrec.store.slices import write_slices
from tests.evaluation.evaluating import BY_HAND, evaluate
from tests.models import write_model
from tests.tunes import write_tune


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A library of 24 labelled songs, vectors of a made-up system, and models."""
    folder = tmp_path_factory.mktemp("library")
    database = Database.library(folder / "data")
    for n in range(24):
        write_tune(database.songs_dir / f"Artist {n // 4} - Song {n}.wav", seconds=6.5, seed=n)
    for song in database.songs():
        write_spec(database, song)
    for spec in database.specs():
        write_slices(database, spec)
    model = write_model(folder / "model.pt")
    write_model(folder / "other.pt", seed=5)
    library = Recommender.open(database.root.parent, model).library
    own = library.descriptions.vectors
    np.savez(folder / "own.npz", songs=[song.name for song in library.songs], vectors=own)

    rows = ["song,artist,title,album,genre,split"]
    songs, vectors = [], []
    rng = np.random.default_rng(0)
    for n in range(24):
        artist, genre = n // 4, n // 8
        split = "test" if artist in {0, 1, 4, 5} else "train"
        songs.append(f"Artist {artist} - Song {n}")
        rows.append(f"{songs[-1]},Artist {artist},Song {n},album {n // 2},genre {genre},{split}")
        vector = rng.normal(0, 1e-3, 12)
        vector[[artist, 8 + genre]] += 1.0, 0.5
        vectors.append(vector)
    database.tracks_csv.write_text("\n".join(rows), encoding="utf-8")
    # In another order than the library's, and with a song that is not in it.
    order = rng.permutation(25)
    names, rows_of = np.array([*songs, "gone"])[order], np.array([*vectors, vectors[0]])[order]
    np.savez(folder / "hand.npz", songs=names, vectors=rows_of)
    apart = np.linalg.norm(rows_of[:, None] - rows_of, axis=2)
    np.savez(folder / "apart.npz", songs=names, distances=apart)
    # One that hears only genres, one that hears only artists, both with noise of their own.
    for name, columns in (("genres", range(8, 12)), ("artists", range(8))):
        heard = rows_of[:, columns] + rng.normal(0, 0.2, (25, len(columns)))
        np.savez(folder / f"{name}.npz", songs=names, vectors=heard)
    return folder


@pytest.fixture(scope="session")
def without_peers(tmp_path_factory):
    """An environment in which no peer is installed."""
    folder = tmp_path_factory.mktemp("trap")
    (folder / "sitecustomize.py").write_text(
        "import sys\nsys.modules['pymusly'] = sys.modules['bliss_audio'] = None\n"
    )
    return {"PYTHONPATH": str(folder)}


def means(figures, system):
    return {name: figures["measures"][system][name][0] for name in MEASURES}


def test_all_systems_in_one_run_as_json(labelled):
    done = evaluate(
        labelled,
        *("--systems", "full", "cosine", "random", "mfcc", "--json"),
        *("--vectors", f"hand={labelled / 'hand.npz'}", "--vectors", f"own={labelled / 'own.npz'}"),
        *(
            "--against",
            f"twin={labelled / 'model.pt'}",
            "--against",
            f"other={labelled / 'other.pt'}",
        ),
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    systems = ["full", "cosine", "random", "mfcc", "hand", "own", "twin", "other"]
    assert list(figures["measures"]) == systems
    assert list(figures["leads"]) == systems[1:]
    assert (figures["n_songs"], figures["n_artists"]) == (24, 6)
    assert set(figures["n_queries"].values()) == {24}

    assert means(figures, "hand") == pytest.approx(BY_HAND)
    # The network's vectors, from the library's memory or made anew, rank as `cosine` does.
    assert means(figures, "own") == pytest.approx(means(figures, "cosine"), abs=1e-9)
    assert means(figures, "twin") == pytest.approx(means(figures, "cosine"), abs=1e-9)
    assert means(figures, "other") != means(figures, "cosine")
    assert len({tuple(means(figures, name).values()) for name in systems[:5]}) == 5
    for name in systems:
        for mean, low, high in (figures["measures"][name][measure] for measure in MEASURES):
            assert 0 <= low <= mean <= high <= 1
    for name in systems[1:]:
        lead = figures["leads"][name]["genre_p10"]
        apart = means(figures, "full")["genre_p10"] - means(figures, name)["genre_p10"]
        assert lead[0] == pytest.approx(apart) and lead[1] <= lead[0] <= lead[2]


def test_whole_distances_of_another_system_are_measured(labelled):
    done = evaluate(
        labelled, "--systems", "random", "--matrix", f"apart={labelled / 'apart.npz'}", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert means(json.loads(done.stdout), "apart") == pytest.approx(BY_HAND)


def test_a_fuse_is_better_than_its_parts_where_they_hear_different_things(labelled):
    flags = [f"{name}={labelled / name}.npz" for name in ("genres", "artists", "hand")]
    done = evaluate(
        labelled,
        *("--systems", "full", "random", "--json"),
        *(word for flag in flags for word in ("--vectors", flag)),
        *("--fuse", "genres+artists", "--fuse", "hand+genres+artists"),
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    systems = ["full", "random", "genres", "artists", "hand"]
    fuses = ["genres+artists", "hand+genres+artists"]
    assert list(figures["measures"]) == [*systems, *fuses]
    assert list(figures["leads"]) == [*systems, *fuses][1:]
    fused, genres, artists = (means(figures, name) for name in (fuses[0], "genres", "artists"))
    assert fused["artist_mrr"] > genres["artist_mrr"] + 0.2
    assert fused["genre_p5"] > artists["genre_p5"] + 0.2


@pytest.mark.parametrize(
    ("fuse", "told"),
    [
        ("random+genius", "there is no system 'genius'"),
        ("random+mfcc", "there is no system 'mfcc'"),
        ("random", "two or more"),
        ("random+random", "each once"),
    ],
)
def test_a_fuse_of_what_is_not_there_is_wrong_usage(labelled, fuse, told):
    done = evaluate(labelled, "--systems", "random", "--fuse", fuse)
    assert done.returncode == 2 and told in done.stderr and done.stdout == ""


def test_a_split_is_measured_as_if_it_were_the_library(labelled, without_peers, tmp_path):
    done = evaluate(
        labelled,
        *("--split", "test", "--vectors", f"hand={labelled / 'hand.npz'}"),
        *("--plot", tmp_path / "new/plot.png"),
        env=without_peers,
    )
    assert done.returncode == 0, done.stderr
    assert "16 songs of 4 named artists" in done.stdout
    assert "Genre (16 queries)" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "-0.000" not in done.stdout and "_" not in done.stdout
    rows = [line.strip("| ").split("|") for line in done.stdout.splitlines() if line[:2] == "| "]
    rows = [[cell.strip() for cell in row] for row in rows]
    # What is not installed is left out where nobody asked for it.
    every = ["system", "full", "cosine", "random", "mfcc", "hand"]
    without_own = ["system", "cosine", "random", "mfcc", "hand"]
    assert [row[0] for row in rows[:23]] == [*every, *every, *every, *without_own]
    # Only two artists a genre are left, so every song still has four of its genre elsewhere.
    cells = {}
    for heads, hand in ((rows[0], rows[5]), (rows[6], rows[11])):
        cells |= dict(zip(heads[1:], hand[1:], strict=True))
    for measure, value in BY_HAND.items():
        assert cells[NAMES[measure]].startswith(f"{value:.3f} (")
    with Image.open(tmp_path / "new/plot.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 300
        assert len(np.unique(np.asarray(picture.convert("L")))) > 5


def test_an_accent_written_as_a_character_of_its_own_meets_its_label(tmp_path):
    database = Database.library(tmp_path / "data")
    for seed, name in enumerate(["Jose\u0301 - A", "Ann - B"]):
        write_tune(database.songs_dir / f"{name}.wav", seed=seed)
    for song in database.songs():
        write_spec(database, song)
    for spec in database.specs():
        write_slices(database, spec)
    database.tracks_csv.write_text("song,artist\nJos\u00e9 - A,Jos\u00e9\nAnn - B,Ann\n", "utf-8")
    model = write_model(tmp_path / "model.pt")
    subject = open_subject(Recommender(database, model, Options(jobs=1, quiet=True)), None)
    assert sorted(subject.labels.artist) == ["Ann", "Jos\u00e9"]


def test_without_a_table_the_tags_are_the_labels(tmp_path):
    database = Database.library(tmp_path / "data")
    for number in range(4):
        path = write_tune(database.songs_dir / f"{number}.flac", seed=number)
        tags = mutagen.File(path, easy=True)
        if number:
            tags.update(artist="Ann", album=f"Album {number // 2}", genre="Rock")
        tags.save()
    for song in database.songs():
        write_spec(database, song)
    for spec in database.specs():
        write_slices(database, spec)
    write_model(tmp_path / "model.pt")
    done = evaluate(tmp_path, "--systems", "random", "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert (figures["n_songs"], figures["n_artists"]) == (4, 1)
    assert figures["n_queries"]["artist_hit10"] == 3
    split = evaluate(tmp_path, "--systems", "random", "--split", "test")
    assert split.returncode == 1 and "tracks.csv is missing" in split.stderr


def test_a_peer_is_asked_about_the_audio_of_every_song(labelled, tmp_path):
    """A made-up bliss that hears artist and genre in the file's name."""
    (tmp_path / "bliss_audio.py").write_text(
        "import re\n"
        "class Song:\n"
        "    def __init__(self, path):\n"
        "        number = int(re.search(r'Song (\\d+)\\.wav$', path)[1])\n"
        "        self.analysis = [number // 8 * 100, number // 4 * 10, number / 100]\n"
    )
    env = {"PYTHONPATH": str(tmp_path)}
    done = evaluate(labelled, "--systems", "bliss", "--json", env=env)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert means(figures, "bliss") == pytest.approx(BY_HAND)
    assert figures["leads"] == {}


def no_tracks(folder):
    (folder / "data/song_db/tracks.csv").unlink()


def labels_of_others(folder):
    (folder / "data/song_db/tracks.csv").write_text("song,artist,genre\nsomething else,me,rock\n")


def no_such_vectors(folder):
    (folder / "hand.npz").unlink()


def vectors_of_one(folder):
    np.savez(folder / "hand.npz", songs=np.array(["Artist 0 - Song 0"]), vectors=np.ones((1, 3)))


def vectors_without_names(folder):
    np.savez(folder / "hand.npz", vectors=np.ones((24, 3)))


def intact(folder):
    pass


def distances_of_one(folder):
    np.savez(folder / "hand.npz", songs=np.array(["Artist 0 - Song 0"]), distances=np.ones((1, 1)))


def distances_without_columns(folder):
    songs = [f"Artist {n // 4} - Song {n}" for n in range(24)]
    np.savez(folder / "hand.npz", songs=np.array(songs), distances=np.ones((24, 3)))


HAND = ["--systems", "random", "--vectors", "hand=hand.npz"]
MATRIX = ["--systems", "random", "--matrix", "hand=hand.npz"]


@pytest.fixture
def library(labelled, tmp_path):
    """A copy of the labelled library to spoil."""
    folder = tmp_path / "library"
    (folder / "data/song_db").mkdir(parents=True)
    for part in ("songs", "slices"):
        (folder / "data/song_db" / part).symlink_to(labelled / "data/song_db" / part)
    for file in ("data/song_db/vectors.db", "data/song_db/tracks.csv", "model.pt", "hand.npz"):
        shutil.copy(labelled / file, folder / file)
    return folder


@pytest.mark.parametrize(
    ("spoil", "flags", "told"),
    [
        (no_tracks, [], "tracks.csv is missing, and the tags"),
        (labels_of_others, [], "lists 0 of these songs"),
        (intact, ["--split", "valid"], "lists 0 of these songs"),
        (intact, ["--systems", "musly"], "-m pip install -r requirements-peers.txt"),
        (intact, ["--systems", "bliss"], "bliss needs the package bliss_audio"),
        (no_such_vectors, HAND, "hand.npz holds no arrays"),
        (vectors_without_names, HAND, "hand.npz holds no arrays"),
        (vectors_of_one, HAND, "hand.npz has no vectors of 'Artist 0 - Song 1'"),
        (intact, MATRIX, "hand.npz holds no arrays `songs` and `distances`"),
        (distances_of_one, MATRIX, "hand.npz has no distances of 'Artist 0 - Song 1'"),
        (distances_without_columns, MATRIX, "as many columns as rows"),
    ],
)
def test_what_cannot_be_measured_is_told_in_one_line(library, without_peers, spoil, flags, told):
    spoil(library)
    flags = [flag.replace("hand=", f"hand={library}/") for flag in flags]
    env = without_peers if {"musly", "bliss"} & {*flags} else None
    done = evaluate(library, *flags, env=env)
    assert done.returncode == 1, done.stderr
    assert told in done.stderr and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("mode", "flags", "told"),
    [
        ("Test", ["--vectors", "hand.npz"], "not of the form NAME=FILE"),
        ("Test", ["--systems", "genius"], "invalid choice: 'genius'"),
        ("Train", ["--systems", "random"], "go with -m Test"),
        ("Train", ["--fuse", "random+mfcc"], "go with -m Test"),
        ("Train", ["--matrix", "x=a.npz"], "go with -m Test"),
        ("Test", ["--matrix", "hand.npz"], "not of the form NAME=FILE"),
        ("Test", ["--matrix", "mfcc=a.npz"], "the name 'mfcc' is taken"),
        ("Test", ["--vectors", "full=hand.npz"], "the name 'full' is taken"),
        ("Test", ["--against", "bliss=model.pt"], "the name 'bliss' is taken"),
        ("Test", ["--vectors", "x=a.npz", "--against", "x=b.pt"], "the name 'x' is taken"),
    ],
)
def test_flags_that_do_not_fit_are_wrong_usage(tmp_path, mode, flags, told):
    done = evaluate(tmp_path, *flags, mode=mode)
    assert done.returncode == 2
    assert told in done.stderr and done.stdout == ""
    assert len(done.stderr.strip().splitlines()) == 1
