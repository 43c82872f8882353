"""The picture of a song, against librosa's."""

import librosa
import numpy as np
import pytest
import soundfile
import torch

from songrec.sound.audio import load_audio
from songrec.sound.mel import mel_picture
from songrec.sound.recipe import RECIPE
from tests.running import ROOT
from tests.tunes import SAMPLE_RATE_HZ, tune, write_tune


def librosa_picture(path):
    """The recipe by librosa alone, as README and design state it."""
    samples, _ = librosa.load(path, sr=22_050, mono=True, res_type="soxr_hq")
    mel = librosa.feature.melspectrogram(
        y=samples, sr=22_050, n_fft=2048, hop_length=512, n_mels=128, fmax=8000, pad_mode="constant"
    )
    level_db = librosa.power_to_db(mel, ref=np.max, top_db=80)
    return np.rint((level_db[::-1] + 80) / 80 * 255)


@pytest.mark.parametrize("sample_rate_hz", [22_050, 44_100, 48_000])
@pytest.mark.parametrize("ending", ["wav", "mp3"])
def test_pixels_equal_librosas_within_one_grey_level(tmp_path, ending, sample_rate_hz):
    path = tmp_path / f"song.{ending}"
    left = tune(6, seed=1, sample_rate_hz=sample_rate_hz)
    right = tune(6, seed=2, sample_rate_hz=sample_rate_hz)
    soundfile.write(path, np.stack([left, right], axis=1), sample_rate_hz)
    samples, _ = load_audio(path)
    ours = mel_picture(samples).astype(int)
    theirs = librosa_picture(path)
    assert ours.shape == theirs.shape == (128, 1 + len(samples) // 512)
    assert np.abs(ours - theirs).max() <= 1
    assert ours.max() == 255


def test_songs_are_resampled_as_the_recipe_says(tmp_path):
    path = write_tune(tmp_path / "song.wav", sample_rate_hz=44_100)
    ours, _ = load_audio(path)
    theirs = {q: librosa.load(path, sr=22_050, res_type=f"soxr_{q}")[0] for q in ("hq", "mq")}
    apart = {q: np.abs(ours - samples).max() for q, samples in theirs.items()}
    assert apart["hq"] < apart["mq"] / 10


def test_the_recipe_is_the_one_the_shipped_model_learnt_from():
    assert RECIPE.digest == "d09d04e09edf"
    assert torch.load(ROOT / "model.pt", weights_only=True)["recipe_digest"] == RECIPE.digest


def test_long_songs_are_drawn_in_blocks_as_if_whole(tmp_path):
    path = tmp_path / "long.flac"
    soundfile.write(path, tune(80, seed=3), SAMPLE_RATE_HZ)
    samples, _ = load_audio(path)
    assert np.abs(mel_picture(samples).astype(int) - librosa_picture(path)).max() <= 1


def test_highest_band_is_the_top_row(tmp_path):
    time_s = np.arange(4 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    drawn = mel_picture(np.sin(2 * np.pi * 7000 * time_s).astype(np.float32))
    assert drawn[:, 50].argmax() < 20
    assert drawn.min() == 0
