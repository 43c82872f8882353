"""Other systems to compare with, as similarities between the songs of a library."""

import importlib.util
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from songrec.advice import Advice
from songrec.errors import LibraryError
from songrec.evaluation.measures import standardised_similarity
from songrec.recommend.library import Library
from songrec.recommend.ranking import cosine_similarities
from songrec.sound.audio import load_audio
from songrec.sound.timbre import Timbres

# Name -> the package that must be installed, "" for none; see requirements-peers.txt.
PEERS = {"random": "", "mfcc": "", "musly": "pymusly", "bliss": "bliss_audio"}
INSTALL_PEERS = Advice("pip", ("install", "-r", "requirements-peers.txt"))


def is_installed(peer: str) -> bool:
    """Tell whether what a peer needs is installed."""
    package = PEERS[peer]
    return not package or importlib.util.find_spec(package) is not None


def peer_similarity(peer: str, library: Library) -> np.ndarray:
    """Return a peer's similarities [shape=(n, n)] between the songs of a library.

    Raises
    ------
    LibraryError
        If the peer is not installed, or needs audio files that are not there.
    """
    if not is_installed(peer):
        raise LibraryError(f"{peer} needs the package {PEERS[peer]}", INSTALL_PEERS)
    return _COMPUTE[peer](library)


def _random(library: Library) -> np.ndarray:
    n_songs = len(library.songs)
    return np.random.default_rng(0).random((n_songs, n_songs))


def _mfcc(library: Library) -> np.ndarray:
    """Means and deviations of the cepstral coefficients: the textbook's description."""
    timbres: Timbres = library.descriptions.timbres
    return standardised_similarity(np.concatenate([timbres.mean, timbres.deviation], axis=1))


def _musly(library: Library) -> np.ndarray:
    import pymusly

    jukebox = pymusly.MuslyJukebox(method="timbre", decoder="none")
    tracks = [jukebox.track_from_audiodata(load_audio(path)[0]) for path in _audio(library)]
    # The jukebox learns its mutual proximity from these same tracks.
    jukebox.set_style(tracks)
    numbered = list(zip(jukebox.add_tracks(tracks), tracks, strict=True))
    return -np.array([jukebox.compute_similarity(seed, numbered) for seed in numbered])


def _bliss(library: Library) -> np.ndarray:
    import bliss_audio

    features = np.array([bliss_audio.Song(str(path)).analysis for path in _audio(library)])
    # bliss's own distance: Euclidean, its features being scaled to -1..1 already.
    return -np.stack([np.linalg.norm(features - row, axis=1) for row in features])


def _audio(library: Library) -> list[Path]:
    missing = [song.file for song in library.songs if not song.path.is_file()]
    if missing:
        raise LibraryError(
            f"this comparison needs the audio of every song; missing in "
            f"{library.database.songs_dir}: {missing[0]}"
        )
    return [song.path for song in library.songs]


_COMPUTE: dict[str, Callable[[Library], np.ndarray]] = {
    "random": _random,
    "mfcc": _mfcc,
    "musly": _musly,
    "bliss": _bliss,
}


def vector_similarity(path: Path, library: Library) -> np.ndarray:
    """Return the cosine similarities [shape=(n, n)] of vectors that another system made.

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
    try:
        with np.load(path) as content:
            row_of = {str(song): row for row, song in enumerate(content["songs"])}
            vectors = content["vectors"].astype(np.float64)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise LibraryError(f"{path} holds no arrays `songs` and `vectors` ({error})") from error
    if vectors.ndim != 2 or len(vectors) != len(row_of) or not np.isfinite(vectors).all():
        raise LibraryError(f"{path}: `vectors` must hold one row of finite numbers a song")
    if not vectors.any(axis=1).all():
        raise LibraryError(f"{path}: a vector of zeros has no direction")
    missing = [song.name for song in library.songs if song.name not in row_of]
    if missing:
        raise LibraryError(f"{path} has no vector of {missing[0]!r}")
    mine = vectors[[row_of[song.name] for song in library.songs]]
    return np.stack([cosine_similarities(mine, row) for row in mine])
