"""A database on disk: its folders and the songs in them."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from songrec.advice import Advice, Kind
from songrec.errors import LibraryError
from songrec.files import is_part, remove_stale_part
from songrec.names import assign_keys, digest_mark, valid_text

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
        `name` made safe and unique on disk: the song's spec and slices are stored under it.
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


@dataclasses.dataclass(frozen=True)
class Spec:
    """The spectrogram of one song.

    Attributes
    ----------
    key
        Of the song.
    path
        The picture.
    """

    key: str
    path: Path

    @property
    def name(self) -> str:
        """What `skipped.csv` calls the song."""
        return self.key

    @property
    def file(self) -> str:
        """The picture's path below `specs/`."""
        return f"{self.key}.png"


@dataclasses.dataclass(frozen=True)
class SliceFolder:
    """The slices of one song.

    Attributes
    ----------
    key
        Of the song.
    path
        The folder.
    file, name
        Of the audio that the slices came from, as in `Song`; the key where that is not known.
    """

    key: str
    path: Path
    file: str
    name: str


class Database:
    """The folders of one database: a library to recommend among, or songs to learn from.

    Parameters
    ----------
    root
        `data/song_db` or `data/train_db`; see `library` and `training`.
    kind
        Which of the two it is.
    """

    def __init__(self, root: Path, kind: Kind) -> None:
        self.root = root
        self.kind: Kind = kind
        self.songs_dir = self.root / "songs"
        self.specs_dir = self.root / "specs"
        self.slices_dir = self.root / "slices"
        self.arrays_dir = self.root / "arrays"
        self.skipped_csv = self.root / "skipped.csv"
        self.tracks_csv = self.root / "tracks.csv"
        self.vectors_db = self.root / "vectors.db"

    @classmethod
    def library(cls, data: Path) -> Self:
        """Return the songs to recommend among: `data/song_db`."""
        return cls(data / "song_db", "library")

    @classmethod
    def training(cls, data: Path) -> Self:
        """Return the songs that a network learns from: `data/train_db`."""
        return cls(data / "train_db", "training")

    def make_specs(self, *flags: str) -> Advice:
        """Advise to make the missing spectrograms."""
        return Advice("spotify_specs.py", flags, self.kind)

    def make_slices(self, *flags: str) -> Advice:
        """Advise to make the missing slices."""
        return Advice("spotify_slices.py", flags, self.kind)

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
                f"there are no songs in {self.songs_dir.absolute()}: put music there "
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
        # Cutting text is faster than Path.relative_to, which matters with 100,000 songs.
        n_above = len(os.path.join(self.songs_dir, ""))
        paths = {
            str(path)[n_above:].replace(os.sep, "/"): path
            for path in walk_files(self.songs_dir)
            if path.suffix.lower() in AUDIO_ENDINGS and not path.name.startswith("._")
        }
        files = _distinct(paths)
        names = {file: file[: -len(path.suffix)] for file, path in files.items()}
        keys = assign_keys(names.items())
        return [Song(file, names[file], keys[file], files[file]) for file in sorted(files)]

    def spec_path(self, key: str) -> Path:
        """Return where the spectrogram of the song `key` is."""
        return self.specs_dir / f"{key}.png"

    def slices_path(self, key: str) -> Path:
        """Return the folder of the slices of the song `key`."""
        return self.slices_dir / key

    def specs(self) -> list[Spec]:
        """List the spectrograms, sorted by key; removes what killed runs left.

        Links are neither followed nor listed: this project did not make their targets.

        Raises
        ------
        LibraryError
            If there is none.
        """
        specs = [Spec(key, self.spec_path(key)) for key in self.spec_keys()]
        if not specs:
            raise LibraryError(f"no spectrograms in {self.specs_dir.absolute()}", self.make_specs())
        return specs

    def spec_keys(self) -> list[str]:
        """List the keys that have a spectrogram, as `specs` does, or none."""
        if not self.specs_dir.exists():
            return []
        keys = []
        for path in walk_own_files(self.specs_dir):
            if path.suffix == ".png":
                keys.append(path.relative_to(self.specs_dir).with_suffix("").as_posix())
        return sorted(keys)

    def slice_keys(self) -> list[str]:
        """List the keys that have a folder of slices, sorted; removes what killed runs left.

        A folder of slices is recognised by its first slice, `0000.png`. Links are not followed.
        """
        if not self.slices_dir.exists():
            return []
        return sorted(self._slice_keys_below(str(self.slices_dir), ""))

    def _slice_keys_below(self, folder: str, prefix: str) -> Iterator[str]:
        # Checking for one name first: listing the slices of every song would cost far more.
        if prefix and os.path.isfile(os.path.join(folder, "0000.png")):
            yield prefix
            return
        try:
            entries = list(os.scandir(folder))
        except FileNotFoundError:
            return  # another run is replacing it
        except OSError as error:
            raise LibraryError(f"cannot read folder {folder}: {error.strerror}") from error
        for entry in entries:
            if is_part(entry.name):
                remove_stale_part(Path(entry.path))
            elif entry.is_dir(follow_symlinks=False):
                key = f"{prefix}/{entry.name}" if prefix else entry.name
                yield from self._slice_keys_below(entry.path, key)


def _distinct(paths: dict[str, Path]) -> dict[str, Path]:
    """Make the names of files valid Unicode and keep them distinct.

    Bytes that are not UTF-8 become U+FFFD; of names that then coincide, all but the first get a
    mark made from their bytes.
    """
    files: dict[str, Path] = {}
    for raw in sorted(paths):
        path = paths[raw]
        file = valid_text(raw)
        if file in files:
            ending = path.suffix
            file = f"{file.removesuffix(ending)}~{digest_mark(raw)}{ending}"
        files[file] = path
    return files


def walk_own_files(top: Path) -> Iterator[Path]:
    """Yield every file below `top`, without following links; removes stale temporary files.

    Raises
    ------
    LibraryError
        If a folder cannot be read.
    """
    stack = [str(top)]
    while stack:
        folder = stack.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_part(entry.name):
                        remove_stale_part(Path(entry.path))
                    elif entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    elif entry.is_file(follow_symlinks=False):
                        yield Path(entry.path)
        except FileNotFoundError:
            continue  # another run has just removed it
        except OSError as error:
            raise LibraryError(f"cannot read folder {folder}: {error.strerror}") from error


def walk_files(top: Path, unreadable: Callable[[str], None] | None = None) -> Iterator[Path]:
    """Yield every file below `top`, following links, each folder once.

    Parameters
    ----------
    unreadable
        Called with a line for each folder below `top` that is skipped because it cannot be read.

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
            reason = f"cannot read folder {folder}: {error.strerror}"
            if unreadable is None or folder == top:
                raise LibraryError(reason) from error
            unreadable(f"{reason}; skipped")
