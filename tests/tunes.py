"""Real audio, made in milliseconds."""

import subprocess

import numpy as np
import soundfile

SAMPLE_RATE_HZ = 22_050


def tune(seconds=4.0, seed=0, sample_rate_hz=SAMPLE_RATE_HZ):
    """Return a little tune [shape=(n,), dtype=float32]; the seed decides notes and timbre."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * sample_rate_hz)) / sample_rate_hz
    samples = 0.02 * rng.standard_normal(len(time_s))
    for note_hz in rng.uniform(110, 1800, size=4):
        beat_hz = rng.uniform(0.5, 4.0)
        envelope = 0.5 + 0.5 * np.sin(2 * np.pi * beat_hz * time_s)
        for harmonic in range(1, 1 + rng.integers(1, 6)):
            samples += 0.1 / harmonic * envelope * np.sin(2 * np.pi * note_hz * harmonic * time_s)
    return samples.astype(np.float32)


def write_tune(path, seconds=4.0, seed=0, sample_rate_hz=SAMPLE_RATE_HZ):
    """Write a tune in the format that the path's ending names; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = tune(seconds, seed, sample_rate_hz)
    if path.suffix.lower() in {".m4a", ".aac"}:
        wav = path.with_name(path.name + ".wav")
        soundfile.write(wav, samples, sample_rate_hz)
        command = ["ffmpeg", "-v", "error", "-y", "-i", str(wav), f"file:{path}"]
        subprocess.run(command, check=True)
        wav.unlink()
    elif path.suffix.lower() == ".opus":
        soundfile.write(path, samples, 24_000, format="OGG", subtype="OPUS")
    else:
        soundfile.write(path, samples, sample_rate_hz)
    return path
