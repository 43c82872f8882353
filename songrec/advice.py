"""What to do next, as data: the command-line frame turns it into a command that can be pasted."""

import dataclasses
from typing import Literal

Kind = Literal["library", "training"]


@dataclasses.dataclass(frozen=True)
class Advice:
    """One command: it fixes what went wrong, or comes next.

    Attributes
    ----------
    program
        A root script ("spotify_specs.py"), another program ("make"), or "" for the command that
        is running, to be run again with `arguments` added.
    arguments
        Its arguments, without `--data`, `--model` and `-m Train|Test`: those come from the run
        that gives the advice.
    kind
        The database that a script with `-m Train|Test` works on; None for other programs.
    without
        Flags of the running command that must be left out.
    """

    program: str
    arguments: tuple[str, ...] = ()
    kind: Kind | None = None
    without: tuple[str, ...] = ()


def again(*added: str, without: tuple[str, ...] = ()) -> Advice:
    """Advise to run the same command again, with flags added or left out."""
    return Advice("", added, without=without)


def ask_about(name: str) -> Advice:
    """Advise to ask for recommendations by the song called `name`."""
    # A name that begins with a dash would be read as a flag.
    end_of_flags = ("--",) if name.startswith("-") else ()
    return Advice("recommender.py", ("-m", "Recommend", *end_of_flags, name))
