"""Work on many songs at once, in processes that one bad file cannot take down."""

import concurrent.futures
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from songrec.errors import SongError

Item = TypeVar("Item")

Work = Callable[[Item], str | None]
"""Processes one song; returns None or a remark. Raises `SongError` for a song to skip."""

Outcome = str | SongError | None
"""A remark, the reason why the song is skipped, or nothing to report."""


def outcomes(work: Work[Item], items: list[Item], jobs: int) -> Iterator[tuple[Item, Outcome]]:
    """Yield (item, outcome) as `jobs` processes finish the work, in any order.

    Work that is under way when the caller stops is finished first. A decoder that crashes its
    whole process costs only the song it was reading.
    """
    left = list(items)
    while left:
        finished: set[Item] = set()
        under_way: set[Item] = set()
        try:
            for item, outcome in _pool_outcomes(work, left, jobs, under_way):
                finished.add(item)
                yield item, outcome
        except BrokenProcessPool:
            suspects = [item for item in left if item in under_way and item not in finished]
            for item in suspects:
                finished.add(item)
                yield item, _alone(work, item)
        left = [item for item in left if item not in finished]


def outcomes_here(work: Work[Item], items: list[Item]) -> Iterator[tuple[Item, Outcome]]:
    """Yield (item, outcome) of work done in this process: for what has threads of its own."""
    return ((item, _attempt(work, item)) for item in items)


def _pool_outcomes(
    work: Work[Item], items: list[Item], jobs: int, under_way: set[Item]
) -> Iterator[tuple[Item, Outcome]]:
    """Run a pool; `under_way` holds at any time the items handed to it and not yet back."""
    waiting = iter(items)
    futures: dict[concurrent.futures.Future[Outcome], Item] = {}
    pool = _new_pool(min(jobs, len(items)))
    try:
        while True:
            # Two songs per worker keep all busy; with more, a crash would only cost more.
            for item in waiting:
                futures[pool.submit(_attempt, work, item)] = item
                under_way.add(item)
                if len(futures) >= 2 * jobs:
                    break
            if not futures:
                return
            done, _ = concurrent.futures.wait(
                futures, return_when=concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                item = futures.pop(future)
                outcome = future.result()
                under_way.discard(item)
                yield item, outcome
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _alone(work: Work[Item], item: Item) -> Outcome:
    """Process one song in a process of its own, to find out whether it is the one that crashes."""
    try:
        ((_, outcome),) = _pool_outcomes(work, [item], 1, set())
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


def _attempt(work: Work[Item], item: Item) -> Outcome:
    try:
        return work(item)
    except SongError as error:
        # The cause's traceback may hold what cannot be pickled; the reason is in the message.
        return type(error)(str(error))
