"""The "small" set of the Free Music Archive: its two zips, its table of tracks, its layout here."""

import csv
import dataclasses
import hashlib
import io
import json
import threading
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import tqdm
from filelock import FileLock

from songrec.errors import ArchiveError, DownloadError, LibraryError
from songrec.files import atomic_path
from songrec.runs.progress import redraw_interval_s
from songrec.store.database import Database
from songrec.web import archive
from songrec.web.download import check_space

BASE_URL = "https://os.unil.cloud.switch.ch/fma/"
SONGS_ZIP = "fma_small.zip"
TABLES_ZIP = "fma_metadata.zip"
SHA1 = {
    SONGS_ZIP: "ade154f733639d52e35e32f5593efe5be76c6d70",
    TABLES_ZIP: "f0df49ffe5f2a6008d7dc83c6915b31835dfe733",
}
_TRACKS_MEMBER = "fma_metadata/tracks.csv"
_MAX_TABLE_BYTES = 1 << 30
_MAX_SONG_BYTES = 1 << 26
_MEMBER_TRIES = 3
# Some biographies in the table exceed csv's default field size limit.
_MAX_FIELD_CHARACTERS = 1 << 24


@dataclasses.dataclass(frozen=True)
class Track:
    """One row of `tracks.csv`; `song` is its path below `songs/` without the ending."""

    song: str
    artist: str
    title: str
    album: str
    genre: str
    split: str


COLUMNS = tuple(field.name for field in dataclasses.fields(Track))


def read_tracks(lines: Iterable[str], where: str) -> list[Track]:
    """Read the tracks of the small set from FMA's `tracks.csv`, sorted by song.

    Parameters
    ----------
    lines
        The table's lines; its header has three rows: group, column, name of the index.
    where
        What to call the table in an error.

    Raises
    ------
    ArchiveError
        If a column is missing or no row belongs to the small set.
    """
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    rows = csv.reader(lines)
    try:
        header = list(zip(next(rows), next(rows), next(rows), strict=False))
        places = {(group, column): place for place, (group, column, _) in enumerate(header)}
        subset = places["set", "subset"]
        wanted = [
            places[key]
            for key in (
                ("artist", "name"),
                ("track", "title"),
                ("album", "title"),
                ("track", "genre_top"),
                ("set", "split"),
            )
        ]
        tracks = [
            Track(song_name(int(row[0])), *(row[place].strip() for place in wanted))
            for row in rows
            if len(row) == len(header) and row[subset] == "small"
        ]
    except (KeyError, StopIteration, ValueError, csv.Error) as error:
        raise ArchiveError(f"{where} is not FMA's table of tracks ({error!r})") from error
    if not tracks:
        raise ArchiveError(f"{where} lists no tracks of the small set")
    return sorted(tracks, key=lambda track: track.song)


def song_name(track_id: int) -> str:
    """Return the path of a track below `songs/`: 2 -> "000/000002".

    Raises
    ------
    ValueError
        If the id is not one of FMA's.
    """
    if not 0 <= track_id <= 999_999:
        raise ValueError(f"{track_id} is not an FMA track id")
    return f"{track_id // 1000:03d}/{track_id:06d}"


def tracks_in_zip(tables: zipfile.ZipFile, where: str, *, quiet: bool) -> list[Track]:
    """Read the tracks of the small set from FMA's zip of tables, on disk or on a server."""
    try:
        info = tables.getinfo(_TRACKS_MEMBER)
    except KeyError as error:
        raise ArchiveError(f"{where} holds no {_TRACKS_MEMBER}") from error
    archive.check_sizes([info], _MAX_TABLE_BYTES, where)
    with tqdm.tqdm(
        total=info.file_size,
        desc="tracks.csv",
        unit="B",
        unit_scale=True,
        disable=quiet,
        mininterval=redraw_interval_s(),
    ) as bar:
        source = _ChunkReader(archive.chunks(tables, info, where), bar)
        text = io.TextIOWrapper(io.BufferedReader(source), encoding="utf-8", errors="replace")
        return read_tracks(text, f"{where}: {_TRACKS_MEMBER}")


class _ChunkReader(io.RawIOBase):
    """Chunks of bytes as a stream, counted by a bar."""

    def __init__(self, source: Iterator[bytes], bar: tqdm.tqdm) -> None:
        self._source = source
        self._bar = bar
        self._rest = b""

    def readable(self) -> bool:
        """Mark the stream as readable, for io."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` with what comes next; return how many bytes, 0 at the end."""
        if not self._rest:
            self._rest = next(self._source, b"")
            self._bar.update(len(self._rest))
        n_bytes = min(len(buffer), len(self._rest))
        buffer[:n_bytes] = self._rest[:n_bytes]
        self._rest = self._rest[n_bytes:]
        return n_bytes


def pick(tracks: Iterable[Track], per_genre: int) -> list[Track]:
    """Choose `per_genre` tracks of each genre, always the same ones.

    More of a genre include the fewer, neighbours in the archive (an album, say) are not
    taken together, and each choice holds FMA's splits in about FMA's proportions.
    """
    by_part: dict[tuple[str, str], list[Track]] = defaultdict(list)
    for track in tracks:
        by_part[track.genre, track.split].append(track)
    ranked: dict[str, list[tuple[float, Track]]] = defaultdict(list)
    for (genre, _), part in by_part.items():
        part.sort(key=lambda track: hashlib.sha256(track.song.encode()).digest())
        ranked[genre] += [((rank + 0.5) / len(part), track) for rank, track in enumerate(part)]
    chosen = [
        track
        for of_genre in ranked.values()
        for _, track in sorted(of_genre, key=lambda pair: (pair[0], pair[1].song))[:per_genre]
    ]
    return sorted(chosen, key=lambda track: track.song)


def song_path(database: Database, track: Track) -> Path:
    """Return the path of the clip of `track`."""
    return database.songs_dir / f"{track.song}.mp3"


def missing(database: Database, tracks: Iterable[Track]) -> list[Track]:
    """Return the tracks whose clip is not there."""
    return [track for track in tracks if not song_path(database, track).exists()]


class TrackList:
    """The 8,000 tracks of the small set as they were read from one address, kept as JSON.

    It saves later runs 342 MiB of tables, and shows which songs are still missing.
    """

    def __init__(self, database: Database, base_url: str) -> None:
        self.path = database.root / "fma_small.json"
        self.base_url = base_url

    def read(self) -> list[Track] | None:
        """Return the tracks; None if they have not been read from this address yet."""
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
            if content["url"] == self.base_url:
                return [Track(*row) for row in content["tracks"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return None

    def write(self, tracks: Iterable[Track]) -> None:
        """Store the tracks."""
        content = {
            "url": self.base_url,
            "tracks": [dataclasses.astuple(track) for track in tracks],
        }
        with atomic_path(self.path) as part:
            part.write_text(json.dumps(content), encoding="utf-8")


def unpack(
    songs_zip: zipfile.ZipFile, where: str, database: Database, tracks: list[Track], *, quiet: bool
) -> None:
    """Unpack the clips of `tracks` from a zip on disk; those not in it stay missing."""
    members = _members(songs_zip, where, database, tracks)
    with _song_bar(len(members), quiet=quiet) as bar:
        for track, info in members:
            archive.extract(songs_zip, info, song_path(database, track), where)
            bar.update()


def fetch(url: str, database: Database, tracks: list[Track], *, jobs: int, quiet: bool) -> None:
    """Fetch the clips of `tracks` from a zip on a server, by range requests.

    Parameters
    ----------
    jobs
        How many clips to fetch at once.
    """
    songs_zip = archive.open_remote_zip(url)
    members = _members(songs_zip, url, database, tracks)
    opened = threading.local()
    pool = ThreadPoolExecutor(jobs)

    def fetch_one(member: tuple[Track, zipfile.ZipInfo]) -> None:
        track, info = member
        for n_tries in range(1, _MEMBER_TRIES + 1):
            try:
                # A remote zip holds one stream at a time, so each thread has its own.
                if not hasattr(opened, "zip"):
                    opened.zip = archive.open_remote_zip(url)
                archive.extract(opened.zip, info, song_path(database, track), url)
                return
            except (DownloadError, ArchiveError):
                vars(opened).pop("zip", None)
                if n_tries == _MEMBER_TRIES:
                    raise

    try:
        with _song_bar(len(members), quiet=quiet) as bar:
            for _ in pool.map(fetch_one, members):
                bar.update()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _members(
    songs_zip: zipfile.ZipFile, where: str, database: Database, tracks: list[Track]
) -> list[tuple[Track, zipfile.ZipInfo]]:
    """Match tracks with members in the zip's order; check sizes and free space first."""
    by_name = {info.filename: info for info in songs_zip.infolist()}
    members = [
        (track, by_name[name])
        for track in tracks
        if (name := f"fma_small/{track.song}.mp3") in by_name
    ]
    if not members:
        raise ArchiveError(f"{where} holds none of the {len(tracks)} songs that are missing here")
    n_bytes = archive.check_sizes((info for _, info in members), _MAX_SONG_BYTES, where)
    check_space(database.root, n_bytes, f"unpacking {len(members)} songs")
    return sorted(members, key=lambda member: member[1].header_offset)


def _song_bar(n_songs: int, *, quiet: bool) -> tqdm.tqdm:
    return tqdm.tqdm(
        total=n_songs,
        desc="songs",
        unit="song",
        disable=quiet,
        mininterval=redraw_interval_s(),
    )


def write_table(database: Database, tracks: Iterable[Track]) -> None:
    """Add the tracks whose clip is there to `tracks.csv`; all other rows stay as they are.

    Raises
    ------
    LibraryError
        If there is a table that cannot be read: it may be the user's own.
    """
    path = database.tracks_csv
    with FileLock(path.with_name(".tracks.lock")):
        fields, rows = read_table(path)
        # Of rows for the same song the last one counts, here as in training.
        by_song = {row["song"]: row for row in rows}
        for track in tracks:
            if song_path(database, track).exists():
                if track.song not in by_song:
                    by_song[track.song] = {}
                    rows.append(by_song[track.song])
                by_song[track.song].update(dataclasses.asdict(track))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fields, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: row["song"]))
        with atomic_path(path) as part:
            part.write_text(text.getvalue(), encoding="utf-8", newline="")


def read_table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns and rows of `tracks.csv`; the columns of `Track` where there is none.

    Raises
    ------
    LibraryError
        If there is a table that cannot be read: it may be the user's own.
    """
    try:
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline=""))
        rows = list(reader)
    except FileNotFoundError:
        return list(COLUMNS), []
    except (UnicodeDecodeError, csv.Error) as error:
        raise LibraryError(
            f"{path} cannot be read as CSV ({error}); repair or remove it"
        ) from error
    fields = list(reader.fieldnames or [])
    if "song" not in fields or any(None in row for row in rows):
        raise LibraryError(f"{path} has no column 'song'; repair or remove it")
    if len(set(fields)) < len(fields):
        raise LibraryError(f"{path} has two columns of the same name; rename or remove one of them")
    fields += [column for column in COLUMNS if column not in fields]
    return fields, [{name: value or "" for name, value in row.items()} for row in rows]
