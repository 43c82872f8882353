"""The answer to a question: which songs, how similar, as text or JSON."""

import contextlib
import dataclasses
import itertools
import os
from pathlib import Path
from typing import Any

import numpy as np

from songrec.cli import Options, printable
from songrec.database import AUDIO_ENDINGS, Song
from songrec.errors import LibraryError, SongError, UnknownSongError
from songrec.library import Library
from songrec.names import split_name
from songrec.ranking import Descriptions, Ranking, best_rows
from songrec.variety import varied


@dataclasses.dataclass(frozen=True)
class Answer:
    """The recommended songs, best first, each with its similarity from 0 to 1.

    Attributes
    ----------
    n_left_out
        Songs that only variety kept from the answer, where it is shorter than asked for.
    """

    queries: list[str]
    rows: list[tuple[Song, float]]
    n_left_out: int


@dataclasses.dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes
    ----------
    names
        Songs of the library, or audio files: the answers should sound like all of them.
    n
        How many answers are wanted.
    max_per_artist, keep_versions
        As `varied` takes them.
    """

    names: list[str]
    n: int
    ranking: Ranking
    max_per_artist: int
    keep_versions: bool


def recommendations(
    library: Library, question: Question, model_path: Path, options: Options
) -> Answer:
    """Rank the library by mean similarity to the named songs; these are never in the answer.

    A name may also be the path of an audio file; one outside the library is embedded for
    this answer only.

    Raises
    ------
    UnknownSongError, AmbiguousSongError
        If a name fits no song or several.
    LibraryError
        If there is no song but the named ones.
    """
    queries, titles = [], []
    own: set[int] = set()
    for name in question.names:
        row = _row_of_path(library, name) if _is_audio_path(name) else library.find(name)
        if row is None:
            queries.append(_describe_outside(Path(name), model_path, options))
            titles.append(Path(name).stem)
        else:
            queries.append(library.descriptions[[row]])
            titles.append(library.songs[row].title)
            own.add(row)
    if len(own) == len(library.songs):
        raise LibraryError(
            f"there is no other song in {library.database.root} to recommend; add some music"
        )
    similarity = np.mean(
        [library.similarities(query, question.ranking) for query in queries], axis=0
    )
    # A song whose audio is gone keeps its vector (a disk may be unplugged), but is no answer.
    candidates = (
        row for row in best_rows(similarity, exclude=own) if library.songs[row].path.exists()
    )
    rows = varied(
        candidates,
        library.songs,
        titles,
        max_per_artist=question.max_per_artist,
        keep_versions=question.keep_versions,
    )
    best = list(itertools.islice(rows, min(question.n, len(library.songs))))
    n_left_out = 0
    if len(best) < question.n:
        others = (song for row, song in enumerate(library.songs) if row not in own)
        n_left_out = sum(song.path.exists() for song in others) - len(best)
    return Answer(
        titles,
        # A cosine below 0 means nothing in common; how much less matters to nobody.
        [(library.songs[row], max(0.0, float(similarity[row]))) for row in best],
        n_left_out,
    )


def _is_audio_path(name: str) -> bool:
    path = Path(name)
    return path.suffix.lower() in AUDIO_ENDINGS and path.is_file()


def _row_of_path(library: Library, name: str) -> int | None:
    """Return the row of the song whose file this is; None if it is outside the library."""
    asked = Path(name).stat()
    for row, song in enumerate(library.songs):
        # The same file by another name or through a link is the same song.
        with contextlib.suppress(OSError):
            if os.path.samestat(song.path.stat(), asked):
                return row
    return None


def _describe_outside(path: Path, model_path: Path, options: Options) -> Descriptions:
    from songrec.embedding import Embedder

    try:
        return Embedder(model_path, n_threads=options.jobs).describe_audio(path)
    except SongError as error:
        raise UnknownSongError(f"{path}: {error}") from error


def as_text(answer: Answer) -> str:
    """Return one line a song: rank, song, similarity."""
    width = len(str(len(answer.rows)))
    return "\n".join(
        f"{number:>{width}}. {printable(song.title)}  {similarity:.3f}"
        for number, (song, similarity) in enumerate(answer.rows, start=1)
    )


def shortfall(answer: Answer) -> str:
    """Say why the answer is shorter than asked for."""
    if answer.n_left_out:
        return (
            f"only {len(answer.rows)} songs; {answer.n_left_out} more with "
            "--max-per-artist 0 --keep-versions"
        )
    return f"only {len(answer.rows)} songs: there are no more in the library"


def as_json(answer: Answer) -> dict[str, Any]:
    """Return the answer as plain values, for `json.dumps`."""
    rows = []
    for number, (song, similarity) in enumerate(answer.rows, start=1):
        artist, title = split_name(song.title)
        rows.append(
            {
                "rank": number,
                "song": song.title,
                "artist": artist,
                "title": title,
                "file": str(song.path),
                "similarity": round(similarity, 6),
            }
        )
    query: str | list[str] = answer.queries[0] if len(answer.queries) == 1 else answer.queries
    return {"query": query, "recommendations": rows}
