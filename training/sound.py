"""Changes to the sound itself, as recordings of music differ, and farther.

Every function takes and gives mono waveforms [shape=(n,), dtype=float32] at the recipe's rate.
"""

import io

import numpy as np
import soundfile
import soxr
from scipy.fft import irfft, next_fast_len, rfft, rfftfreq
from scipy.signal import fftconvolve, lfilter

from songrec.sound.recipe import RECIPE

RATE_HZ = RECIPE.sample_rate_hz
BENDS_HZ = np.array([30, 80, 200, 500, 1200, 3000, 6000, 11025])
BLOCK = 256
LOUDNESS = 0.1  # root mean square of a layer
SILENCE = 1e-4


def level(y: np.ndarray) -> np.ndarray | None:
    """Give a sound one loudness; None where it is silent."""
    loudness = float(np.sqrt(np.mean(np.square(y)))) if len(y) else 0.0
    return None if loudness < SILENCE else y * np.float32(LOUDNESS / loudness)


def sped(y: np.ndarray, speed: float) -> np.ndarray:
    """Play a sound at another speed, and so at another pitch."""
    return np.asarray(soxr.resample(y, RATE_HZ * speed, RATE_HZ, quality="MQ"), np.float32)


def filled(y: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Cut `size` samples out of a sound, from any place; what is too short is repeated."""
    if len(y) >= size:
        start = int(rng.integers(len(y) - size + 1))
        return y[start : start + size]
    return np.resize(np.roll(y, int(rng.integers(len(y)))), size)


def shuffled(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cut a sound into parts of a quarter of a second to four, and put them in another order."""
    size = int(RATE_HZ * np.exp(rng.uniform(np.log(0.25), np.log(4.0))))
    n_parts = len(y) // size
    if n_parts < 2:
        return y
    # Drawn with repeats: some parts become loops.
    order = rng.integers(n_parts, size=n_parts)
    parts = y[: n_parts * size].reshape(n_parts, size)[order]
    fade = np.linspace(0, 1, 128, dtype=np.float32)
    parts[:, :128] *= fade
    parts[:, -128:] *= fade[::-1]
    return np.concatenate([parts.ravel(), y[n_parts * size :]])


def filtered(y: np.ndarray, rng: np.random.Generator, *, bend: bool, limit: bool) -> np.ndarray:
    """Bend the spectrum by some decibels, and cut its ends away, as old media do."""
    size = next_fast_len(len(y), real=True)
    hz = rfftfreq(size, 1 / RATE_HZ)
    gain_db = np.zeros(len(hz))
    octave = np.log2(np.maximum(hz, 20))
    if bend:
        bends_db = np.clip(rng.normal(0, 5, len(BENDS_HZ)), -12, 12)
        gain_db += np.interp(octave, np.log2(BENDS_HZ), bends_db)
    if limit:
        # A third at the very 4 kHz of a low bit rate and of old films.
        top_hz = 4000.0 if rng.random() < 0.33 else float(rng.uniform(2000, 7500))
        slope_db = float(rng.choice([24, 48, 300]))
        gain_db -= slope_db * np.maximum(octave - np.log2(top_hz), 0)
        if rng.random() < 0.4:
            gain_db -= 18 * np.maximum(np.log2(rng.uniform(60, 400)) - octave, 0)
    curve = 10 ** (np.maximum(gain_db, -100) / 20)
    bent = irfft(rfft(y, size) * curve.astype(np.float32), size)
    return np.asarray(bent[: len(y)], np.float32)


def compressed(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Raise what is soft, as on commercial records: a follower of the level and a ratio."""
    size = len(y) // BLOCK * BLOCK
    power = np.square(y[:size]).reshape(-1, BLOCK).mean(1) + 1e-8
    keep = float(np.exp(-BLOCK / RATE_HZ / rng.uniform(0.02, 0.4)))
    envelope_db = 10 * np.log10(lfilter([1 - keep], [1, -keep], power) + 1e-8)
    threshold_db = float(np.median(envelope_db) + rng.uniform(-15, 3))
    ratio = float(rng.uniform(1.5, 8))
    gain_db = -np.maximum(envelope_db - threshold_db, 0) * (1 - 1 / ratio)
    at = (np.arange(len(gain_db)) + 0.5) * BLOCK
    gain = np.interp(np.arange(len(y)), at, 10 ** (gain_db / 20))
    return np.asarray(y * gain, np.float32)


def limited(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Push a sound into its ceiling: softly, or clipped."""
    peak = float(np.percentile(np.abs(y[::7]), rng.uniform(80, 99.5))) + 1e-6
    x = y / np.float32(peak)
    return np.tanh(x) if rng.random() < 0.6 else np.clip(x, -1, 1)


def distorted(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Drive a sound far into an amplifier, more on one side, with some of it as it was."""
    drive = np.float32(np.exp(rng.uniform(np.log(8), np.log(120))))
    lean = np.float32(rng.uniform(0, 0.5))
    dirty = np.tanh(drive * y + lean) - np.tanh(lean)
    dry = np.float32(rng.uniform(0, 0.6))
    return np.asarray((1 - dry) * dirty * 0.3 + dry * y, np.float32)


def reverberated(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put a sound into a room: noise that fades within 0.2 to 3 s."""
    fade_s = float(np.exp(rng.uniform(np.log(0.2), np.log(3.0))))
    t = np.arange(int(fade_s * RATE_HZ)) / RATE_HZ
    room = rng.standard_normal(len(t)) * np.exp(-6.9 * t / fade_s)
    room = lfilter([1 - 0.5], [1, -0.5], room)
    room *= 10 ** (rng.uniform(-14, 2) / 20) / np.sqrt(np.sum(room**2))
    room[0] += 1.0
    return np.asarray(fftconvolve(y, room)[: len(y)], np.float32)


def coded(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Write a sound as mp3 or ogg of a low rate, and read it again."""
    file = io.BytesIO()
    kind, subtype = ("MP3", "MPEG_LAYER_III") if rng.random() < 0.5 else ("OGG", "VORBIS")
    peak = max(1.0, float(np.abs(y).max()))
    with soundfile.SoundFile(
        file, "w", RATE_HZ, 1, subtype, format=kind, compression_level=rng.uniform(0.7, 1.0)
    ) as out:
        # Vorbis' encoder does not stand a long write at once.
        for start in range(0, len(y), 1 << 15):
            out.write(y[start : start + (1 << 15)] / peak)
    file.seek(0)
    again, _ = soundfile.read(file, dtype="float32")
    return np.resize(again, len(y))


def noisy(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add hiss 20 to 45 dB below the sound."""
    loudness = float(np.sqrt(np.mean(np.square(y)))) * 10 ** (rng.uniform(-45, -20) / 20)
    hiss = rng.standard_normal(len(y), dtype=np.float32)
    return np.asarray(y + np.float32(loudness) * hiss)


def recorded(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change one layer of a mixture as a recording or an effect would."""
    if rng.random() < 0.12:
        y = shuffled(y, rng)
    if rng.random() < 0.15:
        y = distorted(y, rng)
    if rng.random() < 0.5:
        y = filtered(y, rng, bend=True, limit=False)
    if rng.random() < 0.2:
        y = reverberated(y, rng)
    return y


def mastered(y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change a whole mixture as mastering and media would."""
    bend, limit = rng.random() < 0.35, rng.random() < 0.25
    if rng.random() < 0.45:
        y = compressed(y, rng)
    if bend or limit:
        y = filtered(y, rng, bend=bend, limit=limit)
    if rng.random() < 0.35:
        y = limited(y, rng)
    if rng.random() < 0.1:
        y = noisy(y, rng)
    if rng.random() < 0.1:
        y = coded(y, rng)
    return y
