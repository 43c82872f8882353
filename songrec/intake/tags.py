"""The tags of audio files."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mutagen

from songrec.names import join_name, valid_text

# "easy" keys first; wav files keep plain ID3 frames.
_ARTIST_KEYS = ("artist", "TPE1")
_TITLE_KEYS = ("title", "TIT2")
_ALBUM_KEYS = ("album", "TALB")
_GENRE_KEYS = ("genre", "TCON")


def song_name(path: Path) -> str:
    """Return "artist - title" from the tags; the file's stem if one of them is missing."""
    artist, title = read_tags(path)
    if artist and title:
        return join_name(artist, title)
    return valid_text(path.stem)


def read_tags(path: Path) -> tuple[str, str]:
    """Return artist and title, "" where there is none; several artists are joined by ", "."""
    tags = _tags_of(path)
    return _text(tags, _ARTIST_KEYS), _text(tags, _TITLE_KEYS)


def read_labels(path: Path) -> tuple[str, str, str]:
    """Return artist, album and genre, "" where there is none."""
    tags = _tags_of(path)
    return _text(tags, _ARTIST_KEYS), _text(tags, _ALBUM_KEYS), _text(tags, _GENRE_KEYS)


def _tags_of(path: Path) -> Mapping[str, Any]:
    if not path.is_file():  # reading a pipe or a device may never end
        return {}
    try:
        file = mutagen.File(path, easy=True)
    except (mutagen.MutagenError, ValueError, LookupError, struct.error, EOFError):
        # Unreadable tags are no reason to refuse audio that may be readable.
        return {}
    return {} if file is None or file.tags is None else file.tags


def _text(tags: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    for key in keys:
        if key in tags:
            values = tags[key]
            values = values if isinstance(values, list) else getattr(values, "text", [values])
            texts = (" ".join(str(value).replace("\0", " ").split()) for value in values)
            return ", ".join(text for text in texts if text)
    return ""
