"""The recipe of the picture, and the mark that says which recipe a folder was made with."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Literal

from songrec.errors import RecipeMismatchError
from songrec.files import atomic_path

MARK_NAME = "recipe.json"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides the pixels of a spectrogram and the cut of a slice.

    Training and every query use the same recipe; vectors of two recipes are not comparable.

    Attributes
    ----------
    decoder, mono
        For the reader and the digest alone: what they say is in `audio.py`, and another way
        to do it would be other code there.
    """

    decoder: str = "libsndfile, else ffmpeg"
    mono: str = "mean of the channels"
    resampler: Literal["soxr HQ", "soxr VHQ", "soxr MQ"] = "soxr HQ"
    sample_rate_hz: int = 22_050
    n_fft: int = 2048
    hop_length: int = 512
    window: str = "hann"
    pad_mode: Literal["constant", "reflect", "edge"] = "constant"
    n_mels: int = 128
    f_min_hz: float = 0.0
    f_max_hz: float = 8_000.0
    mel_scale: Literal["slaney", "htk"] = "slaney"
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
    def soxr_quality(self) -> str:
        """The quality of `resampler`, as soxr calls it."""
        return self.resampler.removeprefix("soxr ")

    @property
    def slice_s(self) -> float:
        """Length of a slice in seconds."""
        return self.slice_frames * self.hop_length / self.sample_rate_hz


RECIPE = Recipe()


def check_mark(folder: Path, rebuild: str) -> None:
    """Refuse a folder that was made with another recipe.

    Parameters
    ----------
    folder
        A folder of specs, slices or arrays; one without a mark passes.
    rebuild
        The command that makes the folder anew, for the message.

    Raises
    ------
    RecipeMismatchError
        If the folder's mark holds another digest than `RECIPE`'s, or cannot be read.
    """
    mark = folder / MARK_NAME
    try:
        digest = json.loads(mark.read_text(encoding="utf-8"))["digest"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError) as error:
        raise RecipeMismatchError(f"{mark} is damaged ({error}); run: {rebuild}") from error
    if digest != RECIPE.digest:
        raise RecipeMismatchError(
            f"{folder} was made with recipe {digest}, this version uses {RECIPE.digest}; "
            f"run: {rebuild}"
        )


def write_mark(folder: Path) -> None:
    """Write the current recipe and its digest into `folder`."""
    content = {"digest": RECIPE.digest, **dataclasses.asdict(RECIPE)}
    with atomic_path(folder / MARK_NAME) as part:
        part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
