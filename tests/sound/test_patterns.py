"""The patterns of a song, and the projection that is learnt for them."""

import numpy as np
import pytest

from songrec.errors import ModelError
from songrec.recommend.ranking import cosine_similarities
from songrec.sound.patterns import (
    N_DIMS,
    Projection,
    _blocks,
    contrast_pattern,
    correlation_pattern,
    fluctuation_pattern,
    measure_patterns,
    pattern_vector,
    shipped_projection,
    spectral_pattern,
)
from songrec.sound.timbre import Timbres
from tests.tunes import tune

FRAMES_PER_S = 22_050 / 512


PINNED = [130.0, 89.73, 7.0, -0.0, 16.08]


def slices_of(seed, n_slices=10):

    from songrec.sound.mel import mel_picture
    from songrec.store.slices import cut

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


def test_one_slice_is_enough():
    vector = vector_of(slices_of(1, n_slices=1))
    assert vector.shape == (N_DIMS,) and np.isfinite(vector).all() and vector.any()


def test_of_a_long_song_blocks_are_heard_from_all_over_it():
    level_db = np.tile(np.arange(300_000, dtype=np.float32), (2, 1))
    blocks = _blocks(level_db, width=10, hop=5)
    assert len(blocks) == 2048
    assert blocks[0, 0, 0] == 0 and blocks[-1, 0, -1] > 299_980
    assert np.ptp(np.diff(blocks[:, 0, 0])) <= 5


def test_a_band_that_stands_still_correlates_with_nothing():
    rng = np.random.default_rng(0)
    level_db = np.stack([rng.normal(40, 10, 640), 40 + rng.normal(0, 1e-5, 640)])
    level_db[1] += 1e-6 * level_db[0]
    assert abs(correlation_pattern(level_db)[0]) < 0.01


def test_the_measures_are_those_that_the_projection_was_fitted_on():
    """A change here needs a new songrec/sound/patterns.npz: training/fit_patterns.py."""
    slices = np.random.default_rng(0).integers(0, 256, (4, 128, 128), dtype=np.uint8)
    slices = slices // 4 + np.arange(0, 128, dtype=np.uint8)[:, None]
    patterns = measure_patterns(slices, Timbres.of_slices(slices))
    assert [len(pattern) for pattern in patterns] == [350, 640, 608, 496, 80]
    first = [float(np.round(pattern[[0, 40]], 3).sum()) for pattern in patterns]
    assert first == pytest.approx(PINNED, abs=0.01)


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


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", None])
def test_a_damaged_projection_says_how_to_get_it_back(tmp_path, content):
    path = tmp_path / "patterns.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match="is missing or damaged") as caught:
        Projection.load(path)
    (advice,) = caught.value.advice
    assert (advice.program, advice.arguments) == ("git", ("checkout", "--", str(path)))
