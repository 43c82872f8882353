"""Finding the song a user means: neither guessing nor giving up early."""

import os
from collections.abc import Sequence
from pathlib import Path

from songrec.errors import AmbiguousSongError, UnknownSongError, UsageError
from songrec.names import fold
from songrec.store.database import AUDIO_ENDINGS, Song

_N_SHOWN = 5


class NameIndex:
    """The names of a library's songs, folded once, to look songs up by.

    Parameters
    ----------
    songs
        The songs.
    folded
        `fold` of each song's title, in the same order; computed where it is not given.
    """

    def __init__(self, songs: Sequence[Song], folded: Sequence[str] | None = None) -> None:
        self._songs = songs
        self._folded = [fold(song.title) for song in songs] if folded is None else folded

    def find(self, name: str) -> int:
        """Return the row of the one song that matches `name`.

        Tried in this order: the file's path below `songs/`, with or without its ending; the
        song's name as written; the name except for case, accents and punctuation; a part of
        the name. The first that matches any song decides.

        Raises
        ------
        AmbiguousSongError
            If several match; the message shows how to distinguish them.
        UnknownSongError
            If none matches; the message names the closest.
        UsageError
            If the name is empty.
        """
        if not name.strip():
            raise UsageError("the name of the song is empty")
        songs, folded = self._songs, fold(name)
        if "/" in name or Path(name).suffix.lower() in AUDIO_ENDINGS:
            for rows in (
                [row for row, song in enumerate(songs) if song.file == name],
                [row for row, song in enumerate(songs) if song.name == name],
                [row for row, song in enumerate(songs) if song.key == name],
            ):
                if rows:
                    return self._only(name, rows)
        # Every kind of match below is also a part of the title, which is quick to test.
        part = [row for row, title in enumerate(self._folded) if folded in title]
        for rows in (
            [row for row in part if songs[row].name == name],
            [row for row in part if songs[row].title == name],
            [row for row in part if self._folded[row] == folded],
            part,
            [row for row, song in enumerate(songs) if song.key == name],
        ):
            if rows:
                return self._only(name, rows)
        raise self._unknown(name, folded)

    def _only(self, name: str, rows: list[int]) -> int:
        if len(rows) == 1:
            return rows[0]
        titles = [self._songs[row].title for row in rows]
        # Songs of the same name are distinguished by their files.
        shown = titles if len(set(titles)) == len(titles) else [self._songs[r].file for r in rows]
        names = "; ".join(shown[:_N_SHOWN]) + ("; ..." if len(shown) > _N_SHOWN else "")
        raise AmbiguousSongError(f"{name!r} matches {len(rows)} songs: {names}")

    def _unknown(self, name: str, folded: str) -> UnknownSongError:
        path = Path(name)
        # A folder here may have a name that was meant for a song: "data", say.
        if _exists(path) and (path.is_file() or os.sep in name):
            return UnknownSongError(f"{name} is not an audio file")
        if path.suffix.lower() in AUDIO_ENDINGS and os.sep in name:
            return UnknownSongError(f"{name} is neither a file nor a song in the library")
        from rapidfuzz import fuzz, process

        nearest = process.extract(folded, self._folded, scorer=fuzz.WRatio, limit=_N_SHOWN)
        names = "; ".join(dict.fromkeys(self._songs[row].title for _, _, row in nearest))
        return UnknownSongError(f"no song {name!r} in the library; the closest: {names}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # A name too long for a file may still be a song's.
        return False
