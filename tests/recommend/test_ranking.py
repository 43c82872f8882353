"""The ranking itself."""

import dataclasses
import math

import numpy as np
import pytest

from songrec.evaluation.measures import hubness
from songrec.recommend import ranking
from songrec.recommend.ranking import (
    Descriptions,
    distances,
    make_references,
    measure_scales,
    similarities,
)
from songrec.sound.patterns import pattern_vector
from songrec.sound.timbre import Timbres


def describe(seed, n_slices=4):
    rng = np.random.default_rng(seed)
    slices = rng.integers(0, 200, (n_slices, 128, 128), dtype=np.uint8)
    vector, timbre = rng.standard_normal((1, 8)).astype(np.float32), Timbres.of_slices(slices)
    return Descriptions(vector, timbre, pattern_vector(slices, timbre)[None])


def stack(songs):
    return Descriptions(
        np.concatenate([song.vectors for song in songs]),
        Timbres.from_numbers(np.concatenate([song.timbres.to_numbers() for song in songs])),
        np.concatenate([song.patterns for song in songs]),
    )


@pytest.fixture(scope="module")
def sixty():
    return stack([describe(seed) for seed in range(60)])


def all_similarities(songs):
    """Return the similarities of every song to every song [shape=(n, n)]."""
    scales = measure_scales(songs, make_references(songs))
    rows = [[row] for row in range(len(songs))]
    return np.stack([similarities(songs, scales, songs[row], scales[row]) for row in rows])


def nearest(similarity, n_near):
    return np.argsort(-(similarity - 9.0 * np.eye(len(similarity))), axis=1)[:, :n_near]


def test_a_hub_is_taken_down(sixty):
    """A song in the middle of all is everybody's nearest by cosine, but not in the full ranking."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((60, 64)).astype(np.float32)
    vectors[0] = 0
    vectors += 8 * np.eye(64, dtype=np.float32)[0]
    full = all_similarities(dataclasses.replace(sixty, vectors=vectors))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    n_first_cosine = (nearest(unit @ unit.T, 1)[1:] == 0).sum()
    assert full.min() >= 0 and full.max() <= 1
    assert n_first_cosine > 15
    assert (nearest(full, 1)[1:] == 0).sum() < n_first_cosine / 3


def test_songs_that_are_hubs_in_every_distance_are_taken_down(monkeypatch):
    """Averaging the distances makes new hubs, so proximity is measured on the average."""
    rng = np.random.default_rng(1)
    places = rng.standard_normal((120, 12)) * rng.gamma(2.0, 0.5, (120, 1))
    alike = np.linalg.norm(places[:, None] - places, axis=2)
    songs = stack([describe(seed, n_slices=1) for seed in range(120)])
    row_of = {vector.tobytes(): row for row, vector in enumerate(songs.vectors)}

    def placed(library, query):
        rows = [row_of[vector.tobytes()] for vector in library.vectors]
        return np.repeat(alike[row_of[query.vectors[0].tobytes()]][rows][:, None], 3, axis=1)

    monkeypatch.setattr(ranking, "distances", placed)
    skew_before = hubness(nearest(-alike, 5))[0]
    skew = hubness(nearest(all_similarities(songs), 5))[0]
    assert skew_before > 1.5 and skew < 0.5


@pytest.mark.parametrize("part", ["vectors", "patterns", "timbres"])
def test_every_part_counts_in_the_full_ranking(sixty, part):
    plain = sixty[range(30)]
    if part == "timbres":
        numbers = plain.timbres.to_numbers()
        numbers[5] = (numbers[0] + 0.05 * (numbers[5] - numbers[0])).astype(np.float32)
        apart, alike = plain, dataclasses.replace(plain, timbres=Timbres.from_numbers(numbers))
    else:
        numbers = np.eye(30, dtype=np.float32)  # no two are alike
        apart = dataclasses.replace(plain, **{part: numbers.copy()})
        numbers[5] = numbers[0] + 0.1 * numbers[5]
        alike = dataclasses.replace(plain, **{part: numbers})
    assert all_similarities(alike)[0, 5] > all_similarities(apart)[0, 5] + 0.1


def test_a_song_is_nearest_to_itself_and_then_to_its_twin(sixty):
    twins = sixty[[*range(60), 7]]
    similarity = all_similarities(twins)
    for row in set(range(60)) - {7}:
        assert similarity[row].argmax() == row
    assert set(np.argsort(-similarity[7])[:2]) == {7, 60}
    assert similarity.max() <= 1.0


def test_the_similarity_is_the_mean_share_of_farther_songs_told_in_deviations(sixty):
    scales = measure_scales(sixty, make_references(sixty))
    found = distances(sixty, sixty[[3]])[9]
    own = (found - scales.mean[3]) / scales.deviation[3]
    other = (found - scales.mean[9]) / scales.deviation[9]
    mixed = (own + other).mean() / 2
    shares = [
        1 / (1 + math.exp((mixed - scales.median[row]) / scales.width[row])) for row in (3, 9)
    ]
    share = math.sqrt(shares[0] * shares[1])
    deviations = math.log(1 / share - 1) / (math.pi / math.sqrt(3))
    wanted = 1 / (1 + math.exp(deviations))
    assert all_similarities(sixty)[3, 9] == pytest.approx(wanted)


def test_a_usual_pair_has_the_similarity_of_one_half(sixty):
    similarity = all_similarities(sixty)
    assert np.median(similarity[~np.eye(60, dtype=bool)]) == pytest.approx(0.5, abs=0.03)


def test_the_fit_finds_the_logistic_distribution_that_numbers_are_drawn_from():
    share = (np.arange(100_000) + 0.5) / 100_000
    numbers = 3.0 + 0.7 * np.log(share / (1 - share))
    # The nearest 24 of 1,000 are the lowest 2.4 %.
    drawn = np.random.default_rng(0).permutation(numbers)
    fits = np.array([ranking._logistic_fit(part) for part in np.split(drawn, 100)])
    assert np.allclose(fits.mean(axis=0), (3.0, 0.7), rtol=0.02)
    assert ranking._logistic_fit(np.zeros(4))[1] > 0


def test_what_is_usual_is_not_told_by_copies_of_the_song(sixty):
    copies = stack([sixty[[0]]] * 5)
    references = make_references(stack([sixty, copies]))
    scales = measure_scales(sixty[[0, 1]], references)
    alone = measure_scales(sixty[[0]], make_references(sixty))
    assert scales.median[0] == pytest.approx(alone.median[0], abs=0.15)
    assert scales.mean[0] == pytest.approx(alone.mean[0], rel=1e-6)
