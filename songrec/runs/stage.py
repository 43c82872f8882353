"""One run of one stage: selects the songs, works on all cores, remembers what it skipped."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from songrec.advice import Advice
from songrec.errors import SongError
from songrec.files import fingerprint
from songrec.names import printable
from songrec.runs.options import Options
from songrec.runs.pool import Outcome, Work, outcomes, outcomes_here
from songrec.runs.progress import Progress
from songrec.store.database import Database
from songrec.store.skips import Skip, SkipList


class Input(Protocol):
    """What a stage works on: a song, its spectrogram, or its folder of slices."""

    @property
    def file(self) -> str:
        """What `skipped.csv` calls it."""

    @property
    def name(self) -> str:
        """The song's name in `skipped.csv`."""

    @property
    def path(self) -> Path:
        """What is read: when it changes, a skipped song is tried again."""


_Input = TypeVar("_Input", bound=Input)


class Stage:
    """Runs one stage over songs, counts the outcomes, and remembers the skips.

    A context manager: on exit it stores the skips and, unless quiet, prints the closing line,
    even after Ctrl-C or an error.

    Parameters
    ----------
    name
        What the stage makes ("specs"), for `skipped.csv` and the closing line.
    next_steps
        What to run next, for the closing line.
    made_by
        What a skip depends on besides the song's file, such as the model: with another one
        the song is tried again.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        options: Options,
        *next_steps: Advice,
        made_by: str = "",
    ) -> None:
        self._made_by = made_by
        self.name = name
        self.database = database
        self.options = options
        self.next_steps = next_steps
        self.progress = Progress(name, options, ("done", "already there", "skipped"))
        self._skip_list = SkipList(database.skipped_csv)
        self._remembered = self._skip_list.of_stage(name)
        self._new_skips: list[Skip] = []
        self._resolved: set[str] = set()

    @property
    def all_failed(self) -> bool:
        """Return whether every song was skipped, now or in an earlier run."""
        count = self.progress.count
        return count["done"] + count["already there"] == 0 and count["skipped"] > 0

    def select(
        self, inputs: Iterable[_Input], is_current: Callable[[_Input], bool]
    ) -> list[_Input]:
        """Return what is left to do: neither up to date nor skipped before, at most `limit`."""
        todo = []
        for one in inputs:
            remembered = self._remembered.get(one.file)
            if not self.options.force and is_current(one):
                self.progress.count["already there"] += 1
            elif remembered and not self._is_retried(remembered, one):
                self.progress.count["skipped"] += 1
            else:
                todo.append(one)
        return todo[: self.options.limit]

    def _is_retried(self, remembered: Skip, one: Input) -> bool:
        wanted = self.options.retry_skipped or self.options.force
        return wanted or remembered.fingerprint != self._fingerprint(one)

    def _fingerprint(self, one: Input) -> str:
        state = fingerprint(one.path)
        return f"{state}-{self._made_by}" if self._made_by else state

    def forget_absent(self, inputs: Iterable[Input]) -> None:
        """Forget the skips of files that are gone."""
        self._resolved |= self._remembered.keys() - {one.file for one in inputs}

    def map(self, work: Work[_Input], inputs: list[_Input]) -> Iterator[_Input]:
        """Do `work` for every song on `jobs` processes; yield each input that succeeded.

        A `SongError` skips its song. Any other error stops the run, as does a full disk;
        work that is under way is finished first.
        """
        return self._count(outcomes(work, inputs, self.options.jobs), len(inputs))

    def map_here(self, work: Work[_Input], inputs: list[_Input]) -> Iterator[_Input]:
        """Do `work` for every song in this process: for what has threads of its own."""
        return self._count(outcomes_here(work, inputs), len(inputs))

    def _count(self, results: Iterator[tuple[_Input, Outcome]], n_songs: int) -> Iterator[_Input]:
        """Yield the inputs that were processed, with a bar; record those that were skipped."""
        with self.progress.bar(n_songs):
            for one, outcome in results:
                self.progress.step()
                if isinstance(outcome, SongError):
                    self.skip(one, outcome)
                    continue
                if outcome:
                    self.tell(f"{one.file}: {outcome}")
                self.progress.count["done"] += 1
                self._resolved.add(one.file)
                yield one

    def skip(self, one: Input, reason: SongError) -> None:
        """Record that a song could not be processed."""
        text = str(reason)
        self.progress.count["skipped"] += 1
        self._new_skips.append(Skip(self.name, one.name, text, one.file, self._fingerprint(one)))
        if self.options.verbose:
            self.tell(f"skipped {one.file}: {text}")

    def remove(self, keys: Iterable[str], remove_one: Callable[[str], bool]) -> None:
        """Delete what was made from songs that are gone.

        Parameters
        ----------
        keys
            Of those songs.
        remove_one
            Deletes what this project made from one song; returns whether there was anything.
        """
        n_removed = sum(remove_one(key) for key in keys)
        if n_removed:
            self.progress.count["deleted (song removed)"] = n_removed

    def list_only(self, todo: list[_Input], orphans: Iterable[str] = ()) -> None:
        """Print what a run would do, for `--dry-run`."""
        for one in todo:
            print(f"do {printable(one.file)}")
        for key in sorted(orphans):
            print(f"delete {self.name} of {printable(key)}")

    def tell(self, line: str) -> None:
        """Print a line to stderr above the bar."""
        self.progress.tell(line)

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
        remarks = []
        if self.progress.count["skipped"]:
            remarks.append(f"reasons: {self.database.skipped_csv}")
        is_complete = kind is None and not self.all_failed
        self.progress.close(*remarks, next_steps=self.next_steps if is_complete else ())
