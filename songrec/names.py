"""Names of songs: shown as the user wrote them, made safe for disk, folded for look-up."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterable

# A file name may have 255 bytes; this leaves room for a mark, an ending and a temporary name.
MAX_NAME_BYTES = 180
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\u2028\u2029\ud800-\udfff]')
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def split_name(name: str) -> tuple[str, str]:
    """Split "artist - title" at its first " - "; without one, the artist is empty.

    >>> split_name("X - Y - Remix")
    ('X', 'Y - Remix')
    """
    artist, separator, title = name.partition(" - ")
    return (artist.strip(), title.strip()) if separator else ("", name.strip())


def join_name(artist: str, title: str) -> str:
    """Return "artist - title", or the title alone where there is no artist."""
    return f"{artist} - {title}" if artist else title


def printable(text: str) -> str:
    """Return `text` with every character replaced that could move the cursor or end the line."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def composed(name: str) -> str:
    """Return `name` with each accented letter as one character (NFC).

    Some file systems store the accent as a separate character; the names must still match.
    """
    return unicodedata.normalize("NFC", name)


def fold(name: str) -> str:
    """Return `name` without case, accents and punctuation, its words separated by single spaces.

    Names that hold nothing else (all emoji, say) fold to their case-folded selves.
    """
    plain = composed(_without_accents(unicodedata.normalize("NFKD", name)))
    plain = plain.casefold()
    words = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in plain).split()
    return " ".join(words) or plain.strip()


def _without_accents(decomposed: str) -> str:
    """Drop combining marks after Latin, Greek and Cyrillic letters; elsewhere they are letters."""
    kept: list[str] = []
    is_accented_script = False
    for c in decomposed:
        if not unicodedata.combining(c):
            is_accented_script = unicodedata.name(c, "").startswith(("LATIN", "GREEK", "CYRILLIC"))
        elif is_accented_script:
            continue
        kept.append(c)
    return "".join(kept)


def safe_name(name: str) -> str:
    """Return `name` as one path component that every common file system accepts.

    Separators, control and reserved characters become "_", a leading dash or dot is
    prefixed with "_", and a name of too many bytes is cut and ends in a digest of the whole.
    """
    safe = _UNSAFE.sub("_", composed(name)).rstrip(" .") or "_"
    if safe[0] in "-.~" or _RESERVED.match(safe):
        safe = "_" + safe
    encoded = safe.encode()
    if len(encoded) > MAX_NAME_BYTES:
        mark = "~" + digest_mark(name)
        safe = encoded[: MAX_NAME_BYTES - len(mark)].decode(errors="ignore").rstrip() + mark
    return safe


def assign_keys(paths: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Give each song file a key: a relative path, safe on disk and unique there.

    Parameters
    ----------
    paths
        Pairs (file, name): the path below `songs/` with "/" between its parts, and the same
        without its ending.

    Returns
    -------
    dict
        File -> key. The key is the name with each part made safe. Where two names would collide
        on a disk that ignores case or Unicode form, or a song's name is also the name of a
        folder of songs, all but the first get a mark made from their file name.
    """
    keys: dict[str, str] = {}
    taken: set[str] = set()
    pairs = sorted(paths, key=lambda pair: (pair[0] != composed(pair[0]), pair))
    wanted = {file: "/".join(safe_name(part) for part in name.split("/")) for file, name in pairs}
    for key in wanted.values():
        taken.update(_twin(folder) for folder in _folders(key))
    for file, _ in pairs:
        key = wanted[file]
        if _twin(key) in taken:
            key += "~" + digest_mark(file)
        taken.add(_twin(key))
        keys[file] = key
    return keys


def _folders(key: str) -> Iterable[str]:
    parts = key.split("/")
    return ("/".join(parts[:depth]) for depth in range(1, len(parts)))


def _twin(key: str) -> str:
    return composed(composed(key).casefold())


def digest_mark(text: str) -> str:
    """Return the first eight hexadecimal digits of a text's SHA-256."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:8]


def valid_text(name: str) -> str:
    """Return a file's name as valid Unicode: bytes that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", errors="replace")
