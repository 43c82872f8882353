"""The songs that could not be processed, with the reasons: `<db>/skipped.csv`."""

import contextlib
import csv
import dataclasses
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock

from songrec.files import atomic_path

_COLUMNS = ("stage", "song", "reason", "file", "fingerprint")


@dataclasses.dataclass(frozen=True)
class Skip:
    """One song that a stage could not process, and the state of its file at that time."""

    stage: str
    song: str
    reason: str
    file: str
    fingerprint: str


class SkipList:
    """Reads and updates `skipped.csv`; concurrent runs keep each other's rows."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[Skip]:
        """Return all recorded skips; unreadable rows are dropped and their songs tried again."""
        try:
            text = self.path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return []
        rows = csv.DictReader(io.StringIO(text, newline=""))
        return [
            Skip(*(row[column] for column in _COLUMNS))
            for row in rows
            if all(row.get(column) is not None for column in _COLUMNS)
        ]

    def of_stage(self, stage: str) -> dict[str, Skip]:
        """Return the skips of one stage by file."""
        return {skip.file: skip for skip in self.read() if skip.stage == stage}

    def songs(self, *stages: str) -> set[str]:
        """Return the songs that one of these stages skipped."""
        return {skip.song for skip in self.read() if skip.stage in stages}

    def update(self, stage: str, skipped: Iterable[Skip], resolved: Iterable[str]) -> None:
        """Record new skips of a stage and drop the files in `resolved`."""
        new = {skip.file: skip for skip in skipped}
        gone = set(resolved) | set(new)
        if not gone:
            return
        with self._locked():
            old = self.read()
            kept = [skip for skip in old if skip.stage != stage or skip.file not in gone]
            rows = sorted([*kept, *new.values()], key=lambda skip: (skip.stage, skip.file))
            if rows == old:
                return
            if not rows:
                self.path.unlink(missing_ok=True)
                return
            text = io.StringIO(newline="")
            writer = csv.writer(text, lineterminator="\n")
            writer.writerow(_COLUMNS)
            writer.writerows(dataclasses.astuple(skip) for skip in rows)
            with atomic_path(self.path) as part:
                part.write_text(text.getvalue(), encoding="utf-8", newline="")

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_name(".skipped.lock")):
            yield
