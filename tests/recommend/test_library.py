"""The store of vectors: what is embedded, when, and what if it is damaged."""

import contextlib
import json
import os
import shutil
import sqlite3

import numpy as np
import pytest
import torch

from tests.models import write_model
from tests.recommend.asking import answer_of, recommend, vectors_of
from tests.running import on_small_disk, run_script, tree
from tests.tunes import write_tune


def test_an_empty_folder_of_songs_is_as_none_at_all(library):
    """What is asked for stands in slices/; that is all the script says it reads."""
    shutil.rmtree(library / "data/song_db/songs")
    without = answer_of(library, "Artist 0 - Song 0", "5")
    assert len(without["recommendations"]) == 5
    (library / "data/song_db/songs").mkdir()
    assert answer_of(library, "Artist 0 - Song 0", "5") == without
    (library / "data/song_db/songs/cover.jpg").write_bytes(b"no music")
    assert answer_of(library, "Artist 0 - Song 0", "5") == without


def test_a_broken_model_does_not_spoil_the_library(library):
    good = (library / "model.pt").read_bytes()
    content = torch.load(library / "model.pt", weights_only=True)
    for tensor in content["weights"].values():
        if tensor.is_floating_point():
            tensor.fill_(float("nan"))
    torch.save(content, library / "model.pt")
    broken = recommend(library, "Artist 0 - Song 0")
    assert broken.returncode == 1 and "no song could be embedded" in broken.stderr
    (library / "model.pt").write_bytes(good)
    assert recommend(library, "Artist 0 - Song 0").returncode == 0


def test_dry_run_and_limit(library):
    (library / "data/song_db/vectors.db").unlink()
    listed = recommend(library, "Artist 0 - Song 0", "--dry-run")
    assert listed.returncode == 0
    assert len(listed.stdout.splitlines()) == 24 and "embed Artist 0 - Song 0" in listed.stdout
    assert not (library / "data/song_db/vectors.db").exists()
    some = recommend(library, "Artist 0 - Song 0", "--limit", "5")
    assert some.returncode == 0 and len(vectors_of(library)) == 5
    waiting = recommend(library, "Artist 5 - Song 23", "--limit", "1")
    assert "without --limit" in waiting.stderr


def test_dry_run_lists_what_a_run_would_do(library):
    def listed(*flags):
        done = recommend(library, "Artist 0 - Song 0", "--dry-run", *flags)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    assert listed() == []
    assert len(listed("--force")) == 24 and len(listed("--force", "--limit", "2")) == 2
    folder = library / "data/song_db/slices/Artist 0 - Song 3"
    (folder / "0001.png").write_bytes(b"broken")
    os.utime(folder)
    assert listed() == ["embed Artist 0 - Song 3"]
    recommend(library, "Artist 0 - Song 0")
    assert listed() == [] and listed("--retry-skipped") == ["embed Artist 0 - Song 3"]


@pytest.mark.slow
def test_a_full_disk_while_embedding_is_told(library):
    (library / "data/song_db/vectors.db").unlink()
    done = on_small_disk(
        library,
        8,
        [
            "recommender.py",
            "-m",
            "Recommend",
            "Artist 0 - Song 0",
            "--data",
            library / "data",
            "--model",
            library / "model.pt",
        ],
    )
    assert done.returncode == 1
    assert "the disk is full" in done.stderr and "Traceback" not in done.stderr


def test_a_song_whose_disk_is_unplugged_may_ask_but_does_not_count(library):
    (library / "data/song_db/songs/Artist 0 - Song 0.wav").unlink()
    (library / "data/song_db/songs/Artist 0 - Song 0.wav").symlink_to("/nowhere/0.wav")
    done = recommend(library, "Artist 0 - Song 0", "500", "--max-per-artist", "0")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 23
    assert "only 23 songs: there are no more" in done.stderr


def test_only_what_is_new_or_changed_is_embedded(library):
    before = vectors_of(library)
    songs = library / "data/song_db/songs"
    assert "vectors" not in recommend(library, "Artist 0 - Song 0").stderr
    write_tune(songs / "New - Song.wav", seconds=4, seed=90)
    write_tune(songs / "Artist 0 - Song 1.wav", seconds=4, seed=91)
    (songs / "Artist 0 - Song 2.wav").unlink()
    waiting = recommend(library, "New - Song")
    assert waiting.returncode == 1
    assert "not analysed yet" in waiting.stderr and "spotify_specs.py" in waiting.stderr
    gone = answer_of(library, "Artist 0 - Song 0", "30", "--max-per-artist", "0")
    assert "Artist 0 - Song 2" not in [r["song"] for r in gone["recommendations"]]
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", library / "data")
    done = recommend(library, "New - Song", "30", "--max-per-artist", "0")
    assert "vectors: 2 done, 22 already there" in done.stderr
    assert len(done.stdout.splitlines()) == 23
    after = vectors_of(library)
    assert after.keys() == before.keys() - {"Artist 0 - Song 2"} | {"New - Song"}
    changed = {key for key in before.keys() & after.keys() if before[key] != after[key]}
    assert changed == {"Artist 0 - Song 1"}


def test_a_new_model_embeds_all_again(library):
    before = vectors_of(library)
    write_model(library / "model.pt", seed=1)
    assert "24 done" in recommend(library, "Artist 0 - Song 0").stderr
    after = vectors_of(library)
    assert before.keys() == after.keys()
    assert all(before[key] != after[key] for key in before)


def test_a_damaged_memory_is_put_aside(library):
    (library / "data/song_db/vectors.db").write_bytes(b"not a database" * 1000)
    done = recommend(library, "Artist 0 - Song 0")
    assert done.returncode == 0
    assert "damaged" in done.stderr and len(done.stdout.splitlines()) == 3
    assert list((library / "data/song_db").glob("vectors.db.damaged*"))


def test_a_damaged_slice_costs_only_its_song(library):
    folder = library / "data/song_db/slices/Artist 0 - Song 3"
    (folder / "0001.png").write_bytes(b"broken")
    os.utime(folder)
    done = recommend(library, "Artist 0 - Song 0", "30", "--max-per-artist", "0")
    assert done.returncode == 0 and "1 skipped" in done.stderr
    assert len(done.stdout.splitlines()) == 22
    asked = recommend(library, "Artist 0 - Song 3")
    assert asked.returncode == 1 and "was skipped" in asked.stderr


def test_a_database_of_an_earlier_layout_is_neither_damage_nor_touched_by_a_dry_run(library):
    database = library / "data/song_db/vectors.db"
    database.unlink()
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.execute("CREATE TABLE songs (key TEXT PRIMARY KEY, vector BLOB) WITHOUT ROWID")
        db.commit()
    before = tree(library)
    done = recommend(library, "Artist 0 - Song 0", "--dry-run")
    assert done.returncode == 0 and tree(library) == before, done.stderr
    done = recommend(library, "Artist 0 - Song 0")
    assert done.returncode == 0 and "damaged" not in done.stderr
    assert not list(database.parent.glob("*damaged*"))


OF_VERSION_1 = """
ALTER TABLE songs ADD COLUMN classes BLOB NOT NULL DEFAULT X'00';
UPDATE songs SET scale = zeroblob(64);
DROP TABLE reference_songs;
CREATE TABLE reference_songs (
    model TEXT, recipe TEXT, n_library INTEGER NOT NULL,
    vectors BLOB NOT NULL, timbres BLOB NOT NULL, patterns BLOB NOT NULL, classes BLOB NOT NULL,
    PRIMARY KEY (model, recipe)
) WITHOUT ROWID;
INSERT INTO reference_songs SELECT model, recipe, 24, X'', X'', X'', X'' FROM songs LIMIT 1;
PRAGMA user_version = 1;
"""


def test_a_database_with_class_probabilities_keeps_its_vectors(library):
    """Nothing is embedded again; what is usual is measured again."""
    wanted, vectors = answer_of(library, "Artist 0 - Song 0", "5"), vectors_of(library)
    scales = vectors_of(library, "scale")
    with contextlib.closing(sqlite3.connect(library / "data/song_db/vectors.db")) as db:
        db.executescript(OF_VERSION_1)
    assert recommend(library, "Artist 0 - Song 0", "--dry-run").stdout == ""
    done = recommend(library, "Artist 0 - Song 0", "5", "--json")
    assert done.returncode == 0 and "vectors" not in done.stderr, done.stderr
    assert json.loads(done.stdout) == wanted
    assert vectors_of(library) == vectors and vectors_of(library, "scale") == scales


def test_two_runs_at_once_bring_a_database_over_only_once(tmp_path, monkeypatch):
    """The second finds the work done when it gets the lock, and leaves it."""
    from songrec.store import sqlite

    path = tmp_path / "some.db"
    first = "CREATE TABLE one (x -- a comment; with a semicolon\n)"
    second = "CREATE TABLE two (x); INSERT INTO two VALUES (1);"
    sqlite.connect(path, (first,)).close()
    version_of, asked = sqlite.version_of, []

    def version_before_another_run(connection):
        found = version_of(connection)
        if not asked:
            asked.append(found)
            sqlite.connect(path, (first, second)).close()
        return found

    monkeypatch.setattr(sqlite, "version_of", version_before_another_run)
    with contextlib.closing(sqlite.connect(path, (first, second))) as db:
        assert db.execute("SELECT count(*) FROM two").fetchone() == (1,)
    assert asked == [1]


def test_references_are_drawn_anew_when_the_library_has_outgrown_them():
    from songrec.recommend.library import _has_outgrown

    # Few songs: with every change.
    assert _has_outgrown(20, 21, has_new=True) and _has_outgrown(21, 20, has_new=False)
    assert _has_outgrown(20, 20, has_new=True) and not _has_outgrown(20, 20, has_new=False)
    # Some hundred: when a tenth is new or gone.
    assert not _has_outgrown(500, 540, has_new=True) and _has_outgrown(500, 560, has_new=True)
    assert _has_outgrown(500, 440, has_new=False)
    # Many: when it has doubled or halved.
    assert not _has_outgrown(1000, 1900, has_new=True) and _has_outgrown(1000, 2000, has_new=True)
    assert _has_outgrown(1000, 500, has_new=False)


def test_a_new_song_costs_one_measurement_and_the_others_keep_theirs(library, monkeypatch):
    from songrec.recommend import library as module

    recommend(library, "Artist 0 - Song 0")
    before = vectors_of(library, "scale")
    monkeypatch.setattr(module, "_FEW_SONGS", 10)
    write_tune(library / "data/song_db/songs/New - Song.wav", seconds=4, seed=90)
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", library / "data")
    assert recommend(library, "New - Song").returncode == 0
    after = vectors_of(library, "scale")
    assert after.pop("New - Song") is not None and after == before


def test_a_dry_run_leaves_a_damaged_database_where_it_is(library):
    (library / "data/song_db/vectors.db").write_bytes(b"no database" * 500)
    before = tree(library)
    assert recommend(library, "Artist 0 - Song 0", "--dry-run").returncode == 0
    assert tree(library) == before


def test_a_locked_database_is_no_empty_one(tmp_path, monkeypatch):
    from songrec.errors import LibraryError
    from songrec.store import sqlite, vectors

    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.1)
    path = tmp_path / "vectors.db"
    assert vectors.known_fingerprints(path, "model") == {}
    with vectors.VectorStore(path, "model"):
        pass
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LibraryError, match="in use by another run"):
            vectors.known_fingerprints(path, "model")
    assert vectors.known_fingerprints(path, "model") == {}
    path.write_bytes(b"no database" * 1000)
    assert vectors.known_fingerprints(path, "model") == {}


def test_others_may_write_while_scales_are_measured_and_a_kill_loses_few(library, monkeypatch):
    from songrec.recommend import library as module
    from songrec.recommend.recommender import Recommender
    from songrec.store.database import Database

    database = Database.library(library / "data")
    recommend(library, "Artist 0 - Song 0")
    with contextlib.closing(sqlite3.connect(database.vectors_db)) as db, db:
        db.execute("UPDATE reference_songs SET n_library = 1000")  # outgrown: all anew
    measured = []

    def measure(songs, references):
        with contextlib.closing(sqlite3.connect(database.vectors_db, timeout=0)) as db:
            db.execute("BEGIN IMMEDIATE")
            done = db.execute("SELECT count(*) FROM songs WHERE scale IS NOT NULL").fetchone()
        measured.append(done[0])
        return measure_scales(songs, references)

    measure_scales = module.measure_scales
    monkeypatch.setattr(module, "measure_scales", measure)
    monkeypatch.setattr(module, "_SCALES_AT_ONCE", 10)
    opened = Recommender.open(library / "data", library / "model.pt", jobs=1).library
    assert measured == [0, 8, 16]
    assert len(opened.songs) == 24 and np.isfinite(opened.scales.to_numbers()).all()
