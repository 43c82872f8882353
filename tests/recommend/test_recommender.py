"""The one object to ask: what it loads, how often, and that a notebook can hold it."""

import contextlib
import io
import json

import pytest

import recommender as script
import spotify_slices
import spotify_specs
from songrec import Question, Recommender
from songrec.errors import UsageError
from songrec.network import embedder
from songrec.store.vectors import VectorStore
from tests.models import write_model
from tests.tunes import write_tune


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A library of eight songs with slices and no vectors yet, and a model."""
    folder = tmp_path_factory.mktemp("recommender")
    for number in range(8):
        path = folder / f"data/song_db/songs/Artist {number // 2} - Song {number}.wav"
        write_tune(path, seconds=4, seed=number)
    for stage in (spotify_specs, spotify_slices):
        assert stage.main(["-m", "Test", "--data", str(folder / "data"), "-q"]) == 0
    write_model(folder / "model.pt")
    return folder


@pytest.fixture
def loads(monkeypatch):
    """Count the network's and the store's loads."""
    counts = {"network": 0, "store": 0}
    load_model, load = embedder.load_model, VectorStore.load

    def counted_model(path):
        counts["network"] += 1
        return load_model(path)

    def counted_store(store):
        counts["store"] += 1
        return load(store)

    monkeypatch.setattr(embedder, "load_model", counted_model)
    monkeypatch.setattr(VectorStore, "load", counted_store)
    return counts


@pytest.mark.slow
def test_network_and_store_are_loaded_no_more_than_needed(prepared, tmp_path, loads):
    data, model = prepared / "data", prepared / "model.pt"
    outside = [str(write_tune(tmp_path / f"Guest {n}.wav", seed=50 + n)) for n in range(2)]
    first = Recommender.open(data, model, jobs=1)
    assert loads == {"network": 1, "store": 2}
    assert len(first.ask(Question(["Song 1"], n=3)).recommendations) == 3
    assert loads == {"network": 1, "store": 2}

    second = Recommender.open(data, model, jobs=1)
    second.ask(Question(["Song 1"]))
    assert loads == {"network": 1, "store": 3}
    assert second.ask(Question(outside)).queries == ["Guest 0", "Guest 1"]
    second.ask(Question(outside[:1]))
    assert loads == {"network": 2, "store": 3}


def test_an_object_answers_what_the_script_prints(prepared):
    data, model = prepared / "data", prepared / "model.pt"
    asked = Recommender.open(data, model).ask(Question(["Song 3"], n=4))
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        words = ["-m", "Recommend", "Song 3", "4", "--json", "--data", str(data)]
        assert script.main([*words, "--model", str(model)]) == 0
    assert json.loads(printed.getvalue()) == json.loads(json.dumps(asked.as_values()))


def test_songs_without_their_audio_are_answers_without_a_file(prepared, tmp_path):
    data = tmp_path / "data"
    (data / "song_db").mkdir(parents=True)
    (data / "song_db/slices").symlink_to(prepared / "data/song_db/slices")
    answer = Recommender.open(data, prepared / "model.pt").ask(Question(["Song 3"]))
    assert len(answer.recommendations) == 3
    assert all(row["file"] is None for row in answer.as_values()["recommendations"])


@pytest.mark.parametrize(
    "wrong", [{"songs": []}, {"songs": "Song 1"}, {"n": 0}, {"ranking": "loud"}], ids=str
)
def test_a_question_that_cannot_be_answered_is_refused(wrong):
    with pytest.raises(UsageError):
        Question(**{"songs": ["Song 1"], **wrong})
