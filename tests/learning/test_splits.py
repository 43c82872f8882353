"""The random split: groups whole, labels in proportion."""

import numpy as np
import pytest

from songrec.learning.splits import draw_test_songs


@pytest.mark.parametrize("seed", range(5))
def test_artists_stay_whole_and_genres_keep_their_share(seed):
    rng = np.random.default_rng(seed)
    artists = [f"artist {n}" for n in rng.integers(0, 120, size=1000)]
    genre_of = {artist: f"genre {rng.integers(4)}" for artist in sorted(set(artists))}
    genres = [genre_of[artist] for artist in artists]
    is_test = draw_test_songs(genres, artists, test_share=0.2, seed=seed)
    for artist in set(artists):
        sides = {bool(t) for t, a in zip(is_test, artists, strict=True) if a == artist}
        assert len(sides) == 1
    for genre in set(genres):
        of_genre = np.array(genres) == genre
        assert abs(is_test[of_genre].mean() - 0.2) < 0.04


def test_every_label_trains_and_is_tested_where_it_can_be():
    labels = ["rare", "pair", "pair", *["common"] * 20]
    groups = ["", "", "", *[f"a{n // 2}" for n in range(20)]]
    is_test = draw_test_songs(labels, groups, test_share=0.1, seed=3)
    assert not is_test[0]
    assert is_test[1:3].sum() == 1
    assert 1 <= is_test[3:].sum() <= 4


def test_songs_without_artist_are_groups_of_their_own():
    is_test = draw_test_songs(["a"] * 50 + ["b"] * 50, [""] * 100, test_share=0.3, seed=0)
    assert is_test.sum() == 30


def test_nothing_to_test_and_the_seed():
    labels, groups = ["a", "b"] * 50, [""] * 100
    assert not draw_test_songs(labels, groups, test_share=0.0, seed=0).any()
    first = draw_test_songs(labels, groups, 0.2, seed=0)
    assert np.array_equal(first, draw_test_songs(labels, groups, 0.2, seed=0))
    assert not np.array_equal(first, draw_test_songs(labels, groups, 0.2, seed=1))
