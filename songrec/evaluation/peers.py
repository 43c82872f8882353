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
    """Return the cosine similarities [shape=(n,)] by vectors that another system made.

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
    return (cosine_similarities(mine, row) for row in mine)
