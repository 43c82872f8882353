"""The recipe: every parameter of a spectrogram."""

import dataclasses
import hashlib
import json
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All parameters that determine the pixels of a spectrogram and its slices.

    Training and every query use the same recipe; vectors of two recipes are not comparable.

    Attributes
    ----------
    decoder, mono, resampler, window, pad_mode, mel_scale, mel_norm, power
        Documentation that enters the digest: `audio.py` and `mel.py` implement these values and
        do not read them.
    """

    decoder: str = "libsndfile, else ffmpeg"
    mono: str = "mean of the channels"
    resampler: Literal["soxr HQ"] = "soxr HQ"
    sample_rate_hz: int = 22_050
    n_fft: int = 2048
    hop_length: int = 512
    window: Literal["hann"] = "hann"
    pad_mode: Literal["constant"] = "constant"
    n_mels: int = 128
    f_min_hz: float = 0.0
    f_max_hz: float = 8_000.0
    mel_scale: Literal["slaney"] = "slaney"
    mel_norm: Literal["slaney"] = "slaney"
    power: float = 2.0
    top_db: float = 80.0
    slice_frames: int = 128

    @property
    def digest(self) -> str:
        """First 12 hexadecimal digits of the SHA-256 of the recipe's sorted JSON."""
        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def slice_s(self) -> float:
        """Length of a slice in seconds."""
        return self.slice_frames * self.hop_length / self.sample_rate_hz


RECIPE = Recipe()
