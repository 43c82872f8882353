"""The patterns of a song, and the projection that is learnt for them."""

import numpy as np
import pytest

from songrec.patterns import (
    N_DIMS,
    Projection,
    contrast_pattern,
    correlation_pattern,
    fluctuation_pattern,
    measure_patterns,
    pattern_vector,
    shipped_projection,
    spectral_pattern,
)
from songrec.ranking import cosine_similarities
from songrec.timbre import Timbres

FRAMES_PER_S = 22_050 / 512


def slices_of(seed, n_slices=10):
    from conftest import tune

    from songrec.picture import mel_picture
    from songrec.slices import cut

    return cut(mel_picture(tune(3 * n_slices, seed)))[:n_slices]


def vector_of(slices):
    return pattern_vector(slices, Timbres.of_slices(slices))


@pytest.mark.parametrize("speed_hz", [0.7, 2.0, 5.5, 11.0])
def test_a_pulse_shows_at_its_speed(speed_hz):
    time_s = np.arange(1300) / FRAMES_PER_S
    level_db = np.full((32, 1300), 40.0)
    level_db[7] += 10 * np.sin(2 * np.pi * speed_hz * time_s)
    pattern = fluctuation_pattern(level_db).reshape(32, -1)
    bounds_hz = np.unique(np.round(np.geomspace(1, 90, 24))) * FRAMES_PER_S / 256
    strongest = pattern[7].argmax()
    assert bounds_hz[strongest] * 0.85 < speed_hz < bounds_hz[strongest + 1] * 1.15
    assert pattern[7].max() > 3
    assert np.delete(pattern, 7, axis=0).max() < 1e-3


def test_a_shifted_beginning_leaves_the_pulse_as_it_is():
    time_s = np.arange(1300) / FRAMES_PER_S
    one, other = (
        fluctuation_pattern(np.tile(20 * np.sin(2 * np.pi * 2 * (time_s + late_s)), (32, 1)))
        for late_s in (0.0, 0.21)
    )
    assert np.abs(one - other).max() < 0.05


def test_bands_that_move_together_correlate():
    rng = np.random.default_rng(0)
    level_db = rng.normal(40, 10, (4, 1280))
    level_db[1] = level_db[0] + 5
    level_db[2] = 80 - level_db[0]
    found = correlation_pattern(level_db)
    pairs = dict(zip(zip(*np.triu_indices(4, 1), strict=True), found, strict=True))
    assert pairs[0, 1] == pytest.approx(1, abs=0.01)
    assert pairs[0, 2] == pytest.approx(-1, abs=0.01)
    assert abs(pairs[0, 3]) < 0.1


def test_a_band_that_is_loud_for_a_third_of_the_time_says_so():
    level_db = np.zeros((2, 1200))
    level_db[1, ::3] = 30
    quiet, pulsed = spectral_pattern(level_db).reshape(2, 10)
    assert not quiet.any()
    assert list(pulsed) == [0] * 6 + [30] * 4


def test_tones_stand_out_and_noise_does_not():
    rng = np.random.default_rng(0)
    noise_db = rng.normal(40, 1, (128, 400))
    tones_db = noise_db.copy()
    tones_db[4::8] += 30
    assert contrast_pattern(tones_db).mean() > contrast_pattern(noise_db).mean() + 10


def test_one_slice_is_enough_and_a_long_song_costs_no_more_memory():
    vector = vector_of(slices_of(1, n_slices=1))
    assert vector.shape == (N_DIMS,) and np.isfinite(vector).all() and vector.any()
    rng = np.random.default_rng(0)
    for pattern, rows in ((spectral_pattern, 64), (fluctuation_pattern, 32)):
        level_db = rng.normal(40, 10, (rows, 200_000)).astype(np.float32)
        short = pattern(level_db[:, :10_000])
        assert np.abs(pattern(level_db) - short).max() < 3


def test_the_halves_of_a_tune_are_nearer_than_other_tunes():
    halves = [vector_of(part) for seed in range(6) for part in np.split(slices_of(seed), 2)]
    vectors = np.stack(halves)
    for row in range(12):
        similarity = cosine_similarities(vectors, vectors[row])
        similarity[row] = -9
        assert similarity.argmax() == row ^ 1


def test_a_projection_comes_back_as_it_was_saved(tmp_path):
    shipped = shipped_projection()
    shipped.save(tmp_path / "again.npz")
    again = Projection.load(tmp_path / "again.npz")
    slices = slices_of(3)
    patterns = np.concatenate(measure_patterns(slices, Timbres.of_slices(slices)))[None]
    assert np.array_equal(again.apply(patterns), shipped.apply(patterns))
    assert again.apply(patterns).shape == (1, N_DIMS)
