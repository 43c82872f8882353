"""One run of one stage: what is to do, done on all cores, told at the end."""

import concurrent.futures
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType
from typing import Self

import tqdm

from songrec.cli import EXIT_FAILED, EXIT_OK, Options, printable
from songrec.database import Database, Song
from songrec.errors import SongError
from songrec.files import fingerprint, remove_path
from songrec.skips import Skip, SkipList

# No monitor thread: worker processes are forked while a bar is up.
tqdm.tqdm.monitor_interval = 0

Work = Callable[[Song], str | None]
"""Does one song; returns None or a remark. Raises `SongError` for a song to skip."""


class Stage:
    """Runs one stage over songs, counts what became of each, and remembers the skips.

    Use it as a context: leaving it stores the skips and, unless quiet, prints the closing
    line, also after Ctrl-C or an error.

    Parameters
    ----------
    name
        What the stage makes ("specs"), for `skipped.csv` and the closing line.
    next_command
        The command to type next, for the closing line; "" for none.
    made_by
        What a skip depends on beside the song's file, such as the model: with another one
        the song is tried again.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        options: Options,
        next_command: str,
        *,
        made_by: str = "",
    ) -> None:
        self._made_by = made_by
        self.name = name
        self.database = database
        self.options = options
        self.next_command = next_command
        self.n_done = 0
        self.n_there = 0
        self.n_removed = 0
        self._skip_list = SkipList(database.skipped_csv)
        self._remembered = self._skip_list.of_stage(name)
        self._new_skips: list[Skip] = []
        self._n_skipped_before = 0
        self._resolved: set[str] = set()
        self._start_s = time.monotonic()

    @property
    def n_skipped(self) -> int:
        """Songs skipped, now or in an earlier run."""
        return len(self._new_skips) + self._n_skipped_before

    @property
    def exit_status(self) -> int:
        """1 if every song was skipped, else 0."""
        nothing = self.n_done + self.n_there == 0 and self.n_skipped > 0
        return EXIT_FAILED if nothing else EXIT_OK

    def select(self, songs: Iterable[Song], is_current: Callable[[Song], bool]) -> list[Song]:
        """Return the songs to do: neither there already nor skipped before, at most `limit`."""
        todo = []
        for song in songs:
            remembered = self._remembered.get(song.file)
            if not self.options.force and is_current(song):
                self.n_there += 1
            elif remembered and not self._is_retried(remembered, song):
                self._n_skipped_before += 1
            else:
                todo.append(song)
        return todo[: self.options.limit]

    def _is_retried(self, remembered: Skip, song: Song) -> bool:
        wanted = self.options.retry_skipped or self.options.force
        return wanted or remembered.fingerprint != self._fingerprint(song)

    def _fingerprint(self, song: Song) -> str:
        state = fingerprint(song.path)
        return f"{state}-{self._made_by}" if self._made_by else state

    def forget_absent(self, songs: Iterable[Song]) -> None:
        """Forget the skips of files that are gone."""
        self._resolved |= self._remembered.keys() - {song.file for song in songs}

    def map(self, work: Work, songs: list[Song]) -> Iterator[Song]:
        """Do `work` for every song on `jobs` processes; yield each song that was done.

        A `SongError` skips its song. Any other error stops the run, as does a full disk;
        work that is under way is finished first. A decoder that crashes its whole process
        costs only the song it was at.
        """
        return self._count(_outcomes(work, songs, self.options.jobs), len(songs))

    def map_here(self, work: Work, songs: list[Song]) -> Iterator[Song]:
        """Do `work` for every song in this process: for what has threads of its own."""
        return self._count(((song, _attempt(work, song)) for song in songs), len(songs))

    def _count(
        self, outcomes: Iterator[tuple[Song, str | SongError | None]], n_songs: int
    ) -> Iterator[Song]:
        """Yield the songs that were done, with a bar; remember those that were not."""
        with tqdm.tqdm(
            total=n_songs,
            desc=self.name,
            unit="song",
            disable=self.options.quiet,
            mininterval=0.2 if sys.stderr.isatty() else 5.0,
        ) as bar:
            for song, outcome in outcomes:
                bar.update()
                if isinstance(outcome, SongError):
                    self.skip(song, outcome)
                    continue
                if outcome:
                    self.tell(f"{song.file}: {outcome}")
                self.n_done += 1
                self._resolved.add(song.file)
                yield song

    def skip(self, song: Song, reason: SongError) -> None:
        """Remember that `song` could not be done."""
        text = str(reason)
        self._new_skips.append(Skip(self.name, song.name, text, song.file, self._fingerprint(song)))
        if self.options.verbose:
            self.tell(f"skipped {song.file}: {text}")

    def remove(self, paths: Iterable[Path], top: Path) -> None:
        """Delete what was made from songs that are gone, and folders below `top` left empty."""
        for path in paths:
            remove_path(path)
            self.n_removed += 1
            for folder in path.parents:
                if folder == top:
                    break
                try:
                    folder.rmdir()
                except OSError:  # it holds something, or another run was quicker
                    break

    def list_only(self, todo: list[Song], orphans: Iterable[str]) -> int:
        """Print what a run would do, for `--dry-run`; return the exit status."""
        for song in todo:
            print(f"do {printable(song.file)}")
        for key in sorted(orphans):
            print(f"delete {self.name} of {printable(key)}")
        return EXIT_OK

    def tell(self, line: str) -> None:
        """Print a line to stderr above the bar."""
        if not self.options.quiet:
            tqdm.tqdm.write(printable(line), file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self.options.dry_run:
            self._skip_list.update(self.name, self._new_skips, self._resolved)
        if not self.options.quiet:
            print(self._closing_line(complete=kind is None), file=sys.stderr)

    def _closing_line(self, *, complete: bool) -> str:
        seconds = time.monotonic() - self._start_s
        line = f"{self.name}: {self.n_done} done, {self.n_there} already there"
        line += f", {self.n_skipped} skipped"
        if self.n_removed:
            line += f", {self.n_removed} of removed songs deleted"
        line += f", {seconds:.1f} s"
        if self.n_skipped:
            line += f"; reasons: {self.database.skipped_csv}"
        if complete and self.next_command and self.exit_status == EXIT_OK:
            line += f"; next: {self.next_command}"
        return line


def _outcomes(
    work: Work, songs: list[Song], jobs: int
) -> Iterator[tuple[Song, str | SongError | None]]:
    """Yield (song, remark or reason) as the songs get done, in any order."""
    left = list(songs)
    while left:
        finished: set[Song] = set()
        under_way: set[Song] = set()
        try:
            for song, outcome in _pool_outcomes(work, left, jobs, under_way):
                finished.add(song)
                yield song, outcome
        except BrokenProcessPool:
            suspects = [song for song in left if song in under_way and song not in finished]
            for song in suspects:
                finished.add(song)
                yield song, _alone(work, song)
        left = [song for song in left if song not in finished]


def _pool_outcomes(
    work: Work, songs: list[Song], jobs: int, under_way: set[Song]
) -> Iterator[tuple[Song, str | SongError | None]]:
    """Run a pool; `under_way` holds at any time the songs handed to it and not yet back."""
    waiting = iter(songs)
    futures: dict[concurrent.futures.Future[str | SongError | None], Song] = {}
    pool = _new_pool(min(jobs, len(songs)))
    try:
        while True:
            # Two songs a worker keep all busy; more would only enlarge what a crash may cost.
            for song in waiting:
                futures[pool.submit(_attempt, work, song)] = song
                under_way.add(song)
                if len(futures) >= 2 * jobs:
                    break
            if not futures:
                return
            done, _ = concurrent.futures.wait(
                futures, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                song = futures.pop(future)
                outcome = future.result()
                under_way.discard(song)
                yield song, outcome
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone(work: Work, song: Song) -> str | SongError | None:
    """Do one song in a process of its own, to learn whether it is the one that crashes."""
    try:
        ((_, outcome),) = _pool_outcomes(work, [song], 1, set())
    except BrokenProcessPool:
        return SongError("the process that read this file crashed or ran out of memory")
    return outcome


def _new_pool(jobs: int) -> concurrent.futures.ProcessPoolExecutor:
    # fork starts in milliseconds and is safe here: no thread runs yet when the pool starts.
    method = "fork" if sys.platform == "linux" else "spawn"
    return concurrent.futures.ProcessPoolExecutor(
        jobs, multiprocessing.get_context(method), initializer=_start_worker
    )


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, die with it and use one core."""
    import threadpoolctl

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    threadpoolctl.threadpool_limits(1)


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _attempt(work: Work, song: Song) -> str | SongError | None:
    try:
        return work(song)
    except SongError as error:
        # The cause's traceback may hold what cannot be pickled; the reason is in the message.
        return type(error)(str(error))
