"""The answer to a question: which songs, how similar, as text or JSON."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from songrec.cli import Options
from songrec.database import AUDIO_ENDINGS, Song
from songrec.errors import LibraryError, SongError, UnknownSongError
from songrec.library import Library
from songrec.names import split_name
from songrec.ranking import rank


@dataclasses.dataclass(frozen=True)
class Answer:
    """The recommended songs, best first, each with its similarity from 0 to 1."""

    queries: list[str]
    rows: list[tuple[Song, float]]


def recommendations(
    library: Library, names: list[str], n: int, model_path: Path, options: Options
) -> Answer:
    """Rank the library by similarity to the named songs; these are never in the answer.

    A name may also be the path of an audio file; one outside the library is embedded for
    this answer only.

    Raises
    ------
    UnknownSongError, AmbiguousSongError
        If a name fits no song or several.
    LibraryError
        If there is no song but the named ones.
    """
    vectors, titles = [], []
    own: set[int] = set()
    for name in names:
        row = _row_of_path(library, name) if _is_audio_path(name) else library.find(name)
        if row is None:
            vectors.append(_embed_outside(Path(name), model_path, options))
            titles.append(Path(name).stem)
        else:
            vectors.append(library.matrix[row])
            titles.append(library.songs[row].title)
            own.add(row)
    if len(own) == len(library.songs):
        raise LibraryError(
            f"there is no other song in {library.database.root} to recommend; add some music"
        )
    ranked = rank(library.matrix, np.stack(vectors), n, exclude=own)
    return Answer(titles, [(library.songs[row], similarity) for row, similarity in ranked])


def _is_audio_path(name: str) -> bool:
    path = Path(name)
    return path.suffix.lower() in AUDIO_ENDINGS and path.is_file()


def _row_of_path(library: Library, name: str) -> int | None:
    """Return the row of the song whose file this is; None if it is outside the library."""
    path = Path(name).resolve()
    for row, song in enumerate(library.songs):
        if song.path.name == path.name and song.path.resolve() == path:
            return row
    return None


def _embed_outside(path: Path, model_path: Path, options: Options) -> np.ndarray:
    from songrec.embedding import Embedder

    try:
        return Embedder(model_path, n_threads=options.jobs).embed_audio(path)
    except SongError as error:
        raise UnknownSongError(f"{path}: {error}") from error


def as_text(answer: Answer) -> str:
    """Return one line a song: rank, song, similarity."""
    width = len(str(len(answer.rows)))
    return "\n".join(
        f"{number:>{width}}. {song.title}  {similarity:.3f}"
        for number, (song, similarity) in enumerate(answer.rows, start=1)
    )


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
