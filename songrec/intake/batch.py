"""One run that adds songs to the library and makes their slices."""

import contextlib
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from songrec.advice import Advice, again, ask_about
from songrec.errors import SongError, SpotdlError
from songrec.files import part_name, raise_if_full, remove_path, remove_stale_part
from songrec.intake.shelf import How, Placed, Shelf
from songrec.runs.options import Options
from songrec.runs.progress import Progress
from songrec.store.database import Database, Song
from songrec.web import spotdl
from songrec.web.ledger import Entry, Ledger

if TYPE_CHECKING:
    import numpy as np

# spotdl takes 6 s to start; a killed run loses one batch.
_BATCH_SONGS = 12
_MAX_FAILURES_IN_A_ROW = 24


class Intake:
    """Adds songs to the library and counts them; as a context manager it prints the closing line.

    Parameters
    ----------
    options
        As of any run; `limit` is for new songs.
    tell_failures
        Whether each song that failed is named.

    Attributes
    ----------
    placed
        Where each song that was asked for is in `songs/`: True if it is new there.
    progress
        Counts songs that were added, already there, or failed.
    """

    def __init__(self, database: Database, options: Options, *, tell_failures: bool) -> None:
        self.database = database
        self.options = options
        self.shelf = Shelf(database)
        self.placed: dict[Path, bool] = {}
        self.progress = Progress("songs", options, ("added", "already there", "failed"))
        self._tell_failures = tell_failures or options.verbose
        self._last_failure = ""
        self._drawn: dict[Path, np.ndarray] = {}
        self._prepared: set[Path] = set()

    @property
    def all_failed(self) -> bool:
        """Return whether nothing of what was asked for is there."""
        count = self.progress.count
        return count["failed"] > 0 and not count["added"] + count["already there"]

    @property
    def _n_left(self) -> int | None:
        """How many more songs `limit` allows in this run; None for any number."""
        limit = self.options.limit
        return None if limit is None else max(0, limit - self.progress.count["added"])

    def add_files(self, files: Sequence[Path], how: How) -> None:
        """Put files onto the shelf; unreadable ones are counted as failed."""
        from songrec.intake.tags import song_name

        with self.progress.bar(len(files)):
            for source in files:
                # Songs already there do not count, or a second run would never get further.
                if self._n_left == 0:
                    break
                name = song_name(source)
                try:
                    placed = self.shelf.put(source, name, how)
                except SongError as error:
                    self.fail(str(source), str(error))
                else:
                    self._name_duplicate(source, name, placed)
                    self._count(placed)

    def new_files(self, files: Iterable[Path]) -> Iterator[tuple[Path, str]]:
        """Yield each file that is not in the library yet, with its name; report unreadable ones."""
        from songrec.intake.tags import song_name

        for path in files:
            name = song_name(path)
            try:
                if self.shelf.same(path, name) is None:
                    yield path, name
            except SongError as error:
                self.progress.tell(f"failed: {path}: {error}")

    def _name_duplicate(self, source: Path, name: str, placed: Placed) -> None:
        """Report a file that is the same song as one of another name, or as another one here."""
        is_rescan = placed.path not in self.placed and placed.goes_by(name)
        if not placed.is_new and (self.options.verbose or not is_rescan):
            there = placed.path.relative_to(self.database.songs_dir)
            self.progress.tell(f"already there: {source} is {there}")

    def there(self, path: Path) -> None:
        """Count a song that is already there."""
        self._count(Placed(path, is_new=False))

    def fail(self, name: str, reason: str) -> None:
        """Count a song that could not be added."""
        self._last_failure = reason
        self._step("failed")
        if self._tell_failures:
            self.progress.tell(f"failed: {name}: {reason}")

    def _count(self, placed: Placed) -> None:
        self.placed[placed.path] = self.placed.get(placed.path, False) or placed.is_new
        self._step("added" if placed.is_new else "already there")

    def _step(self, counted: str) -> None:
        self.progress.count[counted] += 1
        self.progress.step(failed=self.progress.count["failed"])

    def download(self, entries: Sequence[Entry], ledger: Ledger) -> None:
        """Download tracks with spotdl in batches, recording each one in the ledger at once.

        Tracks already there do not count towards `Options.limit`, or a second run would
        never get further.

        Raises
        ------
        RateLimitError
            If the service asks for a long pause.
        SpotdlError
            If spotdl cannot work, or many tracks in a row fail.
        """
        in_a_row: list[tuple[Entry, str]] = []
        missing = itertools.islice(self._not_there(entries, ledger), self._n_left)
        with self.progress.bar(len(entries)):
            for batch in _batches(missing):
                for entry, result in self._fetch(batch):
                    reason = self._take(entry, result, ledger)
                    if reason is None:
                        in_a_row.clear()
                    else:
                        in_a_row.append((entry, reason))
                self._prepare_drawn()
                self._check_row(in_a_row, ledger)

    def download_link(self, track_id: str, url: str, ledger: Ledger) -> None:
        """Download one track by its link; errors as in `download`."""
        with staging(self.database) as folder:
            result = spotdl.fetch(url, folder)
            known = result.songs.get(track_id) or next(iter(result.songs.values()), None)
            entry = dataclasses.replace(known or Entry(track_id, "", ""), track_id=track_id)
            # Spotify may answer with a duplicate of the track, under another id.
            files = dict(zip([track_id], result.files.values(), strict=False))
            self._take(entry, dataclasses.replace(result, files=files), ledger)
            self._prepare_drawn()

    def _fetch(self, batch: list[Entry]) -> Iterator[tuple[Entry, spotdl.Result]]:
        """Fetch a batch; if all of it fails, track by track: a single one may be the cause."""
        with staging(self.database) as folder:
            result = spotdl.fetch(batch, folder)
            if result.files or result.reasons or len(batch) == 1:
                for entry in batch:
                    yield entry, result
                return
        for entry in batch:
            yield from self._fetch([entry])

    def _not_there(self, entries: Iterable[Entry], ledger: Ledger) -> Iterator[Entry]:
        """Yield the tracks to fetch; count those already there by id, or by artist and title."""
        for entry in entries:
            file = ledger.file_of(entry.track_id)
            path = self.database.songs_dir / file if file else self.shelf.find(entry.name)
            if path is None:
                yield entry
                continue
            ledger.came(entry, self._file(path))
            self.there(path)

    def _take(self, entry: Entry, result: spotdl.Result, ledger: Ledger) -> str | None:
        """Put a downloaded track onto the shelf if it decodes; return the reason if not."""
        from songrec.intake.tags import song_name
        from songrec.runs.prepare import draw

        path = result.files.get(entry.track_id)
        if path is None:
            reason = result.reason(entry.track_id)
            if not spotdl.is_transient(reason):
                ledger.failed(entry, reason)
            self.fail(entry.name or entry.track_id, reason)
            return reason
        try:
            picture, remark = draw(path)
            placed = self.shelf.put(path, entry.name or song_name(path), "copy")
        except SongError as error:
            reason = f"the download cannot be used: {error}"
            ledger.failed(entry, reason)
            self.fail(entry.name or entry.track_id, reason)
            return reason
        ledger.came(entry, self._file(placed.path))
        self._count(placed)
        if placed.is_new:
            self._drawn[placed.path] = picture
            if remark:
                self.progress.tell(f"{self._file(placed.path)}: {remark}")
        return None

    def _file(self, path: Path) -> str:
        return path.relative_to(self.database.songs_dir).as_posix()

    def _prepare_drawn(self) -> None:
        """Make the slices of the new tracks from the pictures computed to check them."""
        from songrec.runs.prepare import mark_recipe, write_drawn
        from songrec.store.pictures import Origin

        if self._drawn:
            mark_recipe(self.database)
        for song in self.database.songs() if self._drawn else ():
            picture = self._drawn.pop(song.path, None)
            if picture is not None:
                with contextlib.suppress(SongError):  # `carry` tries again and records the reason
                    write_drawn(self.database, song, picture, Origin.of(song.file, song.path))
                    self._prepared.add(song.path)
        self._drawn.clear()

    def _check_row(self, in_a_row: list[tuple[Entry, str]], ledger: Ledger) -> None:
        """Stop if many in a row fail: that is not the tracks' fault, so they will be retried."""
        if len(in_a_row) < _MAX_FAILURES_IN_A_ROW:
            return
        for entry, _ in in_a_row:
            ledger.want_again(entry)
        raise SpotdlError(
            f"{len(in_a_row)} tracks failed in a row, so it is not the tracks "
            f"(the last: {in_a_row[-1][1]}); wait some hours, use another network, or update "
            "spotdl",
            spotdl.UPDATE,
            again(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        remarks = []
        if self._last_failure and not self._tell_failures:
            remarks.append(
                f"reasons: {self.database.root / 'downloads.db'}, {self._last_failure!r} last"
            )
        self.progress.close(*remarks)

    def carry(self, songs: Sequence[Song], *next_steps: Advice) -> bool:
        """Make the missing specs and slices of `songs`.

        Parameters
        ----------
        songs
            Songs of the library.
        *next_steps
            What to run next, for the closing line.

        Returns
        -------
        bool
            Whether any song is ready.
        """
        from songrec.runs.prepare import is_prepared, mark_recipe, prepare
        from songrec.runs.stage import Stage

        # The limit was for new songs; all of them get their slices.
        options = dataclasses.replace(self.options, limit=None)
        with Stage("specs", self.database, options, *next_steps) as stage:
            rest = [song for song in songs if song.path not in self._prepared]
            stage.progress.count["done"] = len(songs) - len(rest)
            todo = stage.select(rest, functools.partial(is_prepared, self.database))
            mark_recipe(self.database)
            for _ in stage.map(functools.partial(prepare, self.database), todo):
                pass
        return not stage.all_failed

    def placed_songs(self) -> list[Song]:
        """Return the songs of this run as the library knows them, in their order."""
        if not self.placed:
            return []
        by_path = {song.path: song for song in self.database.songs()}
        return [by_path[path] for path in self.placed if path in by_path]


@contextlib.contextmanager
def staging(database: Database) -> Iterator[Path]:
    """Yield an empty folder on the library's disk; remove it, and those of killed runs."""
    database.root.mkdir(parents=True, exist_ok=True)
    for path in database.root.iterdir():
        remove_stale_part(path)
    folder = database.root / part_name()
    try:
        folder.mkdir()
        yield folder
    except OSError as error:
        raise_if_full(error, folder)
        raise
    finally:
        remove_path(folder)


def _batches(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == _BATCH_SONGS:
            yield batch
            batch = []
    if batch:
        yield batch


def recommend_step(song: Song) -> Advice:
    """Advise to ask for recommendations by `song`."""
    return ask_about(song.name)
