"""Timbre as Gaussians of cepstra."""

import numpy as np
import pytest

from songrec.sound.timbre import Timbres
from tests.tunes import tune


def test_timbre_distance_is_that_of_the_gaussians():
    """Against the definition, for Gaussians fitted to the columns' cepstra by other means."""
    from scipy.fft import dct

    from songrec.sound.mel import mel_picture

    pictures = [mel_picture(tune(6, seed=seed))[:, :256] for seed in (1, 2)]
    gaussians = []
    for picture in pictures:
        level_db = picture[::-1].astype(float) * 80 / 255
        cepstrum = dct(level_db, axis=0, norm="ortho")[1:26]
        gaussians.append((cepstrum.mean(axis=1), np.cov(cepstrum) + np.eye(25)))
    (m1, c1), (m2, c2) = gaussians
    merged = (c1 + c2) / 2 + np.outer(m1 - m2, m1 - m2) / 4
    entropy = (
        np.linalg.slogdet(merged)[1] - (np.linalg.slogdet(c1)[1] + np.linalg.slogdet(c2)[1]) / 2
    )
    one, other = (Timbres.of_slices(np.stack(np.split(p, 2, axis=1))) for p in pictures)
    assert one.distances_from(other)[0] == pytest.approx(np.sqrt(entropy / 2), rel=1e-3)
    assert one.distances_from(one)[0] < 1e-2
    assert other.distances_from(one)[0] == pytest.approx(one.distances_from(other)[0], rel=1e-4)
    again = Timbres.from_numbers(one.to_numbers())
    assert np.array_equal(again.covariance, one.covariance)
    assert one.deviation[0] == pytest.approx(np.sqrt(np.diagonal(c1)), rel=1e-3)
    # Many songs at once, more than go through the cache together.
    both = np.concatenate([one.to_numbers(), other.to_numbers()])
    many = Timbres.from_numbers(np.repeat(both, [200, 300], axis=0)).distances_from(one)
    assert many.shape == (500,) and many[:200].max() < 1e-2
    assert many[200:] == pytest.approx(other.distances_from(one)[0], rel=1e-4)
