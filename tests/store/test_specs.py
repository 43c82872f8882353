"""Songs to spectrograms: the pixels, the formats, the ugly files, running again."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from songrec.files import part_name
from songrec.runs.options import Options
from songrec.runs.stage import Stage
from songrec.store.database import Database
from songrec.store.pictures import remove_spec
from songrec.store.skips import SkipList
from tests.running import on_small_disk, run_script, tree
from tests.tunes import SAMPLE_RATE_HZ, tune, write_tune


def specs(data, *flags):
    return run_script("spotify_specs.py", "-m", "Test", "--data", data, *flags)


def reasons(data):
    return {skip.file: skip.reason for skip in SkipList(data / "song_db/skipped.csv").read()}


@pytest.mark.ffmpeg
def test_every_format_gives_a_picture(data):
    folder = data / "song_db/songs"
    for ending in ["mp3", "flac", "ogg", "opus", "wav", "m4a", "aac", "MP3"]:
        write_tune(folder / f"In {ending} - Song.{ending}", seed=4)
    (folder / "cover.jpg").write_bytes(b"no audio")
    done = specs(data)
    assert done.returncode == 0, done.stderr
    assert "8 done, 0 already there, 0 skipped" in done.stderr
    assert done.stdout == ""
    wav = np.asarray(Image.open(data / "song_db/specs/In wav - Song.png")).astype(int)
    assert wav.shape[0] == 128
    for ending in ["flac", "m4a", "ogg"]:
        other = np.asarray(Image.open(data / f"song_db/specs/In {ending} - Song.png")).astype(int)
        columns = min(wav.shape[1], other.shape[1], 150)
        # Lossy formats differ in detail, not in what the picture shows.
        assert np.abs(wav[40:, :columns] - other[40:, :columns]).mean() < 25, ending


def test_ugly_files_are_skipped_with_a_reason_and_the_rest_goes_on(data):
    folder = data / "song_db/songs"
    write_tune(folder / "Good - Song.mp3")
    (folder / "empty.mp3").write_bytes(b"")
    (folder / "text.mp3").write_text("this is no music at all\n" * 50)
    (folder / "zeros.ogg").write_bytes(bytes(5000))
    soundfile.write(folder / "silence.wav", np.zeros(5 * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    soundfile.write(folder / "short.wav", tune(1), SAMPLE_RATE_HZ)
    soundfile.write(folder / "none.wav", np.zeros(0), SAMPLE_RATE_HZ)
    bad = tune(4)
    bad[100] = np.nan
    soundfile.write(folder / "nan.wav", bad, SAMPLE_RATE_HZ, subtype="FLOAT")
    (folder / "dangling.mp3").symlink_to(folder / "not there.mp3")
    (folder / "ring.mp3").symlink_to("ring.mp3")
    done = specs(data)
    assert done.returncode == 0, done.stderr
    assert "1 done, 0 already there, 9 skipped" in done.stderr
    assert "Traceback" not in done.stderr
    told = reasons(data)
    assert "empty" in told["empty.mp3"]
    assert "not audio" in told["text.mp3"]
    assert "not audio" in told["zeros.ogg"]
    assert told["silence.wav"].startswith("silence")
    assert told["short.wav"].startswith("too short: 1.00 s")
    assert told["none.wav"].startswith("too short: 0.00 s")
    assert "not finite" in told["nan.wav"]
    assert "cannot be opened" in told["dangling.mp3"]
    assert "cannot be opened" in told["ring.mp3"]

    again = specs(data)
    assert "0 done, 1 already there, 9 skipped" in again.stderr
    write_tune(folder / "short.wav", seconds=4)
    assert "1 done, 1 already there, 8 skipped" in specs(data).stderr
    assert "short.wav" not in reasons(data)
    retried = specs(data, "--retry-skipped", "-v")
    assert "0 done, 2 already there, 8 skipped" in retried.stderr
    assert "skipped text.mp3" in retried.stderr


@pytest.mark.ffmpeg  # it goes further into a cut flac than libsndfile
@pytest.mark.parametrize("ending", ["mp3", "wav", "flac"])
def test_a_truncated_file_is_used_as_far_as_it_goes(data, ending):
    path = write_tune(data / f"song_db/songs/half.{ending}", seconds=20)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    done = specs(data)
    assert done.returncode == 0, done.stderr
    width = Image.open(data / "song_db/specs/half.png").width
    assert 350 < width < 550
    if ending != "wav":  # libsndfile takes a cut wav for one that was meant to be shorter
        assert "half." in done.stderr and "what " in done.stderr


@pytest.mark.ffmpeg
def test_a_file_cut_to_its_header_is_skipped(data):
    write_tune(data / "song_db/songs/whole.mp3")
    path = write_tune(data / "song_db/songs/cut.m4a", seconds=8)
    path.write_bytes(path.read_bytes()[:100])
    assert specs(data).returncode == 0
    assert "not audio" in reasons(data)["cut.m4a"]


def test_if_nothing_can_be_done_the_run_fails(data):
    folder = data / "song_db/songs"
    folder.mkdir(parents=True)
    (folder / "empty.mp3").write_bytes(b"")
    done = specs(data)
    assert done.returncode == 1
    assert "1 skipped" in done.stderr


def test_no_folder_no_songs_unreadable_folder(data):
    missing = specs(data)
    assert missing.returncode == 1
    assert len(missing.stderr.strip().splitlines()) == 1 and "no songs in" in missing.stderr
    (data / "song_db/songs").mkdir(parents=True)
    empty = specs(data)
    assert (empty.returncode, empty.stderr) == (1, missing.stderr)
    (data / "song_db/songs").rmdir()
    (data / "song_db/songs").write_text("a file in place of the folder")
    unreadable = specs(data)
    assert unreadable.returncode == 1
    assert len(unreadable.stderr.strip().splitlines()) == 1
    assert "cannot read folder" in unreadable.stderr


HOSTILE = [
    "Björk - Jóga",
    'quote\'s "double" - $HOME `id`',
    "AC∕DC - Back in Black",
    "a:b*c?d - <pipe|>",
    "-dash - first",
    "...And You - Dots",
    "🎵" * 40 + " - emoji",
    "x" * 250,
    "con",
    "trailing dot. ",
    "new\nline - song",
    "X - Y - Remix",
]


def test_hostile_names_stay_in_the_folder_and_apart(data):
    folder = data / "song_db/songs"
    for number, name in enumerate(HOSTILE):
        write_tune(folder / f"{name}.wav", seconds=3.2, seed=number)
    twins = [
        "Twin - Song.wav",
        "twin - song.wav",
        "Twin - Song.flac",
        "Caf\u00e9.wav",
        "Cafe\u0301.wav",
    ]
    for number, name in enumerate(twins):
        write_tune(folder / name, seconds=3.2, seed=100 + number)
    os.rename(write_tune(folder / "tmp.wav", 3.2, 7), os.fsencode(folder) + b"/bad\xff byte.wav")
    # A song that has the name of a folder of songs: their slices must not meet.
    write_tune(folder / "Album.wav", seconds=3.2, seed=200)
    write_tune(folder / "Album" / "0000.wav", seconds=3.2, seed=201)
    n_songs = len(HOSTILE) + len(twins) + 3
    done = specs(data)
    assert f"{n_songs} done, 0 already there, 0 skipped" in done.stderr, done.stderr
    pictures = list((data / "song_db/specs").rglob("*.png"))
    assert len(pictures) == n_songs
    assert len({p.read_bytes() for p in pictures}) == n_songs
    names = [p.relative_to(data / "song_db/specs").as_posix() for p in pictures]
    assert len({name.casefold() for name in names}) == n_songs
    assert all(len(p.name.encode()) <= 255 for p in pictures)
    assert not any(set('\\:*?"<>|\n') & set(name) or name[0] in "-." for name in names)
    slices = run_script("spotify_slices.py", "-m", "Test", "--data", data)
    assert f"{n_songs} done" in slices.stderr, slices.stderr
    assert len(list((data / "song_db/slices").rglob("0000.png"))) == n_songs
    assert "0 done" in specs(data).stderr


def test_running_again_does_only_what_is_missing(data, songs):
    assert "4 done" in specs(data).stderr
    before = tree(data / "song_db/specs")
    assert "0 done, 4 already there" in specs(data).stderr
    assert tree(data / "song_db/specs") == before

    write_tune(songs / "Cat - New.wav", seed=50)
    write_tune(songs / "Ann - One.wav", seed=51)
    (songs / "Bob - Four.wav").unlink()
    listed = specs(data, "--dry-run")
    assert listed.stdout.splitlines() == [
        "do Ann - One.wav",
        "do Cat - New.wav",
        "delete specs of Bob - Four",
    ]
    assert tree(data / "song_db/specs") == before
    done = specs(data)
    assert "2 done, 2 already there, 0 skipped, 1 deleted (song removed)" in done.stderr
    after = tree(data / "song_db/specs")
    assert "Bob - Four.png" not in after and "Cat - New.png" in after
    assert after["Ann - One.png"] != before["Ann - One.png"]
    assert after["Ann - Two.png"] == before["Ann - Two.png"]
    assert "4 done" in specs(data, "--force").stderr
    assert tree(data / "song_db/specs") == after


def test_what_a_killed_run_left_is_cleared_also_when_its_number_is_used_again(data, songs):
    specs(data, "--limit", "1")
    mine = part_name()
    host, pid, _, token = mine.strip(".").removesuffix(".part").split(".")
    reused = f".{host}.{pid}.1.{token}.part"  # this test's number, but begun at another time
    child = subprocess.Popen([sys.executable, "-c", ""])
    child_s = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[19]
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, but not collected
    uncollected = f".{host}.{child.pid}.{child_s}.{token}.part"
    for name in (mine, reused, uncollected):
        (data / "song_db/specs" / name).write_bytes(b"half a picture")
    specs(data)
    left = {path.name for path in (data / "song_db/specs").iterdir()}
    child.wait()
    assert mine in left and reused not in left and uncollected not in left


def test_what_another_run_removed_first_is_no_error(data):
    database = Database.library(data)
    kept = database.specs_dir / "Album/kept.png"
    kept.parent.mkdir(parents=True)
    kept.touch()
    stage = Stage("specs", database, Options(jobs=1))
    stage.remove(["Album/gone", "Other/gone"], functools.partial(remove_spec, database))
    assert kept.exists() and stage.progress.count == {
        "done": 0, "already there": 0, "skipped": 0,
    }  # fmt: skip


def test_only_pictures_of_our_own_are_deleted(data, songs, tmp_path):
    pictures = tmp_path / "Pictures"
    pictures.mkdir()
    Image.new("L", (4, 4)).save(pictures / "holiday.png")
    specs(data)
    folder = data / "song_db/specs"
    (folder / "pics").symlink_to(pictures)
    (folder / "one.png").symlink_to(pictures / "holiday.png")
    Image.new("L", (4, 4)).save(folder / "cover.png")
    (songs / "Ann - One.wav").unlink()
    done = specs(data)
    assert "1 deleted (song removed)" in done.stderr
    assert not (folder / "Ann - One.png").exists()
    assert (pictures / "holiday.png").exists()
    assert (folder / "one.png").is_symlink() and (folder / "cover.png").exists()


def test_files_whose_names_differ_only_in_bad_bytes_are_two_songs(data):
    folder = os.fsencode(data / "song_db/songs")
    os.makedirs(folder)
    for number, byte in enumerate((b"\xff", b"\xfe")):
        write_tune(data / "tune.wav", seed=number)
        os.rename(data / "tune.wav", os.path.join(folder, b"Ann - " + byte + b".wav"))
    assert "2 done" in specs(data).stderr
    assert "0 done, 2 already there" in specs(data).stderr


def test_limit_quiet_and_jobs(data, songs):
    done = specs(data, "--limit", "1", "-q", "--jobs", "1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list((data / "song_db/specs").glob("*.png"))) == 1
    assert "3 done, 1 already there" in specs(data, "-j", "3").stderr


def test_songs_on_an_unplugged_disk_keep_their_pictures(data, songs, tmp_path):
    outside = write_tune(tmp_path / "disk" / "Dan - Away.wav", seed=9)
    (songs / "Dan - Away.wav").symlink_to(outside)
    assert "5 done" in specs(data).stderr
    outside.unlink()
    assert "0 done, 5 already there, 0 skipped" in specs(data).stderr


def test_a_folder_of_another_recipe_is_refused_until_forced(data, songs):
    specs(data)
    mark = data / "song_db/specs/recipe.json"
    mark.write_text(mark.read_text().replace('"digest": "', '"digest": "old'))
    refused = specs(data)
    assert refused.returncode == 1
    assert "--force" in refused.stderr and "recipe" in refused.stderr
    slices = run_script("spotify_slices.py", "-m", "Test", "--data", data)
    assert (
        slices.returncode == 1
        and f"spotify_specs.py -m Test --data {data} --force" in slices.stderr
    )
    assert specs(data, "--force").returncode == 0
    assert specs(data).returncode == 0


@pytest.mark.slow
def test_a_full_disk_stops_the_run(data):
    for number in range(12):
        write_tune(data / f"song_db/songs/s{number}.mp3", seconds=10, seed=number)
    done = on_small_disk(data, 150, ["spotify_specs.py", "-m", "Test", "--data", data])
    assert done.returncode == 1
    assert "the disk is full" in done.stderr and "Traceback" not in done.stderr
    made = [name for name in done.stdout.split() if "/specs/" in name]
    assert any(name.endswith(".png") for name in made)
    assert not [name for name in done.stdout.split() if name.endswith((".part", "skipped.csv"))]


def test_usage_errors_are_one_line(data):
    for flags in [[], ["-m", "Both"], ["-m", "Test", "--limit", "0"], ["-m", "Test", "-j", "x"]]:
        done = run_script("spotify_specs.py", *flags)
        assert done.returncode == 2
        assert len(done.stderr.strip().splitlines()) == 1


def test_a_spectrogram_behind_a_link_is_not_removed(data, songs, tmp_path):
    specs(data)
    database = Database.library(data)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    kept = elsewhere / "mine.png"
    database.spec_path("Ann - One").rename(kept)
    (database.specs_dir / "link").symlink_to(elsewhere)
    assert not remove_spec(database, "link/mine") and kept.exists()
