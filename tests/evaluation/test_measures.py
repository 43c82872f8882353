"""The measures of recommendations, worked out by hand."""

import tracemalloc
import types

import numpy as np
import pytest

from songrec.evaluation.labels import LabelledSongs
from songrec.evaluation.measures import (
    MEASURES,
    N_BOOTSTRAP,
    Resamples,
    Scores,
    differences,
    hubness,
    mutual_proximity,
    score,
    standardised_similarities,
)
from songrec.evaluation.peers import peer_similarities
from tests.evaluation.labels import SIX, SIX_ORDERS, labelled_songs, similarity_of


def test_mutual_proximity_is_worked_out_by_hand():
    distances = np.array([[0, 1, 3], [2, 0, 4], [3, 9, 0.0]])
    # Song 0 is 2 +- 1 from others, song 1 3 +- 1, song 2 6 +- 3; the share of a normal
    # distribution above one deviation below its mean is .8413, above one above it .1587.
    told = mutual_proximity(distances)
    assert told[0, 1] == pytest.approx(0.8413 * 0.8413, abs=1e-3)
    assert told[0, 2] == told[2, 0] == pytest.approx(0.1587 * 0.8413, abs=1e-3)
    assert told[1, 2] == pytest.approx(0.1587 * 0.1587, abs=1e-3)
    # How much a song loves itself changes nothing.
    told_again = mutual_proximity(distances + np.diag([7, 8, 9.0]))
    off = ~np.eye(3, dtype=bool)
    assert np.allclose(told_again[off], told[off])
    assert np.isfinite(mutual_proximity(np.ones((3, 3)))).all()


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
    told = list(standardised_similarities(features))
    assert np.array(told) == pytest.approx(np.array([[0, -np.sqrt(8)], [-np.sqrt(8), 0]]))


def songs_of_artists(n_songs, n_artists):
    return labelled_songs(*((f"artist {n % n_artists}", "", "") for n in range(n_songs)))


def test_artists_are_drawn_whole():
    resamples = Resamples.of(songs_of_artists(30, 5).groups)
    assert resamples.groups.tolist() == [0, 1, 2, 3, 4] * 6
    assert resamples.draws.shape == (N_BOOTSTRAP, 5)
    assert (resamples.draws.sum(axis=1) == 5).all()
    assert resamples.draws.min() == 0 and resamples.draws.max() > 1
    alone = Resamples.of(labelled_songs(*[("", "", "")] * 6).groups)
    assert len(np.unique(alone.draws, axis=1).T) == 6


def test_the_interval_holds_the_mean_and_is_wider_for_fewer_artists():
    rng = np.random.default_rng(0)
    widths = []
    for n_artists in (80, 20, 5):
        songs = songs_of_artists(240, n_artists)
        of_artist = rng.permutation(np.linspace(0, 1, n_artists))
        values = of_artist[np.arange(240) % n_artists]
        mean, low, high = Resamples.of(songs.groups).interval(values)
        assert mean == pytest.approx(0.5)
        assert low < 0.5 < high
        widths.append(high - low)
        # Of independent artists the standard error is known.
        error = of_artist.std() / np.sqrt(n_artists)
        assert high - low == pytest.approx(2 * 1.96 * error, rel=0.12)
    assert widths[0] < widths[1] / 1.5 < widths[2] / 3


def test_songs_that_are_no_query_do_not_weigh():
    resamples = Resamples.of(songs_of_artists(40, 20).groups)
    values = np.where(np.arange(40) < 20, 0.25, np.nan)
    assert resamples.interval(values) == pytest.approx((0.25, 0.25, 0.25))
    assert np.isnan(resamples.interval(np.full(40, np.nan))).all()


def test_differences_are_paired():
    """A small lead on every query is sure, however far apart the queries themselves are."""
    rng = np.random.default_rng(1)
    songs = labelled_songs(*((f"artist {n // 2}", "", f"{n % 2}") for n in range(60)))
    one = score(rng.random((60, 60)), songs)
    other = score(rng.random((60, 60)), songs)
    worse = {name: values - 0.01 for name, values in one.per_query.items()}
    resamples = Resamples.of(songs.groups)
    lead = differences(one, type(one)(worse, one.neighbours), resamples)
    assert lead["genre_p5"] == pytest.approx([0.01, 0.01, 0.01])
    assert lead["artist_mrr"] == pytest.approx([0.01, 0.01, 0.01])
    forth, back = differences(one, other, resamples), differences(other, one, resamples)
    mean = np.nanmean(one.per_query["genre_p5"]) - np.nanmean(other.per_query["genre_p5"])
    assert forth["genre_p5"][0] == pytest.approx(mean)
    assert forth["genre_p5"] == pytest.approx([-back["genre_p5"][n] for n in (0, 2, 1)], abs=2e-3)


def test_random_recommendations_are_as_good_as_chance():
    n_songs = 360
    songs = labelled_songs(*((str(n // 6), str(n // 3), str(n // 6 % 4)) for n in range(n_songs)))
    found = peer_similarities("random", types.SimpleNamespace(songs=range(n_songs)))
    told = {name: np.nanmean(v) for name, v in score(found, songs).per_query.items()}
    # 84 songs of other artists in the query's genre, of 354 of other artists.
    assert told["genre_p10"] == pytest.approx(84 / 354, abs=0.02)
    assert told["genre_p1"] == pytest.approx(84 / 354, abs=0.06)
    assert told["artist_hit10"] == pytest.approx(1 - (1 - 10 / 359) ** 5, abs=0.04)
    assert told["artist_hit10_other_album"] == pytest.approx(1 - (1 - 10 / 357) ** 3, abs=0.04)


@pytest.mark.slow
def test_a_large_library_is_scored_without_holding_all_similarities():
    n_songs = 3000
    songs = labelled_songs(*((str(n // 6), str(n // 3), str(n % 4)) for n in range(n_songs)))
    timbres = types.SimpleNamespace(mean=np.random.default_rng(0).random((n_songs, 20)))
    timbres.deviation = timbres.mean
    library = types.SimpleNamespace(
        songs=range(n_songs), descriptions=types.SimpleNamespace(timbres=timbres)
    )
    tracemalloc.start()
    for peer in ("random", "mfcc"):
        score(peer_similarities(peer, library), songs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n_songs * n_songs * 8 / 10


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
