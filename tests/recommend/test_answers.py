"""From slices to the answer: the ranking, the memory of vectors, the errors."""

import os
import shutil

import numpy as np
import pytest
import torch

import model
from tests.models import ARCHITECTURE, write_model
from tests.recommend.asking import answer_of, recommend, vectors_of
from tests.running import run_script
from tests.tunes import write_tune


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
    assert np.allclose(query, expected, atol=1e-4)


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


def test_more_than_there_are_gives_all_and_says_so(prepared):
    done = recommend(prepared, "Artist 0 - Song 0", "500", "--max-per-artist", "0")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 23
    assert "only 23 songs: there are no more" in done.stderr
    few = recommend(prepared, "Artist 0 - Song 0", "500", "--max-per-artist", "1")
    assert "only 6 songs; 17 more with --max-per-artist 0" in few.stderr


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        (["Artist 0 - Song 0", "0"], 2, "too small"),
        (["Artist 0 - Song 0", "three"], 2, "not a whole number"),
        ([], 2, "needs a song"),
        (["Artist 0 - Sonk 0"], 1, "closest: Artist 0 - Song 0"),
        (["Artist 0"], 1, "matches 4 songs"),
        (["-x"], 2, "recommender.py"),
        (["nowhere/song.mp3"], 1, "neither a file nor a song"),
        (["AC/DC - Song 9"], 1, "closest: Artist 2 - Song 9"),
        (["/"], 1, "is not an audio file"),
        (["README.md"], 1, "is not an audio file"),
        (["docs"], 1, "closest: "),  # a folder where the script runs
        (["Artist 0 - " + "long " * 60], 1, "closest: Artist 0"),  # more bytes than a file name
        ([" "], 2, "is empty"),
    ],
)
def test_wrong_questions_get_one_line(prepared, args, status, told):
    done = recommend(prepared, *args)
    assert done.returncode == status
    assert told in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1 and done.stdout == ""


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
        (old_recipe_slices, "song_db/slices was made with recipe old"),
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
