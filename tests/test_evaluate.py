"""evaluate.py: the measures by hand, other systems beside this one, and the classifier."""

import json
import shutil
import types

import numpy as np
import pytest
import test_recommend
import test_training
import torch
from conftest import run_script, write_tune
from PIL import Image

import model
from songrec.errors import LabelError, RecipeMismatchError
from songrec.evaluation.comparison import open_subject
from songrec.evaluation.measures import (
    MEASURES,
    N_BOOTSTRAP,
    LabelledSongs,
    Scores,
    bootstrap_weights,
    differences,
    hubness,
    interval,
    score,
    standardised_similarity,
)
from songrec.evaluation.peers import peer_similarity
from songrec.learning.classification import classification_text, classify_test_songs
from songrec.learning.statistics import wilson_interval
from songrec.network.checkpoint import TrainedModel, save_model
from songrec.recommend.library import open_library
from songrec.runs.options import Options
from songrec.store.database import Database
from songrec.store.pictures import write_spec
from songrec.store.slices import write_slices

train_db = test_training.train_db

# What a system that the tests make up must score in the library of `labelled`, worked out by
# hand: four songs of each of six artists, two of each album, eight of each genre.
BY_HAND = {
    "genre_p1": 1.0,
    "genre_p5": 4 / 5,
    "genre_p10": 4 / 10,
    "artist_hit10": 1.0,
    "artist_mrr": 1.0,
    "artist_hit10_other_album": 1.0,
    "artist_mrr_other_album": 1.0,
}


def labelled_songs(*rows):
    """Songs of (artist, album, genre)."""
    return LabelledSongs(*(np.array(column, dtype=object) for column in zip(*rows, strict=True)))


def similarity_of(orders):
    """A matrix by which query i finds the songs in the order of orders[i]; it loves itself."""
    matrix = np.full((len(orders), len(orders)), 99.0)
    for query, order in enumerate(orders):
        matrix[query, order] = -np.arange(len(order))
    return matrix


# --- the measures, by hand ---------------------------------------------------------------------

SIX = labelled_songs(
    ("A", "a1", "rock"),
    ("A", "a1", "rock"),
    ("A", "a2", "rock"),
    ("B", "b1", "rock"),
    ("B", "b1", "jazz"),
    ("", "", "jazz"),
)
SIX_ORDERS = [
    [1, 3, 4, 2, 5],
    [5, 4, 3, 2, 0],
    [3, 4, 0, 5, 1],
    [0, 1, 2, 4, 5],
    [0, 5, 3, 1, 2],
    [4, 0, 1, 2, 3],
]


def test_the_measures_are_those_worked_out_by_hand():
    told = score(similarity_of(SIX_ORDERS), SIX).per_query
    none = np.nan
    expected = {
        # Songs of the query's own artist do not count, however near they are.
        "genre_p1": [1, 0, 1, 1, 0, 1],
        "genre_p5": [1 / 3, 1 / 3, 1 / 3, 3 / 4, 1 / 4, 1 / 5],
        "genre_p10": [1 / 3, 1 / 3, 1 / 3, 3 / 4, 1 / 4, 1 / 5],
        "artist_hit10": [1, 1, 1, 1, 1, none],
        "artist_mrr": [1, 1 / 4, 1 / 3, 1 / 4, 1 / 3, none],
        # Without the query's own album: song 2 stands third for song 0, fourth for song 1.
        "artist_hit10_other_album": [1, 1, 1, none, none, none],
        "artist_mrr_other_album": [1 / 3, 1 / 4, 1 / 3, none, none, none],
    }
    assert set(expected) == set(MEASURES)
    for measure, values in expected.items():
        assert told[measure] == pytest.approx(values, nan_ok=True), measure


def test_songs_without_genre_neither_ask_nor_answer_for_genre():
    songs = labelled_songs(("A", "", "rock"), ("B", "", ""), ("C", "", "rock"), ("D", "", "jazz"))
    told = score(similarity_of([[1, 2, 3], [0, 2, 3], [1, 3, 0], [1, 0, 2]]), songs).per_query
    assert told["genre_p1"] == pytest.approx([1, np.nan, 0, 0], nan_ok=True)
    assert told["genre_p5"] == pytest.approx([1 / 2, np.nan, 1 / 2, 0], nan_ok=True)
    assert np.isnan(told["artist_mrr"]).all()


@pytest.mark.parametrize(("rank", "hit"), [(1, 1.0), (10, 1.0), (11, 0.0)])
def test_the_tenth_place_is_the_last_that_hits(rank, hit):
    songs = labelled_songs(("A", "", ""), ("A", "", ""), *((str(n), "", "") for n in range(12)))
    order = list(range(2, 14))
    order.insert(rank - 1, 1)
    told = score(
        similarity_of([order, *([n for n in range(14) if n != q] for q in range(1, 14))]), songs
    )
    assert told.per_query["artist_hit10"][0] == hit
    assert told.per_query["artist_mrr"][0] == pytest.approx(1 / rank)
    assert told.neighbours[0].tolist() == order[:10]


def test_hubness_is_the_skew_of_how_often_songs_are_found():
    neighbours = np.array([[1], [0], [0], [0]])
    skew, never = hubness(neighbours)
    # Found 3, 1, 0, 0 times: mean 1, third moment 6 / 4, variance 6 / 4.
    assert skew == pytest.approx(1.5 / 1.5**1.5)
    assert never == 0.5
    # Found 4, 0, 0, 0 times: as skew as four numbers can be.
    assert hubness(np.array([[0], [0], [0], [0]])) == pytest.approx((2 / np.sqrt(3), 0.75))
    assert hubness(np.array([[1], [2], [0]])) == (0.0, 0.0)


def test_the_distance_between_features_of_different_scale():
    features = np.array([[0.0, 0.0, 7.0], [2.0, 2000.0, 7.0]])
    told = standardised_similarity(features)
    assert told == pytest.approx(np.array([[0, -np.sqrt(8)], [-np.sqrt(8), 0]]))


# --- how sure they are -------------------------------------------------------------------------


def songs_of_artists(n_songs, n_artists):
    return labelled_songs(*((f"artist {n % n_artists}", "", "") for n in range(n_songs)))


def test_artists_are_drawn_whole():
    weights = bootstrap_weights(songs_of_artists(30, 5).groups)
    assert weights.shape == (N_BOOTSTRAP, 30)
    assert np.array_equal(weights[:, :5], weights[:, 5:10])
    assert (weights[:, :5].sum(axis=1) == 5).all()
    assert weights.min() == 0 and weights.max() > 1
    alone = bootstrap_weights(labelled_songs(*[("", "", "")] * 6).groups)
    assert len(np.unique(alone, axis=1).T) == 6


def test_the_interval_holds_the_mean_and_is_wider_for_fewer_artists():
    rng = np.random.default_rng(0)
    widths = []
    for n_artists in (80, 20, 5):
        songs = songs_of_artists(240, n_artists)
        of_artist = rng.permutation(np.linspace(0, 1, n_artists))
        values = of_artist[np.arange(240) % n_artists]
        mean, low, high = interval(values, bootstrap_weights(songs.groups))
        assert mean == pytest.approx(0.5)
        assert low < 0.5 < high
        widths.append(high - low)
        # Of independent artists the standard error is known.
        error = of_artist.std() / np.sqrt(n_artists)
        assert high - low == pytest.approx(2 * 1.96 * error, rel=0.12)
    assert widths[0] < widths[1] / 1.5 < widths[2] / 3


def test_songs_that_are_no_query_do_not_weigh():
    weights = bootstrap_weights(songs_of_artists(40, 20).groups)
    values = np.where(np.arange(40) < 20, 0.25, np.nan)
    assert interval(values, weights) == pytest.approx((0.25, 0.25, 0.25))
    assert np.isnan(interval(np.full(40, np.nan), weights)).all()


def test_differences_are_paired():
    """A small lead on every query is sure, however far apart the queries themselves are."""
    rng = np.random.default_rng(1)
    songs = labelled_songs(*((f"artist {n // 2}", "", f"{n % 2}") for n in range(60)))
    one = score(rng.random((60, 60)), songs)
    other = score(rng.random((60, 60)), songs)
    worse = {name: values - 0.01 for name, values in one.per_query.items()}
    weights = bootstrap_weights(songs.groups)
    lead = differences(one, type(one)(worse, one.neighbours), weights)
    assert lead["genre_p5"] == pytest.approx([0.01, 0.01, 0.01])
    assert lead["artist_mrr"] == pytest.approx([0.01, 0.01, 0.01])
    forth, back = differences(one, other, weights), differences(other, one, weights)
    mean = np.nanmean(one.per_query["genre_p5"]) - np.nanmean(other.per_query["genre_p5"])
    assert forth["genre_p5"][0] == pytest.approx(mean)
    assert forth["genre_p5"] == pytest.approx([-back["genre_p5"][n] for n in (0, 2, 1)], abs=2e-3)


def test_random_recommendations_are_as_good_as_chance():
    n_songs = 360
    songs = labelled_songs(*((str(n // 6), str(n // 3), str(n // 6 % 4)) for n in range(n_songs)))
    similarity = peer_similarity("random", types.SimpleNamespace(songs=range(n_songs)))
    told = {name: np.nanmean(v) for name, v in score(similarity, songs).per_query.items()}
    # 84 songs of other artists in the query's genre, of 354 of other artists.
    assert told["genre_p10"] == pytest.approx(84 / 354, abs=0.02)
    assert told["genre_p1"] == pytest.approx(84 / 354, abs=0.06)
    assert told["artist_hit10"] == pytest.approx(1 - (1 - 10 / 359) ** 5, abs=0.04)
    assert told["artist_hit10_other_album"] == pytest.approx(1 - (1 - 10 / 357) ** 3, abs=0.04)


# --- evaluate.py -m Test -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A library of 24 labelled songs, vectors of a made-up system, and models."""
    folder = tmp_path_factory.mktemp("library")
    database = Database.library(folder / "data")
    for n in range(24):
        write_tune(database.songs_dir / f"Artist {n // 4} - Song {n}.wav", seconds=6.5, seed=n)
    for song in database.songs():
        write_spec(database, song)
        write_slices(database, song)
    model = test_recommend.write_model(folder / "model.pt")
    test_recommend.write_model(folder / "other.pt", seed=5)
    library = open_library(database, model, Options(jobs=2, quiet=True))
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
    return folder


@pytest.fixture(scope="session")
def without_peers(tmp_path_factory):
    """An environment in which no peer is installed."""
    folder = tmp_path_factory.mktemp("trap")
    (folder / "sitecustomize.py").write_text(
        "import sys\nsys.modules['pymusly'] = sys.modules['bliss_audio'] = None\n"
    )
    return {"PYTHONPATH": str(folder)}


def evaluate(folder, *args, mode="Test", env=None):
    return run_script(
        "evaluate.py",
        *("-m", mode, "--data", folder / "data", "--model", folder / "model.pt"),
        *args,
        env=env,
    )


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


def test_a_split_is_measured_as_if_it_were_the_library(labelled, without_peers, tmp_path):
    done = evaluate(
        labelled,
        *("--split", "test", "--vectors", f"hand={labelled / 'hand.npz'}"),
        *("--plot", tmp_path / "new/plot.png"),
        env=without_peers,
    )
    assert done.returncode == 0, done.stderr
    assert "16 songs of 4 named artists" in done.stdout
    assert "genre_p1 16" in done.stdout
    tables = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    # What is not installed is left out where nobody asked for it.
    assert [line.split(" |")[0] for line in tables] == [
        *("| system", "| full", "| cosine", "| random", "| mfcc", "| hand"),
        *("| system", "| cosine", "| random", "| mfcc", "| hand"),
    ]
    # Only two artists a genre are left, so every song still has four of its genre elsewhere.
    cells = dict(zip(tables[0].split(" | ")[1:], tables[5].split(" | ")[1:], strict=True))
    for measure, value in BY_HAND.items():
        assert cells[measure].startswith(f"{value:.3f} (")
    with Image.open(tmp_path / "new/plot.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 300
        assert len(np.unique(np.asarray(picture.convert("L")))) > 5


def test_an_accent_written_as_a_character_of_its_own_meets_its_label(tmp_path):
    database = Database.library(tmp_path / "data")
    for seed, name in enumerate(["Jose\u0301 - A", "Ann - B"]):
        write_tune(database.songs_dir / f"{name}.wav", seed=seed)
    for song in database.songs():
        write_spec(database, song)
        write_slices(database, song)
    database.tracks_csv.write_text("song,artist\nJos\u00e9 - A,Jos\u00e9\nAnn - B,Ann\n", "utf-8")
    model = test_recommend.write_model(tmp_path / "model.pt")
    subject = open_subject(database, model, Options(jobs=1, quiet=True), None)
    assert sorted(subject.labels.artist) == ["Ann", "Jos\u00e9"]


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


HAND = ["--systems", "random", "--vectors", "hand=hand.npz"]


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
        (no_tracks, [], "tracks.csv is missing"),
        (labels_of_others, [], "lists 0 of these songs"),
        (intact, ["--split", "valid"], "lists 0 of these songs"),
        (intact, ["--systems", "musly"], "pip install -r requirements-peers.txt"),
        (intact, ["--systems", "bliss"], "bliss needs the package bliss_audio"),
        (no_such_vectors, HAND, "hand.npz holds no arrays"),
        (vectors_without_names, HAND, "hand.npz holds no arrays"),
        (vectors_of_one, HAND, "hand.npz has no vector of 'Artist 0 - Song 1'"),
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


# --- evaluate.py -m Train ----------------------------------------------------------------------


def test_the_classifier_is_measured_on_the_test_songs(train_db, tmp_path):
    assert test_training.load(train_db, "--split", "official").returncode == 0
    model = tmp_path / "model.pt"
    flags = [*test_training.LIGHT, "--epochs", "2", "--batch-size", "8"]
    trained = test_training.train(train_db, model, *flags)
    assert trained.returncode == 0, trained.stderr
    metrics = json.loads((tmp_path / "model/metrics.json").read_text())

    done = evaluate(tmp_path, "--json", "--plot", tmp_path / "confusion.png", mode="Train")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    of_test = metrics["test"]
    for name in ("n_songs", "n_slices", "accuracy_songs", "accuracy_slices", "confusion_songs"):
        assert figures[name] == of_test[name]
    assert (figures["n_songs"], figures["chance"]) == (6, 0.5)
    assert list(figures["per_class"]) == ["genre 0", "genre 1"]
    for number, of_class in enumerate(figures["per_class"].values()):
        confusion = figures["confusion_songs"][number]
        assert (of_class["right"], of_class["n_songs"]) == (confusion[number], 3)
        assert of_class["interval_95"] == pytest.approx(wilson_interval(confusion[number], 3))
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.format == "PNG" and min(picture.size) > 300

    assert figures["trained_on_these_arrays"]
    text = classification_text(figures)
    assert "not trained on these arrays" not in text
    assert f"songs   {figures['accuracy_songs']:.1%} of 6 right" in text
    first = figures["per_class"]["genre 0"]
    assert f"  genre 0: {first['right']} of 3 (" in text


@pytest.fixture
def arrays_and_model(train_db, tmp_path):
    """Arrays with test songs, and a model of their classes that was never trained."""
    assert test_training.load(train_db, "--split", "official").returncode == 0
    path = tmp_path / "model.pt"
    write_classifier(path, "genre", ["genre 0", "genre 1"])
    return Database.training(train_db), path


def write_classifier(path, label, classes):
    architecture = test_recommend.ARCHITECTURE
    network = model.build(architecture, len(classes))
    save_model(path, TrainedModel(network, architecture, label, classes, {}, {}))


def test_a_model_of_other_arrays_is_measured_with_a_warning(arrays_and_model):
    figures = classify_test_songs(*arrays_and_model, None)
    assert not figures["trained_on_these_arrays"]
    assert "the model was not trained on these arrays" in classification_text(figures)


@pytest.mark.parametrize(
    ("label", "classes", "told"),
    [
        ("genre", ["a", "b", "c"], r"tells genres \['a', 'b', 'c'\] apart, the arrays hold genres"),
        ("genre", ["genre 1", "genre 0"], r"tells genres \['genre 1', 'genre 0'\] apart"),
        ("artist", ["genre 0", "genre 1"], r"tells artists .* apart, the arrays hold genres"),
    ],
)
def test_a_model_of_other_classes_is_refused(arrays_and_model, label, classes, told):
    database, path = arrays_and_model
    write_classifier(path, label, classes)
    with pytest.raises(LabelError, match=told):
        classify_test_songs(database, path, None)


def test_pictures_of_another_recipe_are_refused(arrays_and_model):
    database, path = arrays_and_model
    content = torch.load(path, weights_only=True)
    torch.save({**content, "recipe_digest": "0123456789ab"}, path)
    with pytest.raises(RecipeMismatchError, match="was trained with recipe 0123456789ab"):
        classify_test_songs(database, path, None)
    torch.save(content, path)
    mark = database.arrays_dir / "recipe.json"
    mark.write_text(mark.read_text().replace('"digest": "', '"digest": "old'))
    with pytest.raises(RecipeMismatchError, match=r"load_training_data\.py --force"):
        classify_test_songs(database, path, None)


def test_without_test_songs_it_says_how_to_get_some(arrays_and_model):
    database, path = arrays_and_model
    np.save(database.arrays_dir / "test_y.npy", np.empty(0, dtype=np.int64))
    with pytest.raises(LabelError, match=r"no test songs; run: .* --size 0\.8"):
        classify_test_songs(database, path, None)


def test_scores_of_uneven_libraries_are_joined():
    rng = np.random.default_rng(0)
    parts = []
    for n_songs in (4, 15):
        names = np.array([f"artist {n % 2}" for n in range(n_songs)], dtype=object)
        labels = LabelledSongs(names, names, names)
        parts.append(score(rng.random((n_songs, n_songs)), labels))
    joined = Scores.joined(parts)
    assert joined.neighbours.shape == (19, 3)
    assert (joined.neighbours[:4] == parts[0].neighbours).all()
    assert (joined.neighbours[4:] == parts[1].neighbours[:, :3] + 4).all()
    assert joined.per_query["artist_mrr"].tolist() == [
        *parts[0].per_query["artist_mrr"],
        *parts[1].per_query["artist_mrr"],
    ]
    assert np.isfinite(hubness(joined.neighbours)).all()
