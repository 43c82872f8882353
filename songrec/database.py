"""A database on disk: the folders of one library and the songs in it."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from songrec.errors import LibraryError
from songrec.files import is_part, remove_stale_part
from songrec.names import assign_keys

Mode = Literal["Train", "Test"]
AUDIO_ENDINGS = frozenset({".mp3", ".flac", ".ogg", ".oga", ".opus", ".wav", ".m4a", ".aac"})


@dataclasses.dataclass(frozen=True)
class Song:
    """One audio file of a library.

    Attributes
    ----------
    file
        Path below `songs/`, "/" between its parts, printable.
    name
        `file` without its ending; what `tracks.csv` calls the song.
    key
        Safe and unique form of `name`; where the song's spec and slices are kept.
    path
        The file itself.
    """

    file: str
    name: str
    key: str
    path: Path

    @property
    def title(self) -> str:
        """The file's stem as the user wrote it: what is shown and looked up."""
        return self.name.rpartition("/")[2]


class Database:
    """The folders of `data/train_db` (mode "Train") or `data/song_db` (mode "Test")."""

    def __init__(self, data: Path, mode: Mode) -> None:
        self.mode = mode
        self.root = data / ("train_db" if mode == "Train" else "song_db")
        self.songs_dir = self.root / "songs"
        self.specs_dir = self.root / "specs"
        self.slices_dir = self.root / "slices"
        self.arrays_dir = self.root / "arrays"
        self.skipped_csv = self.root / "skipped.csv"
        self.tracks_csv = self.root / "tracks.csv"
        self.vectors_db = self.root / "vectors.db"

    def songs(self) -> list[Song]:
        """List the audio files below `songs/`, sorted by path.

        Raises
        ------
        LibraryError
            If the folder is missing, cannot be read, or holds no audio file.
        """
        songs = self.songs_if_any()
        if not songs:
            raise LibraryError(
                f"there are no songs in {self.songs_dir}: put music there "
                f"({', '.join(sorted(AUDIO_ENDINGS))})"
            )
        return songs

    def songs_if_any(self) -> list[Song]:
        """List the audio files as `songs` does; none where the folder is missing or empty.

        Raises
        ------
        LibraryError
            If the folder cannot be read.
        """
        if not self.songs_dir.exists():
            return []
        # Text is cut, not paths related: a library may hold some hundred thousand songs.
        n_above = len(os.path.join(self.songs_dir, ""))
        paths = {
            _printable(str(path)[n_above:]): path
            for path in walk_files(self.songs_dir)
            if path.suffix.lower() in AUDIO_ENDINGS and not path.name.startswith("._")
        }
        names = {file: file[: -len(path.suffix)] for file, path in paths.items()}
        keys = assign_keys(names.items())
        return [Song(file, names[file], keys[file], paths[file]) for file in sorted(paths)]

    def spec_path(self, key: str) -> Path:
        """Return where the spectrogram of the song `key` is."""
        return self.specs_dir / f"{key}.png"

    def slices_path(self, key: str) -> Path:
        """Return the folder of the slices of the song `key`."""
        return self.slices_dir / key

    def songs_with_specs(self) -> list[Song]:
        """List the spectrograms as songs (named by their key, `path` the picture), sorted.

        Raises
        ------
        LibraryError
            If there is none.
        """
        keys = self.spec_keys()
        if not keys:
            raise LibraryError(
                f"no spectrograms in {self.specs_dir}; run: python spotify_specs.py -m {self.mode}"
            )
        return [Song(f"{key}.png", key, key, self.spec_path(key)) for key in keys]

    def spec_keys(self) -> list[str]:
        """List the keys that have a spectrogram, sorted; clears what killed runs left."""
        if not self.specs_dir.exists():
            return []
        keys = []
        for path in walk_files(self.specs_dir):
            if is_part(path.name):
                remove_stale_part(path)
            elif path.suffix == ".png":
                keys.append(path.relative_to(self.specs_dir).with_suffix("").as_posix())
        return sorted(keys)

    def slice_keys(self) -> list[str]:
        """List the keys that have a folder of slices, sorted; clears what killed runs left.

        A folder of slices is known by its first slice, `0000.png`.
        """
        if not self.slices_dir.exists():
            return []
        return sorted(self._slice_keys_below(str(self.slices_dir), ""))

    def _slice_keys_below(self, folder: str, prefix: str) -> Iterator[str]:
        # Asked for by name first: listing the slices of every song would cost far more.
        if prefix and os.path.isfile(os.path.join(folder, "0000.png")):
            yield prefix
            return
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return  # another run has just put it aside to write it anew
        except OSError as error:
            raise LibraryError(f"cannot read folder {folder}: {error.strerror}") from error
        for entry in entries:
            if is_part(entry.name):
                remove_stale_part(Path(entry.path))
            elif entry.is_dir():
                key = f"{prefix}/{entry.name}" if prefix else entry.name
                yield from self._slice_keys_below(entry.path, key)


def _printable(path: str) -> str:
    """Return a path as valid Unicode, "/" between its parts: other bytes become U+FFFD."""
    return os.fsencode(path.replace(os.sep, "/")).decode("utf-8", errors="replace")


def walk_files(top: Path, unreadable: Callable[[str], None] | None = None) -> Iterator[Path]:
    """Yield every file below `top`, through links, each folder once.

    Parameters
    ----------
    unreadable
        Called with a line for each folder below `top` that cannot be read and is passed over.

    Raises
    ------
    LibraryError
        If a folder cannot be read: `top`, or any where `unreadable` is None.
    """
    seen: set[tuple[int, int]] = set()
    stack = [top]
    while stack:
        folder = stack.pop()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    path = Path(entry.path)
                    # Path.is_dir is false, not an error, for a link that leads to itself.
                    if path.is_dir() if entry.is_symlink() else entry.is_dir():
                        stack.append(path)
                    else:
                        yield path
        except OSError as error:
            told = f"cannot read folder {folder}: {error.strerror}"
            if unreadable is None or folder == top:
                raise LibraryError(told) from error
            unreadable(f"{told}; passed over")
