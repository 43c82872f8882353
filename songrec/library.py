"""The library to recommend among: every song with its vector, brought up to date."""

import dataclasses
from pathlib import Path

import numpy as np

from songrec.cli import Options
from songrec.database import Database, Song
from songrec.errors import LibraryError, UnknownSongError
from songrec.files import fingerprint
from songrec.lookup import find_song
from songrec.modelfile import model_digest
from songrec.names import fold
from songrec.recipe import RECIPE, check_mark
from songrec.skips import SkipList
from songrec.stage import Stage
from songrec.vectors import StoredVectors, VectorStore


@dataclasses.dataclass(frozen=True)
class Library:
    """Songs and their vectors; `matrix[i]` belongs to `songs[i]`.

    Attributes
    ----------
    matrix : np.ndarray [shape=(n, n_dims), dtype=float32]
    waiting
        Songs in `songs/` that have no vector: not sliced yet, or skipped.
    """

    database: Database
    songs: list[Song]
    matrix: np.ndarray
    waiting: list[Song]

    def find(self, name: str) -> int:
        """Return the row of the one song that goes by `name`.

        Raises
        ------
        AmbiguousSongError, UnknownSongError
            As `find_song` does; a song that is waiting is told with the reason.
        """
        try:
            return self.songs.index(find_song(name, self.songs))
        except UnknownSongError:
            for song in self.waiting:
                if fold(name) == fold(song.title):
                    raise self._why_waiting(song) from None
            raise

    def _why_waiting(self, song: Song) -> UnknownSongError:
        for skip in SkipList(self.database.skipped_csv).read():
            if skip.song in {song.name, song.key}:
                return UnknownSongError(f"{song.title!r} was skipped: {skip.reason}")
        mode = self.database.mode
        return UnknownSongError(
            f"{song.title!r} is not ready yet; run: python spotify_specs.py -m {mode} && "
            f"python spotify_slices.py -m {mode}"
        )


def open_library(database: Database, model_path: Path, options: Options) -> Library:
    """Embed what is new or changed, forget what is gone, and return all songs with vectors.

    torch is imported only if there is something to embed.

    Raises
    ------
    LibraryError
        If no song has slices.
    ModelError, RecipeMismatchError
        If `model.pt` is missing or does not belong to the slices.
    """
    check_mark(
        database.slices_dir,
        f"python spotify_specs.py -m {database.mode} --force && "
        f"python spotify_slices.py -m {database.mode} --force",
    )
    with VectorStore(database.vectors_db, model_digest(model_path), RECIPE.digest) as store:
        stored = store.load()
        keys = database.slice_keys()
        if not keys:
            raise LibraryError(
                f"no slices in {database.slices_dir}; run: "
                f"python spotify_specs.py -m {database.mode} && "
                f"python spotify_slices.py -m {database.mode}"
            )
        prints = {key: fingerprint(database.slices_path(key)) for key in keys}
        if options.force or any(stored.fingerprints.get(key) != prints[key] for key in keys):
            _embed(database, model_path, options, store=store, stored=stored, prints=prints)
            stored = store.load()
        gone = stored.fingerprints.keys() - prints.keys()
        if gone:
            store.remove(gone)
    return _join(database, stored, prints)


def _embed(
    database: Database,
    model_path: Path,
    options: Options,
    *,
    store: VectorStore,
    stored: StoredVectors,
    prints: dict[str, str],
) -> None:
    """Make and store the vectors of new and changed songs."""
    slices = [Song(key, key, key, database.slices_path(key)) for key in prints]
    with Stage("vectors", database, options, "") as stage:
        if store.was_damaged:
            stage.tell(f"{store.path} was damaged and is put aside; all songs are embedded again")
        todo = stage.select(slices, lambda s: stored.fingerprints.get(s.key) == prints[s.key])
        if todo:
            from songrec.embedding import Embedder

            embedder = Embedder(model_path, n_threads=options.jobs)

            def embed(song: Song) -> None:
                store.put(song.key, prints[song.key], embedder.embed_folder(song.path))

            for _ in stage.map_here(embed, todo):
                pass
        stage.forget_absent(slices)


def _join(database: Database, stored: StoredVectors, prints: dict[str, str]) -> Library:
    """Match vectors with the audio files; where `songs/` is there, it says what exists."""
    by_key = {}
    if database.songs_dir.exists():
        by_key = {song.key: song for song in database.songs()}
    songs, rows = [], []
    for row, (key, made_from) in enumerate(stored.fingerprints.items()):
        if made_from != prints.get(key) or (by_key and key not in by_key):
            continue
        songs.append(by_key.get(key) or Song(key, key, key, database.slices_path(key)))
        rows.append(row)
    if not songs:
        raise LibraryError(f"no song could be embedded; the reasons: {database.skipped_csv}")
    with_vector = {song.key for song in songs}
    waiting = [song for key, song in by_key.items() if key not in with_vector]
    return Library(database, songs, stored.matrix[rows], waiting)
