"""The library in memory: its songs and everything they are compared by."""

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from songrec.advice import again
from songrec.errors import LibraryError, UnknownSongError
from songrec.files import fingerprint
from songrec.names import fold
from songrec.recommend.lookup import NameIndex
from songrec.recommend.ranking import (
    N_REFERENCES,
    Ranking,
    cosine_similarities,
    make_references,
    measure_scales,
    similarities,
)
from songrec.runs.options import Options
from songrec.runs.progress import Progress
from songrec.runs.stage import Stage
from songrec.store.database import Database, SliceFolder, Song
from songrec.store.descriptions import Descriptions, References, Scales
from songrec.store.marks import check_mark
from songrec.store.skips import SkipList
from songrec.store.vectors import StoredSongs, VectorStore, known_fingerprints

if TYPE_CHECKING:
    from songrec.network.embedder import Embedder

# With fewer songs, typical distances cannot be estimated: the ranking is then by cosine.
MIN_REFERENCES = 16
# Up to so many songs, the references are redrawn with every change: that takes a second.
_FEW_SONGS = 200
# Songs whose scales are measured, in some seconds, before they are stored.
_SCALES_AT_ONCE = 250


@dataclasses.dataclass(frozen=True)
class Library:
    """Songs and what they are compared by; row `i` of everything belongs to `songs[i]`.

    Attributes
    ----------
    references
        Songs that typical distances are measured on.
    waiting
        Songs in `songs/` that have no vector: not sliced yet, or skipped.
    has_audio
        Whether `songs/` holds any song. If so, only songs whose file is there are answers; if
        not, all are.
    folded
        Title -> `fold` of it, as far as the database has it.
    """

    database: Database
    songs: list[Song]
    descriptions: Descriptions
    scales: Scales
    references: References
    waiting: list[Song]
    has_audio: bool = True
    folded: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def is_small(self) -> bool:
        """Return whether there are too few songs to estimate typical distances."""
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
        """Return the library as it would be with only these songs, its references redrawn."""
        songs = [self.songs[row] for row in rows]
        part = dataclasses.replace(self, songs=songs, waiting=[])
        return part.described_by(self.descriptions[rows])

    def described_by(self, descriptions: Descriptions) -> "Library":
        """Return the same songs with other descriptions, the references redrawn."""
        references = draw_references(descriptions, [song.key for song in self.songs])
        scales = measure_scales(descriptions, references)
        return dataclasses.replace(
            self, descriptions=descriptions, scales=scales, references=references
        )

    @functools.cached_property
    def _names(self) -> NameIndex:
        songs = [*self.songs, *self.waiting]
        titles = [song.title for song in songs]
        return NameIndex(songs, [self.folded.get(title) or fold(title) for title in titles])

    def find(self, name: str) -> int:
        """Return the row of the one song that matches `name`.

        Raises
        ------
        AmbiguousSongError, UnknownSongError, UsageError
            As `NameIndex.find`; for a song without a vector, the message says why.
        """
        row = self._names.find(name)
        if row >= len(self.songs):
            raise self._why_waiting(self.waiting[row - len(self.songs)])
        return row

    def _why_waiting(self, song: Song) -> UnknownSongError:
        has_slices = self.database.slices_path(song.key).exists()
        for skip in SkipList(self.database.skipped_csv).read():
            # A skip of an earlier version of the slices says nothing.
            if skip.stage == "vectors" and not has_slices:
                continue
            if skip.song in {song.name, song.key}:
                steps = {
                    "specs": (
                        self.database.make_specs("--retry-skipped"),
                        self.database.make_slices(),
                    ),
                    "slices": (self.database.make_slices("--retry-skipped"),),
                }.get(skip.stage, (self.database.make_slices(), again()))
                return UnknownSongError(f"{song.title!r} was skipped: {skip.reason}", *steps)
        if has_slices:
            return UnknownSongError(
                f"{song.title!r} has no vector yet; run the same command without --limit"
            )
        steps = (self.database.make_specs(), self.database.make_slices())
        return UnknownSongError(f"{song.title!r} is not analysed yet", *steps)


def open_library(
    database: Database, model: str, load_network: "Callable[[], Embedder]", options: Options
) -> Library:
    """Embed what is new or changed, drop what is gone, and return all songs with vectors.

    Parameters
    ----------
    model
        Digest of the model.
    load_network
        Returns the network; called only if there is something to embed.

    Raises
    ------
    LibraryError
        If no song has slices.
    RecipeMismatchError
        If the slices were made with another recipe.
    """
    prints = _fingerprints(database)
    with VectorStore(database.vectors_db, model) as store:
        stored = store.load()
        current = {key for key in prints if stored.fingerprints.get(key) == prints[key]}
        gone = stored.fingerprints.keys() - prints.keys()
        if options.force or len(current) < len(prints):
            _embed(database, load_network, options, store=store, prints=prints, current=current)
        store.remove(gone)
        if options.force or gone or len(current) < len(prints):
            stored = store.load()
        stored, references = _update_scales(store, stored, options)
        library = _join(database, stored, prints, references)
        return dataclasses.replace(library, folded=_folded_titles(library, store))


def list_new_songs(database: Database, model: str, options: Options) -> list[str]:
    """Return the keys of the songs that `open_library` would embed."""
    prints = _fingerprints(database)
    known = known_fingerprints(database.vectors_db, model)
    stage = Stage("vectors", database, options, made_by=model)
    todo = stage.select(_folders(database, prints), lambda f: known.get(f.key) == prints[f.key])
    return [folder.key for folder in todo]


def _folders(database: Database, prints: dict[str, str]) -> list[SliceFolder]:
    return [SliceFolder(key, database.slices_path(key), key, key) for key in prints]


def _fingerprints(database: Database) -> dict[str, str]:
    """Return key -> fingerprint of every folder of slices."""
    check_mark(database.slices_dir, database.make_specs("--force"), database.make_slices("--force"))
    keys = database.slice_keys()
    if not keys:
        raise LibraryError(
            f"no slices in {database.slices_dir.absolute()}",
            database.make_specs(),
            database.make_slices(),
        )
    return {key: fingerprint(database.slices_path(key)) for key in keys}


def _embed(
    database: Database,
    load_network: "Callable[[], Embedder]",
    options: Options,
    *,
    store: VectorStore,
    prints: dict[str, str],
    current: set[str],
) -> None:
    """Make and store the vectors of new and changed songs."""
    folders = _folders(database, prints)
    with Stage("vectors", database, options, made_by=store.model) as stage:
        if store.was_damaged:
            stage.tell(f"{store.path} was damaged and has been replaced; embedding all songs again")
        todo = stage.select(folders, lambda folder: folder.key in current)
        if todo:
            embedder = load_network()

            def embed(folder: SliceFolder) -> None:
                description = embedder.describe_folder(folder.path)
                store.put(folder.key, prints[folder.key], description)

            for _ in stage.map_here(embed, todo):
                pass
        stage.forget_absent(folders)


def _update_scales(
    store: VectorStore, stored: StoredSongs, options: Options
) -> tuple[StoredSongs, References]:
    """Measure missing scales; redraw the references when the library has outgrown them.

    Until then a new song costs one measurement, and the other songs keep theirs.
    """
    keys = list(stored.fingerprints)
    missing = np.flatnonzero(np.isnan(stored.scales.width))
    drawn = store.references()
    if drawn is None or _has_outgrown(drawn[0], len(keys), has_new=len(missing) > 0):
        drawn = (len(keys), draw_references(stored.descriptions, keys))
        store.put_references(*drawn)
        store.commit()  # What follows takes minutes in a large library; others may read meanwhile.
        missing = np.arange(len(keys))
    if len(missing):
        scales = Scales.from_numbers(stored.scales.to_numbers())
        progress = Progress("typical distances", options, ())
        is_long = len(missing) > _FEW_SONGS
        with progress.bar(len(missing)) if is_long else contextlib.nullcontext():
            for rows in np.array_split(missing, -(-len(missing) // _SCALES_AT_ONCE)):
                measured = measure_scales(stored.descriptions[rows], drawn[1])
                for name, numbers in vars(measured).items():
                    getattr(scales, name)[rows] = numbers
                store.put_scales([keys[row] for row in rows], measured)
                store.commit()
                for _ in rows:
                    progress.step()
        stored = dataclasses.replace(stored, scales=scales)
    return stored, drawn[1]


def _has_outgrown(n_then: int, n_now: int, *, has_new: bool) -> bool:
    """Return whether references drawn from `n_then` songs no longer represent `n_now` songs.

    The fewer songs there are, the more each matters, and the cheaper it is to redraw them.
    """
    if n_now <= _FEW_SONGS:
        return n_now != n_then or has_new
    factor = 1.1 if n_then < N_REFERENCES else 2.0
    return not n_then / factor < n_now < n_then * factor


def draw_references(descriptions: Descriptions, keys: list[str]) -> References:
    """Draw up to `N_REFERENCES` songs, by the digests of their keys: the same ones every time."""
    digests = [hashlib.sha256(key.encode()).digest() for key in keys]
    order = sorted(range(len(keys)), key=digests.__getitem__)
    return make_references(descriptions[np.sort(order[:N_REFERENCES]).astype(np.int64)])


def _join(
    database: Database, stored: StoredSongs, prints: dict[str, str], references: References
) -> Library:
    """Match vectors with audio files; if `songs/` holds any, only songs with a file remain."""
    by_key = {song.key: song for song in database.songs_if_any()}
    songs, rows = [], []
    for row, (key, made_from) in enumerate(stored.fingerprints.items()):
        if made_from != prints.get(key) or (by_key and key not in by_key):
            continue
        songs.append(by_key.get(key) or Song(key, key, key, database.songs_dir / key))
        rows.append(row)
    if not songs and not by_key.keys() & prints.keys() and by_key:
        raise LibraryError(
            f"none of the songs in {database.songs_dir} is analysed yet",
            database.make_specs(),
            database.make_slices(),
        )
    if not songs:
        raise LibraryError(
            f"no song could be embedded; the reasons are in {database.skipped_csv}",
            database.make_slices(),
            again(),
        )
    with_vector = {song.key for song in songs}
    waiting = [song for key, song in by_key.items() if key not in with_vector]
    descriptions, scales = stored.descriptions, stored.scales
    if len(rows) < len(descriptions):  # else a large library would be copied for nothing
        descriptions, scales = descriptions[rows], scales[rows]
    return Library(
        database, songs, descriptions, scales, references, waiting, has_audio=bool(by_key)
    )


def _folded_titles(library: Library, store: VectorStore) -> dict[str, str]:
    """Return title -> folded title, and store those that the database does not have."""
    known = store.folded_titles()
    titles = {song.title for song in [*library.songs, *library.waiting]}
    new = {title: fold(title) for title in sorted(titles - known.keys())}
    if new:
        store.put_folded_titles(new)
    return known | new
