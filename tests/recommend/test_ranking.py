"""The ranking itself."""

import dataclasses

import numpy as np
import pytest

from songrec.recommend.ranking import Descriptions, distances, measure_scales, similarities
from songrec.sound.patterns import pattern_vector
from songrec.sound.timbre import Timbres


def test_the_distance_of_classes_is_hellingers():
    songs = stack([describe(seed) for seed in range(3)])
    classes = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]], np.float32)
    songs = dataclasses.replace(songs, classes=classes)
    # By its definition: the Euclidean distance of the roots, over the root of 2.
    wanted = np.linalg.norm(np.sqrt(classes) - np.sqrt(classes[1]), axis=1) / np.sqrt(2)
    assert np.allclose(distances(songs, songs[[1]])[:, 3], wanted, atol=1e-3)


def describe(seed, n_slices=4):
    rng = np.random.default_rng(seed)
    slices = rng.integers(0, 200, (n_slices, 128, 128), dtype=np.uint8)
    vector, timbre = rng.standard_normal((1, 8)).astype(np.float32), Timbres.of_slices(slices)
    classes = rng.dirichlet([1.0] * 3, 1).astype(np.float32)
    return Descriptions(vector, timbre, pattern_vector(slices, timbre)[None], classes)


def stack(songs):
    return Descriptions(
        np.concatenate([song.vectors for song in songs]),
        Timbres.from_numbers(np.concatenate([song.timbres.to_numbers() for song in songs])),
        np.concatenate([song.patterns for song in songs]),
        np.concatenate([song.classes for song in songs]),
    )


def test_a_hub_is_taken_down():
    """A song in the middle of all is everybody's nearest by cosine, but not in the full ranking."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((60, 64)).astype(np.float32)
    vectors[0] = 0
    vectors += 8 * np.eye(64, dtype=np.float32)[0]
    songs = stack([describe(seed) for seed in range(60)])
    songs = dataclasses.replace(songs, vectors=vectors)
    scales = measure_scales(songs, songs)
    n_first_cosine = n_first_full = 0
    for row in range(1, 60):
        others = np.arange(60) != row
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        n_first_cosine += np.argmax(np.where(others, unit @ unit[row], -9)) == 0
        full = similarities(songs, scales, songs[[row]], scales[[row]])
        assert full.min() >= 0 and full.max() <= 1
        n_first_full += np.argmax(np.where(others, full, -9)) == 0
    assert n_first_cosine > 15
    assert n_first_full < n_first_cosine / 3


@pytest.mark.parametrize("part", ["vectors", "patterns", "classes"])
def test_every_part_counts_in_the_full_ranking(part):
    plain = stack([describe(seed) for seed in range(30)])
    numbers = np.eye(30, dtype=np.float32)  # no two are alike
    apart = dataclasses.replace(plain, **{part: numbers.copy()})
    numbers[5] = numbers[0]
    alike = dataclasses.replace(plain, **{part: numbers})
    found = []
    for songs in (apart, alike):
        scales = measure_scales(songs, songs)
        found.append(similarities(songs, scales, songs[[0]], scales[[0]])[5])
    assert found[1] > found[0] + 0.15
