"""A question and its answer: which songs, how similar, as text or JSON."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from songrec.errors import UsageError
from songrec.names import printable, split_name
from songrec.recommend.ranking import RANKINGS, Ranking


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes
    ----------
    songs
        Names of songs in the library, or audio files: the answers should sound like all of them.
    n
        How many answers are wanted.
    ranking
        "full", or "cosine" for the network's vectors alone.
    max_per_artist
        Maximum number of songs per artist; 0 for no limit.
    keep_versions
        Also return other versions (live, remastered) of a song that is in the answer.
    """

    songs: Sequence[str]
    n: int = 3
    ranking: Ranking = "full"
    max_per_artist: int = 3
    keep_versions: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be answered.

        Raises
        ------
        UsageError
            If there is no song, `songs` is one text, or `n` is below 1.
        """
        if isinstance(self.songs, str) or not self.songs:
            raise UsageError('a question needs a list of songs, such as ["artist - song"]')
        if self.ranking not in RANKINGS:
            raise UsageError(f"there is no ranking {self.ranking!r}: {' or '.join(RANKINGS)}")
        if self.n < 1:
            raise UsageError(f"{self.n} songs cannot be recommended: ask for 1 or more")


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """One recommended song.

    Attributes
    ----------
    title
        As shown: the stem of the song's file.
    path
        The audio file; None where the library's audio is not there.
    similarity
        From 0 to 1.
    """

    title: str
    path: Path | None
    similarity: float


@dataclasses.dataclass(frozen=True)
class Answer:
    """The recommended songs, best first.

    Attributes
    ----------
    queries
        Titles of the songs that were asked about.
    n_left_out
        Songs left out only for variety, where the answer is shorter than asked for.
    """

    queries: list[str]
    recommendations: list[Recommendation]
    n_left_out: int

    def as_text(self) -> str:
        """Return one line a song: rank, song, similarity."""
        width = len(str(len(self.recommendations)))
        return "\n".join(
            f"{rank:>{width}}. {printable(found.title)}  {found.similarity:.3f}"
            for rank, found in enumerate(self.recommendations, start=1)
        )

    def as_values(self) -> dict[str, Any]:
        """Return the answer as plain values, for `json.dumps`."""
        rows = []
        for rank, found in enumerate(self.recommendations, start=1):
            artist, title = split_name(found.title)
            rows.append(
                {
                    "rank": rank,
                    "song": found.title,
                    "artist": artist,
                    "title": title,
                    "file": str(found.path) if found.path else None,
                    "similarity": round(found.similarity, 6),
                }
            )
        query: str | list[str] = self.queries[0] if len(self.queries) == 1 else self.queries
        return {"query": query, "recommendations": rows}

    def shortfall(self) -> str:
        """Say why the answer is shorter than asked for."""
        n_found = len(self.recommendations)
        if self.n_left_out:
            return (
                f"only {n_found} songs; {self.n_left_out} more with "
                "--max-per-artist 0 --keep-versions"
            )
        return f"only {n_found} songs: there are no more in the library"
