"""Putting songs into `songs/`: under a safe name, without duplicates, complete or not at all."""

import contextlib
import dataclasses
import hashlib
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from filelock import FileLock

from songrec.errors import LibraryError, SongError
from songrec.files import atomic_path, is_part, regular_size, remove_stale_part
from songrec.names import fold, safe_name, valid_text
from songrec.store.database import AUDIO_ENDINGS, Database, walk_files

How = Literal["copy", "link"]
# Mean difference of two spectrograms in grey levels. The same recording as mp3 of 64 to 320
# kb/s, flac, ogg or m4a differs from its original by 0 to 4.7; other recordings by 5.5 and more.
_SAME_SOUND_GREY = 5.0
_MAX_SHIFT_FRAMES = 4  # encoders add some silence at the start
_CHUNK_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class Placed:
    """Where a song is on the shelf, and whether it is new there."""

    path: Path
    is_new: bool

    def goes_by(self, name: str) -> bool:
        """Return whether the song is kept as `name`, perhaps with a number."""
        kept = fold(valid_text(self.path.stem))
        number = kept.removeprefix(fold(safe_name(name))).strip()
        return number != kept and (not number or number.isdecimal())


class Shelf:
    """The songs of a library, identified by content and by artist and title."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_size: dict[int, list[Path]] = defaultdict(list)
        self._digests: dict[Path, bytes] = {}
        self._seen_mtime_ns = -1
        self._known: set[Path] = set()
        self._refresh()

    def find(self, name: str) -> Path | None:
        """Return a song called `name`, ignoring case, accents and punctuation."""
        paths = self._by_name.get(fold(safe_name(name)))
        return paths[0] if paths else None

    def same(self, source: Path, name: str) -> Path | None:
        """Return the song that is the same as a file called `name`, if there is one.

        That is one of the same bytes under any name, or of the same artist and title and the
        same sound.

        Raises
        ------
        SongError
            If the file cannot be read.
        """
        n_bytes = regular_size(source)
        return self._same_bytes(source, n_bytes) or self._same_song(source, name)

    def put(self, source: Path, name: str, how: How) -> Placed:
        """Put a file onto the shelf as `name`, unless `same` finds it there already.

        A different song with the same name gets a number.

        Raises
        ------
        SongError
            If the file cannot be read.
        DiskFullError
            If there is no space left.
        """
        self.database.songs_dir.mkdir(parents=True, exist_ok=True)
        with FileLock(self.database.root / ".shelf.lock"):
            self._refresh()
            try:
                there = self.same(source, name)
                if there is not None:
                    return Placed(there, is_new=False)
                final = self.database.songs_dir / (self._free(name) + source.suffix.lower())
                _bring(source, final, how)
            except OSError as error:
                raise SongError(f"cannot be added: {error.strerror or error}") from error
            self._learn(final)
            self._seen_mtime_ns = self.database.songs_dir.stat().st_mtime_ns
            return Placed(final, is_new=True)

    def _refresh(self) -> None:
        """Scan the folder again if something else has put songs there."""
        if not self.database.songs_dir.exists():
            return
        mtime_ns = self.database.songs_dir.stat().st_mtime_ns
        if mtime_ns == self._seen_mtime_ns:
            return
        for path in walk_files(self.database.songs_dir):
            if is_part(path.name):
                remove_stale_part(path)
            elif _is_audio(path) and path not in self._known:
                self._learn(path)
        self._seen_mtime_ns = mtime_ns

    def _learn(self, path: Path) -> None:
        self._known.add(path)
        self._by_name[fold(valid_text(path.stem))].append(path)
        with contextlib.suppress(SongError):  # a link whose disk is unplugged keeps its name
            self._by_size[regular_size(path)].append(path)

    def _same_bytes(self, source: Path, n_bytes: int) -> Path | None:
        candidates = self._by_size.get(n_bytes, [])
        digest = _digest(source) if candidates else b""
        for path in candidates:
            with contextlib.suppress(FileNotFoundError):
                # Clips of one length have one size: read each once, not once per new file.
                if path not in self._digests:
                    self._digests[path] = _digest(path)
                if self._digests[path] == digest:
                    return path
        return None

    def _same_song(self, source: Path, name: str) -> Path | None:
        for stem in self._stems(name):
            paths = self._by_name.get(fold(stem))
            if not paths:
                return None
            for path in paths:
                if path.exists() and sounds_same(path, source):
                    return path
        return None

    def _free(self, name: str) -> str:
        """Return the first of name, "name (2)", "name (3)"... that is free."""
        return next(stem for stem in self._stems(name) if fold(stem) not in self._by_name)

    @staticmethod
    def _stems(name: str) -> Iterator[str]:
        yield safe_name(name)
        number = 2
        while True:
            yield safe_name(f"{name} ({number})")
            number += 1


def find_audio(paths: Iterable[Path], tell: Callable[[str], None]) -> list[Path]:
    """List audio files and those below folders, each once, in the order given.

    Parameters
    ----------
    tell
        Called with a line for each folder below these that cannot be read.

    Raises
    ------
    LibraryError
        If a path does not exist, a file is not audio, or there are no audio files.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.exists():
            raise LibraryError(f"there is no file or folder {path}")
        if path.is_file() and not _is_audio(path):
            raise LibraryError(f"{path} is not an audio file ({', '.join(sorted(AUDIO_ENDINGS))})")
        files = sorted(walk_files(path, tell)) if path.is_dir() else [path]
        found.update(dict.fromkeys(file for file in files if _is_audio(file)))
    if not found:
        raise LibraryError(
            f"no audio files in {', '.join(map(str, paths))} ({', '.join(sorted(AUDIO_ENDINGS))})"
        )
    return list(found)


def _is_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_ENDINGS and not path.name.startswith("._")


def sounds_same(one: Path, other: Path) -> bool:
    """Return whether two files hold the same recording, whatever their formats."""
    from songrec.sound.audio import load_audio
    from songrec.sound.mel import mel_picture

    try:
        pictures = [mel_picture(load_audio(path)[0]).astype(np.int16) for path in (one, other)]
    except SongError:
        return False
    first, second = pictures
    if abs(first.shape[1] - second.shape[1]) > _MAX_SHIFT_FRAMES:
        return False
    n_frames = min(first.shape[1], second.shape[1]) - _MAX_SHIFT_FRAMES
    return any(
        np.abs(first[:, a : a + n_frames] - second[:, b : b + n_frames]).mean() < _SAME_SOUND_GREY
        for a, b in _shifts()
    )


def _shifts() -> Iterator[tuple[int, int]]:
    yield from ((shift, 0) for shift in range(_MAX_SHIFT_FRAMES + 1))
    yield from ((0, shift) for shift in range(1, _MAX_SHIFT_FRAMES + 1))


def _bring(source: Path, final: Path, how: How) -> None:
    """Copy or link a file to `final`, complete or not at all."""
    with atomic_path(final, durable=how != "link") as part:
        if how == "link":
            part.symlink_to(source.resolve())
        else:
            shutil.copyfile(source, part)


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.digest()
