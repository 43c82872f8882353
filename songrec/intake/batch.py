"""One run that brings songs into the library and carries them through to their slices."""

import contextlib
import dataclasses
import functools
import itertools
import shlex
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import tqdm

from songrec.cli.frame import EXIT_FAILED, EXIT_OK, Options
from songrec.errors import SongError, SpotdlError
from songrec.files import part_name, raise_if_full, remove_path, remove_stale_part
from songrec.intake.shelf import How, Shelf
from songrec.store.database import Database, Song
from songrec.web import spotdl
from songrec.web.ledger import Entry, Ledger

# spotdl takes 6 s to start; what a killed run loses is a batch.
_BATCH_SONGS = 12
_MAX_FAILURES_IN_A_ROW = 24


class Intake:
    """Counts what comes, with a bar; as a context it prints the closing line, also after Ctrl-C.

    Attributes
    ----------
    n_came, n_there, n_failed
        Songs new here, here before, and not to be had.
    placed
        The files in `songs/` of all that were asked for and are there now.
    """

    def __init__(self, database: Database, options: Options, *, tell_failures: bool) -> None:
        self.database = database
        self.options = options
        self._tell_failures = tell_failures or options.verbose
        self._last_failure = ""
        self.shelf = Shelf(database)
        self.n_came = 0
        self.n_there = 0
        self.n_failed = 0
        self.placed: list[Path] = []
        self._start_s = time.monotonic()
        self._bar: tqdm.tqdm | None = None

    @property
    def exit_status(self) -> int:
        """1 if nothing of what was asked for is there, else 0."""
        return EXIT_FAILED if self.n_failed and not self.n_came + self.n_there else EXIT_OK

    @contextlib.contextmanager
    def bar(self, n_songs: int) -> Iterator[None]:
        """Show songs done, failed, and the time left, while the block runs."""
        with tqdm.tqdm(
            total=n_songs,
            desc="songs",
            unit="song",
            disable=self.options.quiet,
            mininterval=0.2 if sys.stderr.isatty() else 5.0,
        ) as self._bar:
            yield

    def add_file(self, source: Path, name: str, how: How) -> None:
        """Put one file onto the shelf; a `SongError` is told and counted."""
        try:
            placed = self.shelf.put(source, name, how)
        except SongError as error:
            self.fail(name, str(error))
            return
        self._count(placed.path, is_new=placed.is_new)

    def there(self, path: Path) -> None:
        """Count a song that is here already."""
        self._count(path, is_new=False)

    def fail(self, name: str, reason: str) -> None:
        """Count a song that could not be had."""
        self.n_failed += 1
        self._last_failure = reason
        self._step()
        if self._tell_failures:
            self.tell(f"failed: {name}: {reason}")

    def tell(self, line: str) -> None:
        """Print a line to stderr above the bar."""
        if not self.options.quiet:
            tqdm.tqdm.write(line, file=sys.stderr)

    def _count(self, path: Path, *, is_new: bool) -> None:
        self.n_came += is_new
        self.n_there += not is_new
        self.placed.append(path)
        self._step()

    def _step(self) -> None:
        if self._bar is not None:
            self._bar.set_postfix(failed=self.n_failed, refresh=False)
            self._bar.update()

    def download(self, entries: Iterable[Entry], ledger: Ledger) -> None:
        """Bring tracks with spotdl in batches; each one's fate is in the ledger at once.

        What is there already does not count towards `Options.limit`, or a second run would
        never get further.

        Raises
        ------
        RateLimitError
            If the service asks to wait for long.
        SpotdlError
            If spotdl cannot work here and now, or everything fails in a row.
        """
        in_a_row: list[tuple[Entry, str]] = []
        missing = itertools.islice(self._not_there(entries, ledger), self.options.limit)
        for batch in _batches(missing):
            for entry, result in self._fetch(batch):
                reason = self._take(entry, result, ledger)
                if reason is None:
                    in_a_row.clear()
                else:
                    in_a_row.append((entry, reason))
            self._check_row(in_a_row, ledger)

    def download_link(self, track_id: str, url: str, ledger: Ledger) -> None:
        """Bring one track by its link; errors as `download`."""
        with staging(self.database) as folder:
            result = spotdl.fetch(url, folder)
            known = result.songs.get(track_id) or next(iter(result.songs.values()), None)
            entry = dataclasses.replace(known or Entry(track_id, "", ""), track_id=track_id)
            # Spotify may answer with a twin of the track, under an id of its own.
            files = dict(zip([track_id], result.files.values(), strict=False))
            self._take(entry, dataclasses.replace(result, files=files), ledger)

    def _fetch(self, batch: list[Entry]) -> Iterator[tuple[Entry, spotdl.Result]]:
        """Fetch a batch; where it fails as a whole, track by track: one of them may be why."""
        with staging(self.database) as folder:
            result = spotdl.fetch(batch, folder)
            if result.files or result.reasons or len(batch) == 1:
                for entry in batch:
                    yield entry, result
                return
        for entry in batch:
            yield from self._fetch([entry])

    def _not_there(self, entries: Iterable[Entry], ledger: Ledger) -> Iterator[Entry]:
        """Yield the tracks to fetch; those here by id, or by artist and title, are counted."""
        for entry in entries:
            file = ledger.file_of(entry.track_id)
            path = self.database.songs_dir / file if file else self.shelf.find(entry.name)
            if path is None:
                yield entry
                continue
            ledger.came(entry, path.relative_to(self.database.songs_dir).as_posix())
            self.there(path)

    def _take(self, entry: Entry, result: spotdl.Result, ledger: Ledger) -> str | None:
        """Put a downloaded track onto the shelf if it decodes; return why not, else None."""
        from songrec.intake.tags import song_name
        from songrec.sound.audio import load_audio

        path = result.files.get(entry.track_id)
        if path is None:
            reason = result.reason(entry.track_id)
            if not spotdl.is_transient(reason):
                ledger.failed(entry, reason)
            self.fail(entry.name or entry.track_id, reason)
            return reason
        try:
            load_audio(path)
            placed = self.shelf.put(path, entry.name or song_name(path), "copy")
        except SongError as error:
            reason = f"what came is of no use: {error}"
            ledger.failed(entry, reason)
            self.fail(entry.name or entry.track_id, reason)
            return reason
        ledger.came(entry, placed.path.relative_to(self.database.songs_dir).as_posix())
        self._count(placed.path, is_new=placed.is_new)
        return None

    def _check_row(self, in_a_row: list[tuple[Entry, str]], ledger: Ledger) -> None:
        """Stop if everything fails; the tracks are not to blame, so they are tried again."""
        if len(in_a_row) < _MAX_FAILURES_IN_A_ROW:
            return
        for entry, _ in in_a_row:
            ledger.want_again(entry)
        raise SpotdlError(
            f"{len(in_a_row)} tracks failed in a row, so it is not the tracks "
            f"(the last: {in_a_row[-1][1]}). Try: pip install --upgrade spotdl yt-dlp; another "
            "network; or wait some hours. Then run the same command again"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.options.quiet or self.options.dry_run:
            return
        seconds = time.monotonic() - self._start_s
        line = f"songs: {self.n_came} came, {self.n_there} already there, {self.n_failed} failed"
        line += f", {seconds:.1f} s"
        if self._last_failure and not self._tell_failures:
            line += f"; reasons: {self.database.root / 'downloads.db'}, {self._last_failure!r} last"
        print(line, file=sys.stderr)

    def carry(self, songs: Sequence[Song], next_command: str = "") -> int:
        """Make specs and slices of `songs` where they are missing; return the exit status.

        Parameters
        ----------
        songs
            Songs of the library.
        next_command
            What to type next, for the closing line; "" for nothing.
        """
        from songrec.runs.stage import Stage
        from songrec.store.marks import write_mark
        from songrec.store.pictures import has_current_spec
        from songrec.store.slices import has_current_slices

        database = self.database
        # A limit was for what comes; all of that goes on.
        options = dataclasses.replace(self.options, limit=None)
        with Stage("specs", database, options, next_command) as stage:
            todo = stage.select(
                songs, lambda s: has_current_spec(database, s) and has_current_slices(database, s)
            )
            write_mark(database.specs_dir)
            write_mark(database.slices_dir)
            for _ in stage.map(functools.partial(_write_spec_and_slices, database), todo):
                pass
        return max(stage.exit_status, self.exit_status)

    def placed_songs(self) -> list[Song]:
        """Return the songs of this run as the library knows them, in their order."""
        if not self.placed:
            return []
        by_path = {song.path: song for song in self.database.songs()}
        unique = dict.fromkeys(self.placed)
        return [by_path[path] for path in unique if path in by_path]


def _write_spec_and_slices(database: Database, song: Song) -> str | None:
    from songrec.store.pictures import write_spec
    from songrec.store.slices import write_slices

    remark = write_spec(database, song)
    write_slices(database, song)
    return remark


def check_recipe(database: Database) -> None:
    """Refuse a library whose specs or slices were made with another recipe, before all work."""
    from songrec.store.marks import check_mark

    for folder, script in (
        (database.specs_dir, "spotify_specs.py"),
        (database.slices_dir, "spotify_slices.py"),
    ):
        check_mark(folder, rebuild=f"python {script} -m {database.mode} --force")


@contextlib.contextmanager
def staging(database: Database) -> Iterator[Path]:
    """Yield an empty folder on the library's disk; clear it, and those of killed runs."""
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


def recommend_command(song: Song, data: Path) -> str:
    """Return what to type to hear what is like `song`."""
    command = "python recommender.py -m Recommend "
    if data != Path("data"):
        command += f"--data {shlex.quote(str(data))} "
    plain = not set('"$`\\!') & set(song.title)
    return command + (f'"{song.title}"' if plain else shlex.quote(song.title))
