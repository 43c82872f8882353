"""Other systems to compare with: the similarities of each song of a library, in order, to all."""

import importlib.util
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from songrec.advice import Advice
from songrec.errors import LibraryError
from songrec.evaluation.measures import euclidean_similarities, standardised_similarities
from songrec.recommend.library import Library
from songrec.recommend.ranking import cosine_similarities
from songrec.sound.audio import load_audio
from songrec.sound.timbre import Timbres

# Name -> the package that must be installed, "" for none; see requirements-peers.txt.
PEERS = {"random": "", "mfcc": "", "musly": "pymusly", "bliss": "bliss_audio"}
NEED_AUDIO = ("musly", "bliss")
INSTALL_PEERS = Advice("pip", ("install", "-r", "requirements-peers.txt"))


def is_installed(peer: str) -> bool:
    """Return whether what a peer needs is installed."""
    package = PEERS[peer]
    return not package or importlib.util.find_spec(package) is not None


def peer_similarities(peer: str, library: Library) -> Iterator[np.ndarray]:
    """Return a peer's similarities [shape=(n,)] of each song of a library to all.

    Raises
    ------
    LibraryError
        If the peer is not installed, or needs audio files that are not there.
    """
    if not is_installed(peer):
        raise LibraryError(f"{peer} needs the package {PEERS[peer]}", INSTALL_PEERS)
    return _COMPUTE[peer](library)


def _random(library: Library) -> Iterator[np.ndarray]:
    n_songs = len(library.songs)
    rng = np.random.default_rng(0)
    return (rng.random(n_songs) for _ in range(n_songs))


def _mfcc(library: Library) -> Iterator[np.ndarray]:
    """Means and standard deviations of the cepstral coefficients: the textbook baseline."""
    timbres: Timbres = library.descriptions.timbres
    return standardised_similarities(np.concatenate([timbres.mean, timbres.deviation], axis=1))


def _musly(library: Library) -> Iterator[np.ndarray]:
    import pymusly

    jukebox = pymusly.MuslyJukebox(method="timbre", decoder="none")
    tracks = [jukebox.track_from_audiodata(load_audio(path)[0]) for path in _audio(library)]
    # The jukebox estimates its mutual proximity on these same tracks.
    jukebox.set_style(tracks)
    numbered = list(zip(jukebox.add_tracks(tracks), tracks, strict=True))
    return (-np.array(jukebox.compute_similarity(seed, numbered)) for seed in numbered)


def _bliss(library: Library) -> Iterator[np.ndarray]:
    import bliss_audio

    features = np.array([bliss_audio.Song(str(path)).analysis for path in _audio(library)])
    # bliss's own distance: Euclidean, its features being scaled to -1..1 already.
    return euclidean_similarities(features)


def _audio(library: Library) -> list[Path]:
    missing = [song.file for song in library.songs if not song.path.is_file()]
    if missing:
        raise LibraryError(
            f"this comparison needs the audio of every song; missing in "
            f"{library.database.songs_dir}: {missing[0]}"
        )
    return [song.path for song in library.songs]


_COMPUTE: dict[str, Callable[[Library], Iterator[np.ndarray]]] = {
    "random": _random,
    "mfcc": _mfcc,
    "musly": _musly,
    "bliss": _bliss,
}


def vector_similarities(path: Path, library: Library) -> Iterator[np.ndarray]:
    """Return the cosine similarities [shape=(n,)] of each song by vectors of another system.

    Parameters
    ----------
    path
        An .npz with `songs` (text, path below `songs/` without ending) and `vectors`
        (float, one row a song).

    Raises
    ------
    LibraryError
        If the file cannot be read or lacks a song.
    """
    vectors, rows = _read_named(path, "vectors", library)
    if not vectors.any(axis=1).all():
        raise LibraryError(f"{path}: a vector of zeros has no direction")
    mine = vectors[rows]
    return (cosine_similarities(mine, row) for row in mine)


def matrix_similarities(path: Path, library: Library) -> Iterator[np.ndarray]:
    """Return the negative distances [shape=(n,)] of each song by another system's matrix.

    Parameters
    ----------
    path
        An .npz with `songs` as for `vector_similarities` and `distances` [shape=(n, n)].
        Row: query.

    Raises
    ------
    LibraryError
        If the file cannot be read or lacks a song.
    """
    distances, rows = _read_named(path, "distances", library)
    if distances.shape[0] != distances.shape[1]:
        raise LibraryError(f"{path}: `distances` must have as many columns as rows")
    return (-distances[row, rows] for row in rows)


def _read_named(path: Path, name: str, library: Library) -> tuple[np.ndarray, list[int]]:
    """Read an array with one row a song, and the rows of the library's songs in it."""
    try:
        with np.load(path) as content:
            row_of = {str(song): row for row, song in enumerate(content["songs"])}
            numbers = content[name].astype(np.float64)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise LibraryError(f"{path} holds no arrays `songs` and `{name}` ({error})") from error
    if numbers.ndim != 2 or len(numbers) != len(row_of) or not np.isfinite(numbers).all():
        raise LibraryError(f"{path}: `{name}` must hold one row of finite numbers a song")
    missing = [song.name for song in library.songs if song.name not in row_of]
    if missing:
        raise LibraryError(f"{path} has no {name} of {missing[0]!r}")
    return numbers, [row_of[song.name] for song in library.songs]
