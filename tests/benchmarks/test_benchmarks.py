"""The benchmarks that the documents quote: they run, and find what is there to be found."""

import numpy as np
import pytest
import soundfile

from songrec.sound.mel import mel_picture
from tests.running import run_script
from tests.tunes import SAMPLE_RATE_HZ, tune

N_SONGS = 3


class MadeUpLibrary:
    """A library whose answers to "song" and "copy" are given."""

    def __init__(self, answers):
        self.answers = answers
        self.descriptions = np.array(["song"])

    def similarities(self, query, ranking):
        return self.answers[str(np.ravel(query)[0])]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A library of 30 s clips, and the songs of 75 s whose beginning, middle or end they are."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "data/song_db/songs").mkdir(parents=True)
    (folder / "whole/album").mkdir(parents=True)
    for number in range(N_SONGS):
        parts = [tune(25, seed) for seed in (10 * number, 10 * number + 1, 10 * number + 2)]
        whole = np.concatenate(parts) * np.float32(0.5)
        start = (0, 22, 45)[number] * SAMPLE_RATE_HZ
        clip = whole[start : start + 30 * SAMPLE_RATE_HZ]
        clip_path = folder / f"data/song_db/songs/Band - Song {number}.wav"
        soundfile.write(clip_path, clip, SAMPLE_RATE_HZ)
        soundfile.write(folder / f"whole/album/0{number} Song {number}.flac", whole, SAMPLE_RATE_HZ)
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", folder / "data")
    return folder


@pytest.mark.slow
@pytest.mark.ffmpeg
def test_degraded_copies_find_their_song(clips):
    done = run_script(
        "benchmarks/degraded_queries.py", "--data", clips / "data", "--originals", clips / "whole"
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if " | full | " in line]
    songs = {row[0].removeprefix("| "): int(row[2]) for row in rows}
    # In the second the clip leaves 22 and 23 s: not enough.
    assert songs == {
        "mp3 of 48 kb/s": N_SONGS,
        "10 s from the middle": N_SONGS,
        "12 dB softer": N_SONGS,
        "nothing above 4 kHz": N_SONGS,
        "another 30 s of the song": N_SONGS - 1,
    }
    shares = [row[3] for row in rows[:4]]
    assert shares == ["100.0%"] * 4
    # Of three songs all others are always in the answer.
    assert {row[5].strip("| ") for row in rows} == {"1.00"}


def test_the_answers_that_stay_are_counted():
    from benchmarks import degraded_queries

    # Song 0 finds 1 to 10 first, its copy 0 and then 6 to 15.
    song, copy = -np.arange(30.0), -np.abs(np.arange(30.0) - 10.4)
    copy[0] = 9.0
    library = MadeUpLibrary({"song": song, "copy": copy})
    assert degraded_queries.outcome(library, 0, "copy", "full") == (True, 0.5)


def test_the_other_music_is_not_the_clip():
    from benchmarks.degraded_queries import other_start_s

    whole = np.concatenate([tune(20, seed) for seed in range(5)])
    picture = mel_picture(whole)
    for clip_s, other_s in ((0, (30, 70)), (20, (50, 70)), (65, (0, 35))):
        clip = mel_picture(0.3 * whole[clip_s * SAMPLE_RATE_HZ :][: 30 * SAMPLE_RATE_HZ])
        start_s = other_start_s(clip, picture)
        assert other_s[0] - 0.1 <= start_s <= other_s[1] + 0.1
    stranger = mel_picture(tune(30, seed=77))
    assert other_start_s(stranger, picture) is None


def test_classifiers_are_compared_over_seeds(tmp_path):
    from benchmarks import classifiers

    shares = {"a": np.array([0.5, 0.6, 0.7]), "b": np.array([0.2, 0.3, 0.25])}
    arguments = ["--group", "a", "1", "2", "3", "--group", "b", "4", "5", "6"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(classifiers, "accuracies", lambda _, models: shares["ab"[models[0] == "4"]])
        printed = []
        patch.setattr("builtins.print", lambda *words: printed.append(" ".join(words)))
        assert classifiers.main(arguments) == 0
    text = "\n".join(printed)
    assert "| a | 50.0%, 60.0%, 70.0% | 60.0% | 35.2% to 84.8% |" in text
    assert "a minus b: +35.0%" in text

    done = run_script("benchmarks/classifiers.py", "--group", "alone", "model.pt")
    assert done.returncode == 2 and "two models" in done.stderr


def test_the_leaderboard_holds_what_is_at_hand_and_every_fuse(clips, tmp_path):
    songs = [f"Band - Song {number}" for number in range(N_SONGS)]
    rows = [f"{song},{('A', 'A', 'B')[n]},rock" for n, song in enumerate(songs)]
    tracks = clips / "data/song_db/tracks.csv"
    tracks.write_text("\n".join(["song,artist,genre", *rows]), encoding="utf-8")
    heard = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    np.savez(tmp_path / "heard.npz", songs=songs, vectors=heard)
    np.savez(
        tmp_path / "apart.npz",
        songs=songs,
        distances=np.abs(np.subtract.outer([1, 2, 9], [1, 2, 9])),
    )
    done = run_script(
        "benchmarks/leaderboard.py",
        *("--data", clips / "data", "--vectors", f"musicnn={tmp_path / 'heard.npz'}"),
        *("--matrix", f"msd_fcn={tmp_path / 'apart.npz'}", "--fuse", "full+musicnn"),
    )
    tracks.unlink()
    assert done.returncode == 0, done.stderr
    table = [line.strip("| ").split("|") for line in done.stdout.splitlines() if line[:2] == "| "]
    systems = [row[0].strip() for row in table]
    lead = systems.index("system", 1)
    assert systems[:5] == ["system", "full", "cosine", "random", "mfcc"]
    assert systems[lead - 4 : lead] == ["musicnn", "msd_fcn", "musicnn+msd_fcn", "full+musicnn"]
    heads = [cell.strip() for cell in table[0]]
    for row in table[lead - 4 : lead - 1]:
        assert float(row[heads.index("artist MRR")]) == 1.0
    for peer in ("musly", "bliss"):
        assert peer in systems or f"left out: {peer}" in done.stderr


def test_every_two_or_more_of_the_strongest_others_are_fused():
    from benchmarks.leaderboard import fuses_of

    assert fuses_of(["full", "musly"]) == []
    assert fuses_of(["msd_fcn", "musly", "bliss"]) == ["musly+msd_fcn"]
    assert fuses_of(["musly", "musicnn", "msd_fcn"]) == [
        "musly+musicnn",
        "musly+msd_fcn",
        "musicnn+msd_fcn",
        "musly+musicnn+msd_fcn",
    ]
