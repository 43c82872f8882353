"""The object that answers questions: a library and a model, opened once."""

import contextlib
import dataclasses
import functools
import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from songrec.errors import LibraryError, SongError, UnknownSongError
from songrec.network.modelfile import model_digest
from songrec.recommend.answer import Answer, Question, Recommendation
from songrec.recommend.library import Library, list_new_songs, open_library
from songrec.recommend.ranking import best_rows
from songrec.recommend.variety import varied
from songrec.runs.options import Options
from songrec.store.database import AUDIO_ENDINGS, Database, Song
from songrec.store.descriptions import Descriptions

if TYPE_CHECKING:
    from songrec.network.embedder import Embedder


class Recommender:
    """Answers questions about a library.

    The network is loaded at most once, and only when something must be embedded: new songs when
    the library is opened, or an audio file from outside it when one is asked about.

    Parameters
    ----------
    database
        The library's folders.
    model
        The file of the network.
    options
        How to process songs that must be embedded first.

    Examples
    --------
    >>> from songrec import Question, Recommender                          # doctest: +SKIP
    >>> recommender = Recommender.open("data", "model.pt")                 # doctest: +SKIP
    >>> print(recommender.ask(Question(["artist - song"], n=10)).as_text())  # doctest: +SKIP
    """

    def __init__(self, database: Database, model: Path, options: Options) -> None:
        self.database = database
        self.model = model
        self.options = options

    @classmethod
    def open(
        cls,
        data: Path | str,
        model: Path | str,
        *,
        jobs: int | None = None,
        options: Options | None = None,
    ) -> Self:
        """Open the library below `data` and bring its vectors up to date.

        Parameters
        ----------
        data
            The folder that holds `song_db`.
        model
            The file of the network, `model.pt`.
        jobs
            Threads of the network; by default those of `options`.
        options
            How to process songs that must be embedded first; by default without a bar.

        Raises
        ------
        LibraryError
            If no song has slices.
        ModelError, RecipeMismatchError
            If the model is missing or was trained with another recipe.
        """
        options = options or Options(quiet=True)
        if jobs is not None:
            options = dataclasses.replace(options, jobs=jobs)
        recommender = cls(Database.library(Path(data)), Path(model), options)
        recommender.library  # noqa: B018  # embeds what is new
        return recommender

    @functools.cached_property
    def library(self) -> Library:
        """The library, brought up to date when it is first asked for."""
        digest = model_digest(self.model)
        return open_library(self.database, digest, lambda: self.embedder, self.options)

    @functools.cached_property
    def embedder(self) -> "Embedder":
        """The network, loaded when it is first needed."""
        from songrec.network.embedder import Embedder

        return Embedder(self.model, n_threads=self.options.jobs)

    def new_songs(self) -> list[str]:
        """Return the keys of the songs that opening the library would embed; write nothing."""
        return list_new_songs(self.database, model_digest(self.model), self.options)

    def ask(self, question: Question) -> Answer:
        """Rank the library by mean similarity to the named songs; these are never in the answer.

        A name may also be the path of an audio file; one outside the library is embedded for
        this answer only.

        Raises
        ------
        UnknownSongError, AmbiguousSongError
            If a name matches no song or several.
        LibraryError
            If there are no songs besides the named ones.
        """
        library = self.library
        queries, titles = [], []
        own: set[int] = set()
        for name in question.songs:
            row = self._row_of_path(name) if _is_audio_path(name) else library.find(name)
            if row is None:
                queries.append(self._describe_outside(Path(name)))
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
        candidates = (row for row in best_rows(similarity, exclude=own) if self._is_there(row))
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
            n_left_out = sum(
                self._is_there(row) for row in range(len(library.songs)) if row not in own
            ) - len(best)
        return Answer(
            titles,
            [self._recommendation(row, float(similarity[row])) for row in best],
            n_left_out,
        )

    def _is_there(self, row: int) -> bool:
        """Return whether a song can be played: one on an unplugged disk is not an answer."""
        return not self.library.has_audio or self.library.songs[row].path.exists()

    def _recommendation(self, row: int, similarity: float) -> Recommendation:
        song: Song = self.library.songs[row]
        # A cosine below 0 means nothing in common; it is shown as 0.
        return Recommendation(
            song.title, song.path if self.library.has_audio else None, max(0.0, similarity)
        )

    def _row_of_path(self, name: str) -> int | None:
        """Return the row of the song whose file this is; None if it is outside the library."""
        asked = Path(name).stat()
        for row, song in enumerate(self.library.songs):
            # The same file by another name or through a link is the same song.
            with contextlib.suppress(OSError):
                if os.path.samestat(song.path.stat(), asked):
                    return row
        return None

    def _describe_outside(self, path: Path) -> Descriptions:
        try:
            return self.embedder.describe_audio(path)
        except SongError as error:
            raise UnknownSongError(f"{path}: {error}") from error


def _is_audio_path(name: str) -> bool:
    path = Path(name)
    try:
        return path.suffix.lower() in AUDIO_ENDINGS and path.is_file()
    except OSError:  # a name too long for a file may still be a song's
        return False
