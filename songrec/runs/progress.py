"""What a run shows while it works: one bar, one tally, lines above the bar, one closing line."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence

import tqdm

from songrec.advice import Advice
from songrec.names import printable
from songrec.runs.options import Options

# No monitor thread: worker processes are forked while a bar is up.
tqdm.tqdm.monitor_interval = 0


def redraw_interval_s() -> float:
    """Return the seconds between redraws of a bar: fewer on a terminal than in a log."""
    return 0.2 if sys.stderr.isatty() else 5.0


class Progress:
    """Counts the songs of one run and keeps the user informed, all on stderr.

    Parameters
    ----------
    name
        What the run makes ("specs"): the label of the bar and of the closing line.
    options
        `quiet` silences everything here.
    counted
        What songs are counted as, in the order of the closing line ("done", "skipped").

    Attributes
    ----------
    count : dict of str to int
        How many songs there are of each of `counted`.
    """

    def __init__(self, name: str, options: Options, counted: Sequence[str]) -> None:
        self.name = name
        self.options = options
        self.count = dict.fromkeys(counted, 0)
        self._start_s = time.monotonic()
        self._bar: tqdm.tqdm | None = None

    @contextlib.contextmanager
    def bar(self, n_songs: int) -> Iterator[None]:
        """Show a bar of `n_songs` steps while the block runs."""
        with tqdm.tqdm(
            total=n_songs,
            desc=self.name,
            unit="song",
            disable=self.options.quiet or not n_songs,
            mininterval=redraw_interval_s(),
        ) as bar:
            self._bar = bar
            try:
                yield
            finally:
                self._bar = None

    def step(self, **shown: int) -> None:
        """Move the bar by one song; `shown` are numbers to print after it."""
        if self._bar is not None:
            if shown:
                self._bar.set_postfix(shown, refresh=False)
            self._bar.update()

    def tell(self, line: str) -> None:
        """Print a line to stderr, above the bar."""
        if not self.options.quiet:
            tqdm.tqdm.write(printable(line), file=sys.stderr)

    def close(self, *remarks: str, next_steps: Sequence[Advice] = ()) -> None:
        """Print the closing line: the tally, the seconds, remarks, and what to run next."""
        if self.options.quiet:
            return
        parts = [f"{number} {counted}" for counted, number in self.count.items()]
        parts.append(f"{time.monotonic() - self._start_s:.1f} s")
        line = "; ".join([f"{self.name}: {', '.join(parts)}", *remarks])
        if next_steps and self.options.as_command:
            line += f"; next: {self.options.as_command(next_steps)}"
        print(printable(line), file=sys.stderr)
