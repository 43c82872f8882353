"""Variety in the answers: few songs per artist, one version of a recording."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator

from songrec.names import fold, split_name
from songrec.store.database import Song

# Words of a title that mark another release of the same recording, or a live take.
_VERSION_WORDS = (
    r"live|remaster(ed)?|re-?recorded|version|edit|edition|mono|stereo|demo|acoustic|unplugged|"
    r"take|bonus( track)?|explicit|clean"
)
# The version word comes last, or first before a place or a year; "(We Live In Time)" is a title.
_VERSION = (
    rf"(?![^)\]]*\b(re)?mix\b)([^)\]-]*\b({_VERSION_WORDS})\W*(\d{{4}})?"
    rf"|({_VERSION_WORDS})\s+(at|from|in|on|\d)[^)\]]*)"
)
_BRACKETED = re.compile(rf"[(\[]\s*{_VERSION}\s*[)\]]", re.IGNORECASE)
_DASHED = re.compile(rf"\s-\s{_VERSION}\s*$", re.IGNORECASE)
_TRACK_NUMBER = re.compile(r"(\d{1,2}-)?\d{1,3}\.?")


def recording_of(name: str) -> tuple[str, str]:
    """Return artist and title of a song's name, folded, without what marks a version.

    A remix is another recording; a remaster or a live take is a version.
    """
    artist, title = split_name(name)
    if _TRACK_NUMBER.fullmatch(artist):
        artist = ""
    plain = _DASHED.sub("", _BRACKETED.sub("", title))
    return fold(artist), fold(plain) or fold(title)


def varied(
    rows: Iterable[int],
    songs: list[Song],
    queries: Iterable[str],
    *,
    max_per_artist: int,
    keep_versions: bool,
) -> Iterator[int]:
    """Yield the rows of songs, leaving out what would make the answer monotonous.

    Parameters
    ----------
    rows
        Best first.
    songs
        `songs[row]` is the song of a row.
    queries
        Names of the songs that were asked about; versions of them are left out too.
    max_per_artist
        Maximum number of songs per artist; 0 for no limit. It ignores songs without an artist.
    keep_versions
        Also yield other versions of a recording that was yielded or asked about.
    """
    seen = {recording_of(name) for name in queries}
    n_of_artist: Counter[str] = Counter()
    for row in rows:
        recording = recording_of(songs[row].title)
        artist = recording[0]
        # A bare title ("Intro") says too little to call two songs the same.
        if artist and not keep_versions and recording in seen:
            continue
        if artist and max_per_artist and n_of_artist[artist] >= max_per_artist:
            continue
        seen.add(recording)
        n_of_artist[artist] += 1
        yield row
