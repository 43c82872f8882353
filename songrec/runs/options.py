"""The options that every run over songs shares."""

import dataclasses
import os
from collections.abc import Callable, Sequence

from songrec.advice import Advice


def available_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclasses.dataclass(frozen=True)
class Options:
    """How a run processes its songs.

    Attributes
    ----------
    jobs
        Processes, or threads of the network, to use.
    limit
        Maximum number of songs to process; None for all.
    force
        Redo what is already there.
    retry_skipped
        Try again what was skipped before.
    dry_run
        Only list what would be done.
    quiet
        No bar and no closing line.
    verbose
        Name each skipped song.
    as_command
        Turns advice into a command line, with the flags that the user gave.
    """

    jobs: int = dataclasses.field(default_factory=available_cores)
    limit: int | None = None
    force: bool = False
    retry_skipped: bool = False
    dry_run: bool = False
    quiet: bool = False
    verbose: bool = False
    as_command: Callable[[Sequence[Advice]], str] | None = None
