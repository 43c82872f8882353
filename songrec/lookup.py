"""Finding the song a user means: neither guessing nor giving up early."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from songrec.database import AUDIO_ENDINGS, Song
from songrec.errors import AmbiguousSongError, UnknownSongError, UsageError
from songrec.names import fold

_N_TOLD = 5


def find_song(name: str, songs: Sequence[Song]) -> Song:
    """Return the one song that goes by `name`.

    Tried in this order: the file's path below `songs/`, with or without its ending; the song's
    name as written; the name but for case, accents and punctuation; a part of the name. The
    first that fits any song decides.

    Raises
    ------
    AmbiguousSongError
        If it fits more than one; the message shows how to tell them apart.
    UnknownSongError
        If none fits; the message names the nearest.
    UsageError
        If the name is empty.
    """
    if not name.strip():
        raise UsageError("the name of the song is empty")
    folded = fold(name)
    tests: list[Callable[[Song], bool]] = [
        lambda song: name == song.file,
        lambda song: name == song.name,
        lambda song: name == song.title,
        lambda song: folded == fold(song.title),
        lambda song: folded in fold(song.title),
    ]
    for fits in tests if folded else tests[:3]:
        found = [song for song in songs if fits(song)]
        if len(found) == 1:
            return found[0]
        if found:
            raise _ambiguous(name, found)
    raise _unknown(name, songs)


def _ambiguous(name: str, found: Sequence[Song]) -> AmbiguousSongError:
    titles = [song.title for song in found]
    # Songs of the same name are told apart by their files.
    shown = titles if len(set(titles)) == len(titles) else [song.file for song in found]
    names = "; ".join(shown[:_N_TOLD]) + ("; ..." if len(shown) > _N_TOLD else "")
    return AmbiguousSongError(f"{name!r} fits {len(found)} songs, say which: {names}")


def _unknown(name: str, songs: Sequence[Song]) -> UnknownSongError:
    path = Path(name)
    # A folder here may have a name that was meant for a song: "data", say.
    if _exists(path) and (path.is_file() or os.sep in name):
        return UnknownSongError(f"{name} is no audio file")
    if path.suffix.lower() in AUDIO_ENDINGS:
        return UnknownSongError(f"{name} is no file, and no song of the library")
    from rapidfuzz import fuzz, process

    by_fold = {fold(song.title): song.title for song in songs}
    nearest = process.extract(fold(name), by_fold.keys(), scorer=fuzz.WRatio, limit=_N_TOLD)
    names = "; ".join(by_fold[match] for match, _, _ in nearest)
    return UnknownSongError(f"no song {name!r} in the library; the nearest: {names}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # A name too long for a file may still be a song's.
        return False
