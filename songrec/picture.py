"""Samples -> mel spectrogram -> 8-bit grey picture, and the picture files."""

import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import scipy.fft
from PIL import Image, PngImagePlugin

from songrec.audio import load_audio
from songrec.database import Database, Song
from songrec.errors import BadPictureError
from songrec.files import atomic_path
from songrec.recipe import RECIPE, Recipe

_BLOCK_FRAMES = 1024
_AMIN = 1e-10  # librosa.power_to_db's floor
_ORIGIN_KEY = "songrec"


@dataclasses.dataclass(frozen=True)
class Origin:
    """Which file a picture was made from, kept as JSON in a text chunk of its PNG.

    Attributes
    ----------
    file
        Path of the audio below `songs/`.
    size, mtime_ns
        Of that file when the picture was made: another size or time means a changed file.
    recipe
        Digest of the recipe.
    """

    file: str
    size: int
    mtime_ns: int
    recipe: str

    @classmethod
    def of(cls, file: str, path: Path) -> "Origin | None":
        """Return the origin that a picture made of `path` now would have; None if it is gone."""
        try:
            status = path.stat()
        except OSError:
            return None
        return cls(file, status.st_size, status.st_mtime_ns, RECIPE.digest)


def mel_picture(samples: np.ndarray) -> np.ndarray:
    """Draw the mel spectrogram of mono samples by the recipe.

    Power mel spectrogram (mel scale and normalisation as librosa has them), in decibels below
    its own maximum, cut at -`top_db`.

    Parameters
    ----------
    samples : np.ndarray [shape=(n,), dtype=float32]
        Mono, at `RECIPE.sample_rate_hz`.

    Returns
    -------
    np.ndarray [shape=(n_mels, 1 + n // hop_length), dtype=uint8]
        Row 0 is the highest band; 255 is 0 dB, 0 is -`top_db`.
    """
    mel = _mel_power(samples)
    level_db = 10.0 * np.log10(np.maximum(mel, _AMIN))
    level_db -= level_db.max()
    np.maximum(level_db, -RECIPE.top_db, out=level_db)
    grey = np.rint((level_db / RECIPE.top_db + 1.0) * 255.0).astype(np.uint8)
    return grey[::-1]


def _mel_power(samples: np.ndarray) -> np.ndarray:
    """Return the power mel spectrogram [shape=(n_mels, n_frames), dtype=float32]."""
    filters, window = _filters_and_window(RECIPE)
    samples = samples.astype(np.float32, copy=False)
    padded = np.pad(samples, RECIPE.n_fft // 2, mode=RECIPE.pad_mode)
    frames = np.lib.stride_tricks.sliding_window_view(padded, RECIPE.n_fft)[:: RECIPE.hop_length]
    mel = np.empty((RECIPE.n_mels, len(frames)), dtype=np.float32)
    for start in range(0, len(frames), _BLOCK_FRAMES):
        block = frames[start : start + _BLOCK_FRAMES] * window
        spectrum = scipy.fft.rfft(block, axis=1, overwrite_x=True)
        power = spectrum.real**2 + spectrum.imag**2
        if RECIPE.power != 2.0:
            power **= RECIPE.power / 2.0
        mel[:, start : start + len(block)] = filters @ power.T
    return mel


@functools.cache
def _filters_and_window(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return librosa's mel filters [shape=(n_mels, 1 + n_fft // 2)] and the window."""
    import librosa.filters

    filters = librosa.filters.mel(
        sr=recipe.sample_rate_hz,
        n_fft=recipe.n_fft,
        n_mels=recipe.n_mels,
        fmin=recipe.f_min_hz,
        fmax=recipe.f_max_hz,
        htk=recipe.mel_scale == "htk",
        norm=recipe.mel_norm,
        dtype=np.float32,
    )
    window = librosa.filters.get_window(recipe.window, recipe.n_fft, fftbins=True)
    return filters, window.astype(np.float32)


def has_current_spec(database: Database, song: Song) -> bool:
    """Tell whether the spectrogram of `song` was made by this recipe from the file as it is."""
    made = read_origin(database.spec_path(song.key))
    now = Origin.of(song.file, song.path)
    # A song whose file cannot be reached now (an unplugged disk) keeps what it has.
    return made is not None and (made == now or now is None)


def write_spec(database: Database, song: Song) -> str | None:
    """Decode `song` and write its spectrogram; return a remark about the file, if any.

    Raises
    ------
    SongError
        If the file cannot be decoded or holds nothing to compare.
    DiskFullError
        If there is no space left.
    """
    origin = Origin.of(song.file, song.path)
    samples, remark = load_audio(song.path)
    write_picture(database.spec_path(song.key), mel_picture(samples), origin)
    return remark


def write_picture(path: Path, picture: np.ndarray, origin: Origin | None) -> None:
    """Write a grey picture [shape=(n_mels, n_frames), dtype=uint8] as PNG, whole or not at all."""
    with atomic_path(path) as part:
        save_png(part, picture, origin)


def save_png(path: Path, picture: np.ndarray, origin: Origin | None) -> None:
    """Save a grey picture as PNG at `path` itself, whatever its ending."""
    info = PngImagePlugin.PngInfo()
    if origin is not None:
        info.add_itxt(_ORIGIN_KEY, json.dumps(dataclasses.asdict(origin)))
    image = Image.fromarray(np.ascontiguousarray(picture))
    # Level 1 packs a spectrogram nearly as small as level 6 in a third of the time.
    image.save(path, format="PNG", compress_level=1, pnginfo=info)


def read_picture(path: Path) -> np.ndarray:
    """Read a picture [shape=(n_mels, n_frames), dtype=uint8].

    Raises
    ------
    BadPictureError
        If the file is damaged, or is not a grey PNG of the recipe's height.
    """
    told = f"{path.parent.name}/{path.name}"  # Every song has a 0001.png.
    try:
        with Image.open(path) as image:
            picture = np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadPictureError(f"{told} is not a picture that can be read ({error})") from error
    if picture.dtype != np.uint8 or picture.ndim != 2 or picture.shape[0] != RECIPE.n_mels:
        raise BadPictureError(
            f"{told} is not a grey picture {RECIPE.n_mels} high (shape {picture.shape})"
        )
    return picture


def read_origin(path: Path) -> Origin | None:
    """Return what a picture was made from; None where there is no picture or no such note."""
    try:
        with Image.open(path) as image:
            return Origin(**json.loads(image.info[_ORIGIN_KEY]))
    except (OSError, SyntaxError, ValueError, KeyError, TypeError):
        return None
