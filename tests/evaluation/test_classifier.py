"""evaluate.py -m Train: the classifier on songs that it was not trained on."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from songrec.errors import LabelError, RecipeMismatchError
from songrec.learning.accuracy import interval_95
from songrec.learning.arrays import REBUILD, WITH_TEST_SONGS
from songrec.learning.classification import classification_text, classify_test_songs
from songrec.store.database import Database
from tests.evaluation.evaluating import evaluate
from tests.models import write_classifier
from tests.training_data import LIGHT, load, train


@pytest.mark.slow
def test_the_classifier_is_measured_on_the_test_songs(train_db, tmp_path):
    assert load(train_db, "--split", "official").returncode == 0
    model = tmp_path / "model.pt"
    flags = [*LIGHT, "--epochs", "2", "--batch-size", "8"]
    trained = train(train_db, model, *flags)
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
        assert of_class["interval_95"] == pytest.approx(interval_95(confusion[number], 3))
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
    assert load(train_db, "--split", "official").returncode == 0
    path = tmp_path / "model.pt"
    write_classifier(path, "genre", ["genre 0", "genre 1"])
    return Database.training(train_db), path


def test_a_model_of_other_arrays_is_measured_with_a_warning(arrays_and_model):
    figures = classify_test_songs(*arrays_and_model, None)
    assert not figures["trained_on_these_arrays"]
    assert "the model was not trained on these arrays" in classification_text(figures)


@pytest.mark.parametrize(
    ("label", "classes", "told"),
    [
        ("genre", ["a", "b", "c"], r"classifies genres \['a', 'b', 'c'\], the arrays hold genres"),
        ("genre", ["genre 1", "genre 0"], r"classifies genres \['genre 1', 'genre 0'\]"),
        ("artist", ["genre 0", "genre 1"], r"classifies artists .*, the arrays hold genres"),
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
    with pytest.raises(RecipeMismatchError, match="arrays was made with recipe old") as raised:
        classify_test_songs(database, path, None)
    assert raised.value.advice == (REBUILD,)


def test_without_test_songs_it_says_how_to_get_some(arrays_and_model):
    database, path = arrays_and_model
    np.save(database.arrays_dir / "test_y.npy", np.empty(0, dtype=np.int64))
    with pytest.raises(LabelError, match="no test songs") as raised:
        classify_test_songs(database, path, None)
    assert raised.value.advice == (WITH_TEST_SONGS,)
