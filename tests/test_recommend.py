"""From slices to the answer: the ranking, the memory of vectors, the errors."""

import contextlib
import dataclasses
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, on_small_disk, run_script, tree, tune, write_tune

import model
from songrec.network.checkpoint import TrainedModel, save_model
from songrec.recommend.ranking import Descriptions, distances, measure_scales, similarities
from songrec.recommend.variety import recording_of
from songrec.sound.patterns import N_DIMS, pattern_vector
from songrec.sound.timbre import Timbres
from songrec.store.vectors import VectorStore

ARCHITECTURE = {
    "name": "StridedCNN",
    "widths": [8, 16, 32],
    "n_blocks": [1, 1, 1],
    "n_bands": 2,
    "n_latent": 24,
}


def write_model(path, seed=0, architecture=None):
    """A network that was never trained still maps like to like."""
    architecture = architecture or ARCHITECTURE
    torch.manual_seed(seed)
    network = model.build(architecture, 3)
    save_model(path, TrainedModel(network, architecture, "genre", ["a", "b", "c"], {}, {}))
    return path


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A library of 24 songs through specs and slices, and a model."""
    folder = tmp_path_factory.mktemp("library")
    data = folder / "data"
    for number in range(24):
        path = data / f"song_db/songs/Artist {number // 4} - Song {number}.wav"
        write_tune(path, seconds=6.5, seed=number)
    for script in ("spotify_specs.py", "spotify_slices.py"):
        assert run_script(script, "-m", "Test", "--data", data).returncode == 0
    write_model(folder / "model.pt")
    first = run_script(
        "recommender.py",
        "-m",
        "Recommend",
        "Song 1",
        "--data",
        data,
        "--model",
        folder / "model.pt",
    )
    assert first.returncode == 1 and "fits" in first.stderr
    return folder


@pytest.fixture
def library(prepared, tmp_path):
    """A copy of the prepared library to change."""
    folder = tmp_path / "library"
    subprocess.run(["cp", "-a", prepared, folder], check=True)
    return folder


def recommend(folder, *args, env=None):
    return run_script(
        "recommender.py",
        "-m",
        "Recommend",
        *args,
        "--data",
        folder / "data",
        "--model",
        folder / "model.pt",
        env=env,
    )


def answer_of(folder, *args):
    done = recommend(folder, *args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def vectors_of(folder, column="vector"):
    with sqlite3.connect(folder / "data/song_db/vectors.db") as connection:
        return dict(connection.execute(f"SELECT key, {column} FROM songs"))


def test_the_answer_as_text_and_json(prepared):
    done = recommend(prepared, "Artist 2 - Song 9", "5")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    answer = answer_of(prepared, "Artist 2 - Song 9", "5")
    assert answer["query"] == "Artist 2 - Song 9"
    rows = answer["recommendations"]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    for line, row in zip(lines, rows, strict=True):
        assert line == f"{row['rank']}. {row['song']}  {row['similarity']:.3f}"
        assert row["song"] == f"{row['artist']} - {row['title']}"
        assert os.path.samefile(row["file"], prepared / f"data/song_db/songs/{row['song']}.wav")
        assert 0 <= row["similarity"] <= 1
    assert [r["similarity"] for r in rows] == sorted((r["similarity"] for r in rows), reverse=True)
    assert "Artist 2 - Song 9" not in [row["song"] for row in rows]
    assert len(recommend(prepared, "Artist 2 - Song 9").stdout.splitlines()) == 3


@pytest.mark.parametrize("ranking", ["full", "cosine"])
@pytest.mark.parametrize("more", [[], ["--keep-versions"]])
def test_a_song_is_never_its_own_answer(prepared, ranking, more):
    name = "Artist 2 - Song 9"
    flags = ["--ranking", ranking, "--max-per-artist", "0", *more]
    songs = [row["song"] for row in answer_of(prepared, name, "30", *flags)["recommendations"]]
    assert len(songs) == len(set(songs)) == 23
    assert name not in songs


def test_cosine_ranking_is_the_cosine_of_the_mean_slice_vectors(prepared):
    answer = answer_of(
        prepared, "Artist 0 - Song 0", "23", "--ranking", "cosine", "--max-per-artist", "0"
    )
    vectors = {k: np.frombuffer(v, np.float32) for k, v in vectors_of(prepared).items()}
    query = vectors["Artist 0 - Song 0"]
    assert len(answer["recommendations"]) == 23
    for row in answer["recommendations"]:
        v = vectors[row["song"]]
        cosine = v @ query / np.linalg.norm(v) / np.linalg.norm(query)
        assert row["similarity"] == pytest.approx(max(0.0, cosine), abs=1e-5)

    network = model.build(ARCHITECTURE, 3)
    network.load_state_dict(torch.load(prepared / "model.pt", weights_only=True)["weights"])
    from PIL import Image

    folder = prepared / "data/song_db/slices/Artist 0 - Song 0"
    slices = np.stack([np.asarray(Image.open(p)) for p in sorted(folder.iterdir())])
    with torch.inference_mode():
        x = torch.from_numpy(slices).float()[:, None] / 255
        expected = network.eval().embedder()(x).mean(0).numpy()
        probabilities = network(x).softmax(1).mean(0).numpy()
    assert np.allclose(query, expected, atol=1e-4)
    classes = np.frombuffer(vectors_of(prepared, "classes")["Artist 0 - Song 0"], np.float32)
    assert np.allclose(classes, probabilities, atol=1e-4)


def test_the_distance_of_classes_is_hellingers():
    songs = stack([describe(seed) for seed in range(3)])
    classes = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0, 1]], np.float32)
    songs = dataclasses.replace(songs, classes=classes)
    # By its definition: the Euclidean distance of the roots, over the root of 2.
    wanted = np.linalg.norm(np.sqrt(classes) - np.sqrt(classes[1]), axis=1) / np.sqrt(2)
    assert np.allclose(distances(songs, songs[[1]])[:, 3], wanted, atol=1e-3)


def test_the_same_music_in_another_file_comes_first(library):
    source = library / "data/song_db/songs/Artist 3 - Song 13.wav"
    shutil.copy(source, library / "elsewhere.wav")
    for ranking in ("full", "cosine"):
        answer = answer_of(library, str(library / "elsewhere.wav"), "1", "--ranking", ranking)
        assert answer["recommendations"][0]["song"] == "Artist 3 - Song 13"
        assert answer["recommendations"][0]["similarity"] > 0.9
    inside = answer_of(library, str(source), "23")
    assert "Artist 3 - Song 13" not in [row["song"] for row in inside["recommendations"]]
    assert len(vectors_of(library)) == 24
    (library / "broken.mp3").write_text("no music")
    broken = recommend(library, library / "broken.mp3")
    assert broken.returncode == 1 and "broken.mp3" in broken.stderr
    assert len(broken.stderr.strip().splitlines()) == 1


def test_several_songs_are_asked_for_together(prepared):
    names = ["Artist 0 - Song 0", "Artist 5 - Song 20"]
    one, other = (
        {
            r["song"]: r["similarity"]
            for r in answer_of(prepared, name, "23", "--max-per-artist", "0")["recommendations"]
        }
        for name in names
    )
    both = answer_of(prepared, names[0], "22", "--also", names[1], "--max-per-artist", "0")
    assert both["query"] == names
    assert len(both["recommendations"]) == 22
    for row in both["recommendations"]:
        assert row["song"] not in names
        mean = (one[row["song"]] + other[row["song"]]) / 2
        assert row["similarity"] == pytest.approx(mean, abs=1e-5)


def test_variety(library):
    rows = answer_of(library, "Artist 0 - Song 0", "23", "--max-per-artist", "1")["recommendations"]
    assert len(rows) == len({row["artist"] for row in rows}) == 6
    songs = library / "data/song_db/songs"
    source = songs / "Artist 1 - Song 5.wav"
    for twin in ("Artist 1 - Song 5 (Remastered 2011)", "Artist 1 - Song 5 - Live at Home"):
        shutil.copy(source, songs / f"{twin}.wav")
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", library / "data")
    few = [r["song"] for r in answer_of(library, "Artist 1 - Song 6", "30")["recommendations"]]
    assert sum(name.startswith("Artist 1 - Song 5") for name in few) == 1
    twins = answer_of(library, "Artist 1 - Song 5", "30", "--max-per-artist", "0")
    assert not [r for r in twins["recommendations"] if "Song 5" in r["song"]]
    kept = answer_of(library, "Artist 1 - Song 5", "2", "--keep-versions")["recommendations"]
    assert {r["song"] for r in kept} == {
        "Artist 1 - Song 5 (Remastered 2011)",
        "Artist 1 - Song 5 - Live at Home",
    }


def test_versions_and_remixes():
    same = ["A - B", "a - b (Live)", "A - B - Remastered 2009", "A - B [Bonus Track]"]
    same += ["A - B (Live at Home)", "A - B (2011 Remaster)", "A - B - Radio Edit", "A - B (Mono)"]
    assert len({recording_of(name) for name in same}) == 1
    others = [
        "A - B",
        "A - B (Remix)",
        "A - Live and Let Die",
        "A - Live",
        "C - B",
        "A - B (Part 2)",
        "A - B (C Remix Radio Edit)",
        "A - B (We Live In Time)",
        "A - B - Take Me Home",
    ]
    assert len({recording_of(name) for name in others}) == len(others)


def test_track_numbers_are_no_artists_and_bare_titles_no_versions(library):
    songs = library / "data/song_db/songs"
    for number in range(6):
        write_tune(songs / f"Album {number}/01 - Opening {number}.wav", 3.2, seed=300 + number)
        write_tune(songs / f"Album {number}/Intro.wav", 3.2, seed=400 + number)
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", library / "data")
    rows = answer_of(library, "Album 0/Intro", "50")["recommendations"]
    assert sum(row["song"] == "Intro" for row in rows) == 5
    assert sum("Opening" in row["song"] for row in rows) == 6


def test_a_linked_song_asked_for_by_its_file_is_not_its_own_answer(library):
    outside = write_tune(library / "music/01 track.wav", 6.5, seed=500)
    link = library / "data/song_db/songs/Zed - Linked.wav"
    link.symlink_to(outside)
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", library / "data")
    for path in (outside, link):
        rows = answer_of(library, path, "30", "--keep-versions")["recommendations"]
        assert "Zed - Linked" not in [row["song"] for row in rows]
    outside.unlink()
    rows = answer_of(library, "Artist 0 - Song 0", "30", "--max-per-artist", "0")
    assert "Zed - Linked" not in [row["song"] for row in rows["recommendations"]]


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


def test_a_name_means_its_song_also_while_that_waits(library):
    songs = library / "data/song_db/songs"
    (songs / "Artist 0 - Song 1.wav").rename(songs / "Artist 0 - Song 1 (live).wav")
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", library / "data")
    write_tune(songs / "Artist 0 - Song 1.wav", seconds=6.5, seed=50)
    for name in ("Artist 0 - Song 1", "Artist 0 - Song 1.wav"):
        done = recommend(library, name)
        assert done.returncode == 1 and "is not analysed yet; run: " in done.stderr
    assert recommend(library, "Artist 0 - Song 1 (live)").returncode == 0


def test_flags_of_the_other_mode_are_refused(prepared):
    done = recommend(prepared, "Artist 0 - Song 0", "--epochs", "3")
    assert done.returncode == 2 and "--epochs" in done.stderr
    done = run_script("recommender.py", "-m", "Train", "--json")
    assert done.returncode == 2 and "--json" in done.stderr


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


def test_more_than_there_are_gives_all_and_says_so(prepared):
    done = recommend(prepared, "Artist 0 - Song 0", "500", "--max-per-artist", "0")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 23
    assert "only 23 songs: there are no more" in done.stderr
    few = recommend(prepared, "Artist 0 - Song 0", "500", "--max-per-artist", "1")
    assert "only 6 songs; 17 more with --max-per-artist 0" in few.stderr


def test_a_song_whose_disk_is_unplugged_may_ask_but_does_not_count(library):
    (library / "data/song_db/songs/Artist 0 - Song 0.wav").unlink()
    (library / "data/song_db/songs/Artist 0 - Song 0.wav").symlink_to("/nowhere/0.wav")
    done = recommend(library, "Artist 0 - Song 0", "500", "--max-per-artist", "0")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 23
    assert "only 23 songs: there are no more" in done.stderr


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        (["Artist 0 - Song 0", "0"], 2, "too small"),
        (["Artist 0 - Song 0", "three"], 2, "not a whole number"),
        ([], 2, "needs a song"),
        (["Artist 0 - Sonk 0"], 1, "nearest: Artist 0 - Song 0"),
        (["Artist 0"], 1, "fits 4 songs"),
        (["-x"], 2, "recommender.py"),
        (["nowhere/song.mp3"], 1, "is no file"),
        (["AC/DC - Song 9"], 1, "nearest: Artist 2 - Song 9"),
        (["/"], 1, "is no audio file"),
        (["README.md"], 1, "is no audio file"),
        (["docs"], 1, "nearest: "),  # a folder where the script runs
        (["Artist 0 - " + "long " * 60], 1, "nearest: Artist 0"),  # more bytes than a file name
        ([" "], 2, "is empty"),
    ],
)
def test_wrong_questions_get_one_line(prepared, args, status, told):
    done = recommend(prepared, *args)
    assert done.returncode == status
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and done.stdout == ""


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


def test_similarities_are_the_same_from_run_to_run(library):
    first = answer_of(library, "Artist 4 - Song 16", "10")
    assert answer_of(library, "Artist 4 - Song 16", "10") == first
    # Also after a song was replaced: it tells no longer what distance is usual.
    songs = library / "data/song_db/songs"
    write_tune(songs / "Artist 1 - Song 5.wav", seconds=6.5, seed=70)
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", library / "data")
    first = answer_of(library, "Artist 4 - Song 16", "10")
    (library / "data/song_db/vectors.db").unlink()
    again = answer_of(library, "Artist 4 - Song 16", "10")
    for one, other in zip(first["recommendations"], again["recommendations"], strict=True):
        assert one["song"] == other["song"]
        assert one["similarity"] == pytest.approx(other["similarity"], abs=1e-5)


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


def no_model(folder):
    (folder / "model.pt").unlink()


def text_model(folder):
    (folder / "model.pt").write_text("I am no model")


def empty_model(folder):
    (folder / "model.pt").write_bytes(b"")


def short_model(folder):
    (folder / "model.pt").write_bytes(b".x")


def half_model(folder):
    whole = (folder / "model.pt").read_bytes()
    (folder / "model.pt").write_bytes(whole[: len(whole) // 2])


def foreign_model(folder):
    torch.save({"state_dict": {}}, folder / "model.pt")


def evil_model(folder):
    """A pickle that would run code if it were loaded carelessly."""

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {folder}/owned",)

    torch.save(Evil(), folder / "model.pt")


def old_recipe_model(folder):
    content = torch.load(folder / "model.pt", weights_only=True)
    content["recipe_digest"] = "0123456789ab"
    torch.save(content, folder / "model.pt")


def old_recipe_slices(folder):
    mark = folder / "data/song_db/slices/recipe.json"
    mark.write_text(mark.read_text().replace('"digest": "', '"digest": "old'))


def no_slices(folder):
    shutil.rmtree(folder / "data/song_db/slices")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (no_model, "there is no model"),
        (text_model, "not a model that can be loaded"),
        (empty_model, "not a model that can be loaded"),
        (short_model, "not a model that can be loaded"),
        (half_model, "not a model that can be loaded"),
        (foreign_model, "not a model of this project"),
        (evil_model, "not a model that can be loaded"),
        (old_recipe_model, "was trained with recipe 0123456789ab"),
        (old_recipe_slices, "spotify_specs.py -m Test --force"),
        (no_slices, "no slices in"),
    ],
)
def test_what_is_missing_or_unfit_is_told_in_one_line(library, spoil, told):
    spoil(library)
    done = recommend(library, "Artist 0 - Song 0")
    assert done.returncode == 1
    assert told in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("recommender.py: ")]
    assert len(lines) == 1 and "Traceback" not in done.stderr
    assert not (library / "owned").exists()


def test_a_library_of_one_song(tmp_path):
    write_tune(tmp_path / "data/song_db/songs/Only - One.wav")
    write_model(tmp_path / "model.pt")
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", tmp_path / "data")
    done = recommend(tmp_path, "Only - One")
    assert done.returncode == 1 and "no other song" in done.stderr


def test_the_answer_needs_no_torch_when_all_is_known(library, tmp_path):
    trap = tmp_path / "trap"
    trap.mkdir()
    for name in ("torch", "librosa", "pandas", "matplotlib"):
        (trap / f"{name}.py").write_text(f"raise RuntimeError('{name} was imported')")
    done = recommend(library, "Artist 0 - Song 0", env={"PYTHONPATH": str(trap)})
    assert done.returncode == 0, done.stderr


def test_a_thousand_songs_are_answered_in_half_a_second(tmp_path):
    rng = np.random.default_rng(0)
    write_model(tmp_path / "model.pt")
    slices = tmp_path / "data/song_db/slices"
    for number in range(1000):
        (slices / f"Artist {number % 300} - Song {number}").mkdir(parents=True)
        (slices / f"Artist {number % 300} - Song {number}/0000.png").touch()
    from songrec.files import fingerprint
    from songrec.network.modelfile import model_digest

    digest = model_digest(tmp_path / "model.pt")
    with VectorStore(tmp_path / "data/song_db/vectors.db", digest) as store:
        for folder in slices.iterdir():
            noise = rng.integers(0, 256, (2, 128, 128), dtype=np.uint8)
            vector = rng.standard_normal((1, 128)).astype(np.float32)
            patterns = rng.standard_normal((1, N_DIMS)).astype(np.float32)
            classes = rng.dirichlet([1.0] * 4, 1).astype(np.float32)
            description = Descriptions(vector, Timbres.of_slices(noise), patterns, classes)
            store.put(folder.name, fingerprint(folder), description)
    assert recommend(tmp_path, "Song 500", "10").returncode == 0  # measures the scales
    command = [sys.executable, ROOT / "recommender.py", "-m", "Recommend", "Song 500", "10"]
    command += ["--data", tmp_path / "data", "--model", tmp_path / "model.pt"]
    seconds = []
    while len(seconds) < 20 and min(seconds, default=1) >= 0.5:
        start_s = time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert len(process.stdout.readlines()) == 10
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            taken_s = time.perf_counter() - start_s
            seconds.append(taken_s - waited_for_a_core_s(process.pid))
        assert process.returncode == 0
    assert min(seconds) < 0.5


def waited_for_a_core_s(pid):
    """Tell how long a process could have run but others had the cores; 0 where nothing tells."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except OSError:
        return 0.0


# --- the ranking itself ----------------------------------------------------------------------


def describe(seed, n_slices=4):
    rng = np.random.default_rng(seed)
    slices = rng.integers(0, 200, (n_slices, 128, 128), dtype=np.uint8)
    vector, timbre = rng.standard_normal((1, 8)).astype(np.float32), Timbres.of_slices(slices)
    classes = rng.dirichlet([1.0] * 3, 1).astype(np.float32)
    return Descriptions(vector, timbre, pattern_vector(slices, timbre)[None], classes)


def stack(songs):
    return Descriptions(
        np.concatenate([song.vectors for song in songs]),
        Timbres.from_numbers(np.concatenate([song.timbres.to_numbers() for song in songs])),
        np.concatenate([song.patterns for song in songs]),
        np.concatenate([song.classes for song in songs]),
    )


def test_timbre_distance_is_that_of_the_gaussians():
    """Against the definition, for Gaussians fitted to the columns' cepstra by other means."""
    from scipy.fft import dct

    from songrec.sound.mel import mel_picture

    pictures = [mel_picture(tune(6, seed=seed))[:, :256] for seed in (1, 2)]
    gaussians = []
    for picture in pictures:
        level_db = picture[::-1].astype(float) * 80 / 255
        cepstrum = dct(level_db, axis=0, norm="ortho")[1:26]
        gaussians.append((cepstrum.mean(axis=1), np.cov(cepstrum) + np.eye(25)))
    (m1, c1), (m2, c2) = gaussians
    merged = (c1 + c2) / 2 + np.outer(m1 - m2, m1 - m2) / 4
    entropy = (
        np.linalg.slogdet(merged)[1] - (np.linalg.slogdet(c1)[1] + np.linalg.slogdet(c2)[1]) / 2
    )
    one, other = (Timbres.of_slices(np.stack(np.split(p, 2, axis=1))) for p in pictures)
    assert one.distances_from(other)[0] == pytest.approx(np.sqrt(entropy / 2), rel=1e-3)
    assert one.distances_from(one)[0] < 1e-2
    assert other.distances_from(one)[0] == pytest.approx(one.distances_from(other)[0], rel=1e-4)
    again = Timbres.from_numbers(one.to_numbers())
    assert np.array_equal(again.covariance, one.covariance)
    assert one.deviation[0] == pytest.approx(np.sqrt(np.diagonal(c1)), rel=1e-3)
    # Many songs at once, more than go through the cache together.
    both = np.concatenate([one.to_numbers(), other.to_numbers()])
    many = Timbres.from_numbers(np.repeat(both, [200, 300], axis=0)).distances_from(one)
    assert many.shape == (500,) and many[:200].max() < 1e-2
    assert many[200:] == pytest.approx(other.distances_from(one)[0], rel=1e-4)


def test_a_hub_is_taken_down():
    """A song in the middle of all is everybody's nearest by cosine, but not in the full ranking."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((60, 64)).astype(np.float32)
    vectors[0] = 0
    vectors += 8 * np.eye(64, dtype=np.float32)[0]
    songs = stack([describe(seed) for seed in range(60)])
    songs = dataclasses.replace(songs, vectors=vectors)
    scales = measure_scales(songs, songs)
    n_first_cosine = n_first_full = 0
    for row in range(1, 60):
        others = np.arange(60) != row
        unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        n_first_cosine += np.argmax(np.where(others, unit @ unit[row], -9)) == 0
        full = similarities(songs, scales, songs[[row]], scales[[row]])
        assert full.min() >= 0 and full.max() <= 1
        n_first_full += np.argmax(np.where(others, full, -9)) == 0
    assert n_first_cosine > 15
    assert n_first_full < n_first_cosine / 3


@pytest.mark.parametrize("part", ["vectors", "patterns", "classes"])
def test_every_part_counts_in_the_full_ranking(part):
    plain = stack([describe(seed) for seed in range(30)])
    numbers = np.eye(30, dtype=np.float32)  # no two are alike
    apart = dataclasses.replace(plain, **{part: numbers.copy()})
    numbers[5] = numbers[0]
    alike = dataclasses.replace(plain, **{part: numbers})
    found = []
    for songs in (apart, alike):
        scales = measure_scales(songs, songs)
        found.append(similarities(songs, scales, songs[[0]], scales[[0]])[5])
    assert found[1] > found[0] + 0.15


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
    assert len(opened.songs) == 24 and np.isfinite(opened.scales.mean).all()
