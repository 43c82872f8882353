"""Decoding what libsndfile cannot read: ffmpeg through a pipe."""

import os
import subprocess
import tempfile
import time

import numpy as np
import pytest
import soundfile

from songrec.errors import UndecodableError, UnusableAudioError
from songrec.sound import audio
from songrec.sound.audio import load_audio
from tests.tunes import tune


def encode(path, seconds=8.0, channels=1, rate_hz=44_100, *flags):
    samples = np.stack([tune(seconds, seed, rate_hz) for seed in range(channels)], axis=1)
    wav = path.with_suffix(".source.wav")
    soundfile.write(wav, samples, rate_hz, subtype="FLOAT")
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(wav), *flags, str(path)]
    subprocess.run(command, check=True)
    wav.unlink()
    return path


def through_a_file(path):
    """Return what libsndfile makes of a float wav that ffmpeg writes."""
    wav = path.with_suffix(".float.wav")
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(path), "-c:a", "pcm_f32le", str(wav)]
    subprocess.run(command, check=True)
    return load_audio(wav)[0]


@pytest.mark.parametrize(
    ("channels", "rate_hz", "flags"),
    [(1, 44_100, ()), (2, 48_000, ()), (6, 44_100, ()), (2, 22_050, ("-c:a", "alac"))],
)
def test_the_samples_are_those_of_a_float_wav(tmp_path, channels, rate_hz, flags):
    path = encode(tmp_path / "x.m4a", 13.0, channels, rate_hz, *flags)
    samples, remark = load_audio(path)
    assert remark is None and len(samples) > 12 * 22_050
    assert np.array_equal(samples, through_a_file(path))


def test_a_damaged_end_is_remarked(tmp_path):
    path = encode(tmp_path / "x.aac")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    samples, remark = load_audio(path)
    assert 4 < len(samples) / 22_050 < 7
    assert remark == "is damaged towards its end; what could be decoded is used"


def test_no_scratch_file_appears(tmp_path, monkeypatch):
    """One would outlive a killed run and may need gigabytes."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    path = encode(tmp_path / "x.m4a")
    seen = []
    to_mono = audio._to_mono

    def watched(block):
        seen.extend(os.listdir(scratch))
        return to_mono(block)

    monkeypatch.setattr(audio, "_to_mono", watched)
    load_audio(path)
    assert seen == []


def test_a_decoder_that_hangs_is_ended(tmp_path, monkeypatch):
    program = tmp_path / "ffmpeg"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    (tmp_path / "x.m4a").write_bytes(b"music" * 100)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(audio, "_FFMPEG_TIMEOUT_S", 0.3)
    start_s = time.monotonic()
    with pytest.raises(UndecodableError, match="ffmpeg took more than"):
        load_audio(tmp_path / "x.m4a")
    assert time.monotonic() - start_s < 10


def test_a_song_that_is_too_long_ends_ffmpeg(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "MAX_SONG_S", 5.0)
    with pytest.raises(UnusableAudioError, match="longer than"):
        load_audio(encode(tmp_path / "x.m4a", 60.0))


def test_what_is_no_audio_says_why(tmp_path):
    (tmp_path / "x.m4a").write_text("la la la" * 100)
    with pytest.raises(UndecodableError, match="Invalid data"):
        load_audio(tmp_path / "x.m4a")


@pytest.mark.parametrize("kind", ["pipe", "device", "nothing", "folder"])
def test_only_regular_files_are_read(tmp_path, kind):
    path = tmp_path / "x.wav"
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "nothing": lambda: None,
        "folder": path.mkdir,
    }[kind]()
    with pytest.raises(UndecodableError, match=r"not a regular file|cannot be opened"):
        load_audio(path)
