"""The library to recommend among: every song with its vector, brought up to date."""

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from songrec.cli import Options
from songrec.database import Database, Song
from songrec.errors import LibraryError, UnknownSongError
from songrec.files import fingerprint
from songrec.lookup import find_song
from songrec.modelfile import model_digest
from songrec.ranking import (
    N_REFERENCES,
    Descriptions,
    Ranking,
    Scales,
    cosine_similarities,
    measure_scales,
    similarities,
)
from songrec.recipe import check_mark
from songrec.skips import SkipList
from songrec.stage import Stage
from songrec.vectors import StoredSongs, VectorStore, known_fingerprints

# With fewer songs there is no telling what distance is usual: the ranking is then by cosine.
MIN_REFERENCES = 16
# Songs whose scales are measured, some seconds, before they are kept.
_SCALES_AT_ONCE = 1000


@dataclasses.dataclass(frozen=True)
class Library:
    """Songs and what they are compared by; row `i` of everything belongs to `songs[i]`.

    Attributes
    ----------
    references
        Songs that tell what distance is usual.
    waiting
        Songs in `songs/` that have no vector: not sliced yet, or skipped.
    """

    database: Database
    songs: list[Song]
    descriptions: Descriptions
    scales: Scales
    references: Descriptions
    waiting: list[Song]

    @property
    def is_small(self) -> bool:
        """Tell whether there are too few songs to know what distance is usual."""
        return len(self.references) < MIN_REFERENCES

    def similarities(self, query: Descriptions, ranking: Ranking) -> np.ndarray:
        """Return the similarity of one song to every song [shape=(n,)].

        From 0 to 1 in the full ranking; cosines, in a small library too, may be below 0.
        """
        if ranking == "cosine" or self.is_small:
            return cosine_similarities(self.descriptions.vectors, query.vectors[0])
        query_scale = measure_scales(query, self.references)
        return similarities(self.descriptions, self.scales, query, query_scale)

    def subset(self, rows: list[int]) -> "Library":
        """Return the library as it would be with only these songs, references drawn anew."""
        descriptions = self.descriptions[rows]
        songs = [self.songs[row] for row in rows]
        references = draw_references(descriptions, [song.key for song in songs])
        scales = measure_scales(descriptions, references)
        return Library(self.database, songs, descriptions, scales, references, [])

    def find(self, name: str) -> int:
        """Return the row of the one song that goes by `name`.

        Raises
        ------
        AmbiguousSongError, UnknownSongError
            As `find_song` does; a song that is waiting is told with the reason.
        """
        song = find_song(name, [*self.songs, *self.waiting])
        if song in self.waiting:
            raise self._why_waiting(song)
        return self.songs.index(song)

    def _why_waiting(self, song: Song) -> UnknownSongError:
        for skip in SkipList(self.database.skipped_csv).read():
            if skip.song in {song.name, song.key}:
                return UnknownSongError(
                    f"{song.title!r} was skipped: {skip.reason}; to try again add --retry-skipped"
                )
        if self.database.slices_path(song.key).exists():
            return UnknownSongError(
                f"{song.title!r} has no vector yet; run the same command without --limit"
            )
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
    prints = _fingerprints(database)
    with VectorStore(database.vectors_db, model_digest(model_path)) as store:
        stored = store.load()
        if options.force or any(stored.fingerprints.get(key) != prints[key] for key in prints):
            _embed(database, model_path, options, store=store, stored=stored, prints=prints)
            stored = store.load()
        gone = stored.fingerprints.keys() - prints.keys()
        if gone:
            store.remove(gone)
            stored = store.load()
        stored, references = _update_scales(store, stored)
    return _join(database, stored, prints, references)


def list_new_songs(database: Database, model_path: Path, options: Options) -> list[str]:
    """Return the keys of the songs that `open_library` would embed."""
    prints = _fingerprints(database)
    model = model_digest(model_path)
    known = known_fingerprints(database.vectors_db, model)
    stage = Stage("vectors", database, options, "", made_by=model)
    todo = stage.select(_as_songs(database, prints), lambda s: known.get(s.key) == prints[s.key])
    return [song.key for song in todo]


def _as_songs(database: Database, prints: dict[str, str]) -> list[Song]:
    return [Song(key, key, key, database.slices_path(key)) for key in prints]


def _fingerprints(database: Database) -> dict[str, str]:
    """Return key -> fingerprint of every folder of slices."""
    mode = database.mode
    check_mark(
        database.slices_dir,
        f"python spotify_specs.py -m {mode} --force && python spotify_slices.py -m {mode} --force",
    )
    keys = database.slice_keys()
    if not keys:
        raise LibraryError(
            f"no slices in {database.slices_dir}; run: "
            f"python spotify_specs.py -m {mode} && python spotify_slices.py -m {mode}"
        )
    return {key: fingerprint(database.slices_path(key)) for key in keys}


def _embed(
    database: Database,
    model_path: Path,
    options: Options,
    *,
    store: VectorStore,
    stored: StoredSongs,
    prints: dict[str, str],
) -> None:
    """Make and store the vectors of new and changed songs."""
    slices = _as_songs(database, prints)
    with Stage("vectors", database, options, "", made_by=store.model) as stage:
        if store.was_damaged:
            stage.tell(f"{store.path} was damaged and is put aside; all songs are embedded again")
        todo = stage.select(slices, lambda s: stored.fingerprints.get(s.key) == prints[s.key])
        if todo:
            from songrec.embedding import Embedder

            embedder = Embedder(model_path, n_threads=options.jobs)

            def embed(song: Song) -> None:
                store.put(song.key, prints[song.key], embedder.describe_folder(song.path))

            for _ in stage.map_here(embed, todo):
                pass
        stage.forget_absent(slices)


def _update_scales(store: VectorStore, stored: StoredSongs) -> tuple[StoredSongs, Descriptions]:
    """Measure the scales that are missing; draw new references when the library has outgrown them.

    Up to `N_REFERENCES` songs, all are references, drawn anew with every change; from there on
    only when the library has doubled or halved, so that a new song costs one measurement.
    """
    n_songs = len(stored.fingerprints)
    drawn = store.references()
    is_new = np.isnan(stored.scales.mean[:, 0])
    n_then = drawn[0] if drawn else 0
    has_changed = n_then != n_songs or is_new.any()
    is_outgrown = not n_then / 2 < n_songs < n_then * 2
    if drawn is None or is_outgrown or (n_then < N_REFERENCES and has_changed):
        drawn = (n_songs, draw_references(stored.descriptions, list(stored.fingerprints)))
        store.put_references(*drawn)
        store.commit()  # What follows takes minutes in a large library; others may read meanwhile.
        missing = np.arange(n_songs)
    else:
        missing = np.flatnonzero(is_new)
    if len(missing):
        keys = list(stored.fingerprints)
        for rows in np.array_split(missing, -(-len(missing) // _SCALES_AT_ONCE)):
            scales = measure_scales(stored.descriptions[rows], drawn[1])
            store.put_scales([keys[row] for row in rows], scales)
            store.commit()
        stored = store.load()
    return stored, drawn[1]


def draw_references(descriptions: Descriptions, keys: list[str]) -> Descriptions:
    """Draw up to `N_REFERENCES` songs, by the digests of their keys: the same ones every time."""
    digests = [hashlib.sha256(key.encode()).digest() for key in keys]
    order = sorted(range(len(keys)), key=digests.__getitem__)
    return descriptions[np.sort(order[:N_REFERENCES]).astype(np.int64)]


def _join(
    database: Database, stored: StoredSongs, prints: dict[str, str], references: Descriptions
) -> Library:
    """Match vectors with the audio files; where `songs/` holds any, it says what exists."""
    by_key = {song.key: song for song in database.songs_if_any()}
    songs, rows = [], []
    for row, (key, made_from) in enumerate(stored.fingerprints.items()):
        if made_from != prints.get(key) or (by_key and key not in by_key):
            continue
        songs.append(by_key.get(key) or Song(key, key, key, database.slices_path(key)))
        rows.append(row)
    if not songs:
        raise LibraryError(
            f"no song could be embedded; the reasons: {database.skipped_csv}; "
            "to try again add --retry-skipped"
        )
    with_vector = {song.key for song in songs}
    waiting = [song for key, song in by_key.items() if key not in with_vector]
    descriptions, scales = stored.descriptions, stored.scales
    if len(rows) < len(descriptions):  # else a large library would be copied for nothing
        descriptions, scales = descriptions[rows], scales[rows]
    return Library(database, songs, descriptions, scales, references, waiting)
