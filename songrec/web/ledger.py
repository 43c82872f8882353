"""The state of every Spotify track that was asked for: `song_db/downloads.db`."""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from songrec.advice import Advice, again
from songrec.names import join_name
from songrec.store.sqlite import connect, connect_read_only, translated

_SCHEMA = """
create table if not exists tracks (
    track_id text primary key,
    artists text not null,
    title text not null,
    album text not null,
    genre text not null,
    duration_ms integer not null,
    explicit integer not null,
    state text not null check (state in ('wanted', 'came', 'failed')),
    sample text not null,
    file text not null default '',
    reason text not null default '',
    changed_at text not null default current_timestamp
)
"""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A track on Spotify.

    Attributes
    ----------
    artists
        Joined by ";", as in the CSV.
    """

    track_id: str
    artists: str
    title: str
    album: str = ""
    genre: str = ""
    duration_ms: int = 0
    explicit: bool = False

    @property
    def name(self) -> str:
        """The song's name: "artist, artist - title"."""
        return join_name(self.artists.replace(";", ", "), self.title)


_ENTRY_COLUMNS = ", ".join(field.name for field in dataclasses.fields(Entry))


class Ledger:
    """Stores the state of each track; every change is on disk when the call returns.

    Parameters
    ----------
    dry_run
        Work on a copy in memory and write nothing.
    """

    def __init__(self, path: Path, *, dry_run: bool = False) -> None:
        self.path = path
        with self._translated():
            self._db = connect(Path(":memory:") if dry_run else path, (_SCHEMA,))
            if dry_run and path.exists():
                with contextlib.closing(connect_read_only(path)) as on_disk:
                    on_disk.backup(self._db)
                self._db.execute(_SCHEMA)  # it may have been killed before it had its table

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()

    def _translated(self) -> contextlib.AbstractContextManager[None]:
        """Turn SQLite's errors into ours; the user must move a damaged file away.

        Only track ids and the list of failed tracks are lost with it.
        """
        aside = self.path.with_name(f"{self.path.name}.damaged")
        return translated(self.path, Advice("mv", (str(self.path), str(aside))), again())

    def ids(self, *states: str) -> set[str]:
        """Return the ids of the tracks in one of `states`."""
        marks = ", ".join("?" for _ in states)
        query = f"select track_id from tracks where state in ({marks})"  # noqa: S608
        with self._translated():
            return {track_id for (track_id,) in self._db.execute(query, states)}

    def file_of(self, track_id: str) -> str | None:
        """Return the file (path below `songs/`) a track came as; None if it did not come."""
        query = "select file from tracks where track_id = ? and state = 'came'"
        with self._translated():
            row = self._db.execute(query, (track_id,)).fetchone()
        return row[0] if row else None

    def wanted(self, sample: str) -> list[Entry]:
        """Return the tracks of a sample that have neither come nor failed, in the order drawn."""
        query = (
            f"select {_ENTRY_COLUMNS} from tracks "  # noqa: S608
            "where state = 'wanted' and sample = ? order by rowid"
        )
        with self._translated():
            rows = self._db.execute(query, (sample,)).fetchall()
        return [
            Entry(track_id, artists, title, album, genre, duration_ms, bool(explicit))
            for track_id, artists, title, album, genre, duration_ms, explicit in rows
        ]

    def want(self, entries: Iterable[Entry], sample: str) -> None:
        """Store a sample before its first track is fetched."""
        marks = ", ".join("?" for _ in dataclasses.fields(Entry))
        query = (
            f"insert into tracks ({_ENTRY_COLUMNS}, state, sample) "  # noqa: S608
            f"values ({marks}, 'wanted', ?) on conflict (track_id) do update "
            "set state = 'wanted', sample = excluded.sample where state != 'came'"
        )
        with self._translated(), self._db:
            self._db.executemany(query, [(*dataclasses.astuple(e), sample) for e in entries])

    def retry_failed(self, sample: str, genres: Collection[str]) -> None:
        """Want the failed tracks of these genres (all if none) again, as part of `sample`.

        Tracks of which only the link is known are left out: there is nothing to search for.
        """
        query = (
            "update tracks set state = 'wanted', sample = ?, reason = '' "
            "where state = 'failed' and title != ''"
        )
        if genres:
            query += f" and genre in ({', '.join('?' for _ in genres)})"
        with self._translated(), self._db:
            self._db.execute(query, (sample, *genres))

    def came(self, entry: Entry, file: str) -> None:
        """Record that a track is in `songs/` as `file`."""
        self._settle(entry, "came", file, "")

    def failed(self, entry: Entry, reason: str) -> None:
        """Record that a track failed, and why."""
        self._settle(entry, "failed", "", reason)

    def want_again(self, entry: Entry) -> None:
        """Undo `failed`: the track belongs to its sample again."""
        query = "update tracks set state = 'wanted', reason = '' where track_id = ?"
        with self._translated(), self._db:
            self._db.execute(query, (entry.track_id,))

    def _settle(self, entry: Entry, state: str, file: str, reason: str) -> None:
        marks = ", ".join("?" for _ in dataclasses.fields(Entry))
        query = (
            f"insert into tracks ({_ENTRY_COLUMNS}, state, sample, file, reason) "  # noqa: S608
            f"values ({marks}, ?, '', ?, ?) on conflict (track_id) do update set "
            "state = excluded.state, file = excluded.file, reason = excluded.reason, "
            "changed_at = current_timestamp"
        )
        with self._translated(), self._db:
            self._db.execute(query, (*dataclasses.astuple(entry), state, file, reason))

    def forget_gone(self, exists: Callable[[str], bool]) -> None:
        """Drop the tracks whose file is gone: the folder decides."""
        with self._translated(), self._db:
            rows = self._db.execute("select track_id, file from tracks where state = 'came'")
            gone = [(track_id,) for track_id, file in rows.fetchall() if not exists(file)]
            self._db.executemany("delete from tracks where track_id = ?", gone)
