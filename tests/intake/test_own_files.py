"""add_song.py: one's own files with ugly names, links with a fake spotdl and with the real one."""

import argparse
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

from songrec import cli
from songrec.errors import LibraryError
from songrec.intake.batch import recommend_step
from songrec.intake.shelf import find_audio
from songrec.store.database import Song
from tests.intake.adding import ALBUM_URL, HOSTILE, TRACK_URL, add, leftovers, names, tagged
from tests.running import Run, run_script, shell_on_small_disk, tree
from tests.tunes import write_tune


@pytest.mark.ffmpeg
# One's own files
def test_files_and_folders_come_in_and_go_through(data, tmp_path):
    music = tmp_path / "music"
    tagged(music / "x.mp3", "Ann", "One")
    write_tune(music / "deep" / "Bob - Two.flac", seed=1)
    (music / "cover.jpg").write_bytes(b"no music")
    (music / "._x.mp3").write_bytes(b"what macOS leaves")
    single = write_tune(tmp_path / "Cid - Three.m4a", seed=2)
    done = add(data, "--file", music, single)
    assert done.returncode == 0, done.stderr
    assert names(data) == ["Ann - One.mp3", "Bob - Two.flac", "Cid - Three.m4a"]
    for name in ("Ann - One", "Bob - Two", "Cid - Three"):
        assert (data / "song_db" / "specs" / f"{name}.png").exists()
        assert (data / "song_db" / "slices" / name / "0000.png").exists()
    assert f"recommender.py --data {data} -m Recommend 'Ann - One'" in done.stdout
    assert "songs: 3 added, 0 already there, 0 failed" in done.stderr
    assert not leftovers(data)


def test_twice_adds_nothing(data, tmp_path):
    for number in range(3):
        tagged(tmp_path / "music" / f"{number}.mp3", "Ann", f"Song {number}", seed=number)
    add(data, "--file", tmp_path / "music")
    before = tree(data / "song_db" / "songs")
    done = add(data, "--file", tmp_path / "music")
    assert done.returncode == 0
    assert "songs: 0 added, 3 already there, 0 failed" in done.stderr
    assert "specs: 0 done, 3 already there" in done.stderr
    assert tree(data / "song_db" / "songs") == before


def test_the_same_bytes_under_another_name_are_there(data, tmp_path):
    one = write_tune(tmp_path / "Ann - One.mp3")
    other = Path(shutil.copy(one, tmp_path / "Zoe - Nine.mp3"))
    done = add(data, "--file", one, other)
    assert "1 added, 1 already there" in done.stderr
    assert names(data) == ["Ann - One.mp3"]


@pytest.mark.ffmpeg
def test_the_same_song_in_another_format_is_there(data, tmp_path):
    one = write_tune(tmp_path / "a" / "Ann - One.flac")
    command = ["ffmpeg", "-v", "error", "-i", one, "-b:a", "96k", tmp_path / "ann - öne.mp3"]
    subprocess.run(command, check=True)
    done = add(data, "--file", one, tmp_path / "ann - öne.mp3")
    assert "1 added, 1 already there" in done.stderr
    assert names(data) == ["Ann - One.flac"]


def test_another_song_of_the_same_name_gets_a_number(data, tmp_path):
    files = [write_tune(tmp_path / str(n) / "Ann - One.wav", seed=n * 7) for n in range(3)]
    for _ in range(2):
        add(data, "--file", *files)
        assert names(data) == ["Ann - One (2).wav", "Ann - One (3).wav", "Ann - One.wav"]


def test_hostile_tags_and_names_stay_inside(data, tmp_path):
    music = tmp_path / "music"
    for number, (artist, title) in enumerate(HOSTILE):
        tagged(music / f"{number}.mp3", artist, title, seed=number)
    for number, name in enumerate([b"-x.mp3", b"$HOME.mp3", b"\xff\xfe.mp3", b"\xc3\xa9.mp3"]):
        write_tune(tmp_path / "t.mp3", seed=50 + number).rename(music / os.fsdecode(name))
    before = {path for path in tmp_path.rglob("*") if data not in path.parents}
    for expected in ("19 added, 0 already there", "0 added, 19 already there"):
        done = add(data, "--file", music, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert expected in done.stderr
    assert {path for path in tmp_path.rglob("*") if data not in path.parents} == before
    assert not (tmp_path / "evil").exists()
    found = names(data)
    assert len(found) == 19
    assert all(len(os.fsencode(name)) <= 200 and name[0] not in "-.~" for name in found)
    assert all(path.is_file() for path in (data / "song_db" / "songs").iterdir()), "no folders"
    assert "AC_DC - T_N_T.mp3" in found


@pytest.mark.parametrize("name", ['a "b" $c', "it's", "`x`", "plain", "!history", "\\"])
def test_the_printed_command_is_safe_to_type(name):
    song = Song(f"{name}.mp3", name, name, Path(f"{name}.mp3"))
    line = cli.commands([recommend_step(song)], argparse.Namespace(data=Path("my data")))
    typed = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {line}"], capture_output=True, text=True, check=True
    )
    assert typed.stdout.splitlines()[2:] == ["--data", "my data", "-m", "Recommend", name]


def test_link_leaves_the_file_where_it_is(data, tmp_path):
    source = write_tune(tmp_path / "Ann - One.mp3")
    for expected in ("1 added", "1 already there"):
        done = add(data, "--link", "--file", source)
        assert expected in done.stderr
    link = data / "song_db" / "songs" / "Ann - One.mp3"
    assert link.is_symlink()
    assert link.resolve() == source
    assert (data / "song_db" / "slices" / "Ann - One" / "0000.png").exists()


def test_dry_run_writes_nothing(data, tmp_path):
    source = tagged(tmp_path / "x.mp3", "Ann", "One")
    for flags, told in (
        (["--file", source], f"add {source} as Ann - One"),
        (["-u", TRACK_URL], ""),
    ):
        done = add(data, "--dry-run", *flags)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == (told or f"add {TRACK_URL}")
        assert not list(data.iterdir())


def test_dry_run_lists_only_what_would_come(data, tmp_path):
    for number in range(3):
        tagged(tmp_path / f"{number}.mp3", "Ann", f"Song {number}", seed=number)
    add(data, "--file", tmp_path / "0.mp3")
    listed = add(data, "--file", tmp_path, "--dry-run")
    assert listed.stdout.splitlines() == [
        f"add {tmp_path}/{number}.mp3 as Ann - Song {number}" for number in (1, 2)
    ]
    one = add(data, "--file", tmp_path, "--dry-run", "--limit", "1")
    assert one.stdout.splitlines() == [f"add {tmp_path}/1.mp3 as Ann - Song 1"]


def test_a_folder_that_cannot_be_read_is_told_and_passed_over(tmp_path, monkeypatch):
    song = write_tune(tmp_path / "music/Ann - One.mp3")
    (tmp_path / "music/lost+found").mkdir()
    scandir = os.scandir

    def refusing(folder):
        if Path(folder).name == "lost+found":
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    # The tests may run as root, whom no permission stops.
    monkeypatch.setattr(os, "scandir", refusing)
    told = []
    assert find_audio([tmp_path / "music"], told.append) == [song]
    assert told == [f"cannot read folder {tmp_path}/music/lost+found: Permission denied; skipped"]
    with pytest.raises(LibraryError, match="cannot read folder"):
        find_audio([tmp_path / "music/lost+found"], told.append)


def test_songs_that_are_in_the_library_are_there(data, songs):
    done = add(data, "--file", songs)
    assert "0 added, 4 already there" in done.stderr
    assert "specs: 4 done" in done.stderr


def test_a_bad_file_is_skipped_with_its_reason(data, tmp_path):
    (tmp_path / "Ann - Bad.mp3").write_bytes(b"text named mp3" * 100)
    write_tune(tmp_path / "Bob - Good.mp3")
    done = add(data, "--file", tmp_path / "Ann - Bad.mp3", tmp_path / "Bob - Good.mp3")
    assert done.returncode == 0
    assert "specs: 1 done, 0 already there, 1 skipped" in done.stderr
    assert "Ann - Bad" in (data / "song_db" / "skipped.csv").read_text()


def test_what_is_not_there_is_told(data, tmp_path):
    done = add(data, "--file", tmp_path / "nowhere")
    assert done.returncode == 1
    assert "there is no file or folder" in done.stderr
    (tmp_path / "notes.txt").write_text("la la la")
    done = add(data, "--file", tmp_path / "notes.txt")
    assert "is not an audio file" in done.stderr
    (tmp_path / "empty").mkdir()
    done = add(data, "--file", tmp_path / "empty")
    assert done.returncode == 1
    assert "no audio files in" in done.stderr


@pytest.mark.slow
def test_a_killed_run_leaves_whole_songs_and_is_taken_up(data, tmp_path):
    for number in range(12):
        tagged(tmp_path / "music" / f"{number}.mp3", "Ann", f"Song {number}", seed=number)
    child = Run("add_song.py", "--data", data, "--file", tmp_path / "music")
    songs = data / "song_db" / "songs"
    while len(list(songs.glob("*.mp3")) if songs.exists() else []) < 5:
        assert child.poll() is None
    child.kill()
    child.wait()
    sources = {path.read_bytes() for path in (tmp_path / "music").iterdir()}
    assert {path.read_bytes() for path in songs.glob("*.mp3")} <= sources
    done = add(data, "--file", tmp_path / "music")
    assert done.returncode == 0, done.stderr
    assert len(names(data)) == 12
    assert len(list((data / "song_db" / "slices").glob("*/0000.png"))) == 12


@pytest.mark.slow
def test_two_runs_at_once_add_each_song_once(data, tmp_path):
    for number in range(10):
        tagged(tmp_path / "music" / f"{number}.mp3", "Ann", f"Song {number}", seed=number)
    runs = [Run("add_song.py", "--data", data, "--file", tmp_path / "music") for _ in range(2)]
    for run in runs:
        _, told = run.communicate()
        assert run.returncode == 0, told
    assert names(data) == sorted(f"Ann - Song {n}.mp3" for n in range(10))


@pytest.mark.slow
def test_a_run_waits_while_another_puts_a_song_down(data, tmp_path):
    song = write_tune(tmp_path / "Ann - One.mp3")
    (data / "song_db" / "songs").mkdir(parents=True)
    with FileLock(data / "song_db" / ".shelf.lock"):
        run = Run("add_song.py", "--data", data, "--file", song)
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(2)
        # The other run brings the same song.
        shutil.copy(song, data / "song_db" / "songs" / "Ann - One.mp3")
    _, told = run.communicate()
    assert "0 added, 1 already there" in told


@pytest.mark.slow
def test_a_full_disk_ends_the_run(tmp_path):
    for number in range(8):
        tagged(tmp_path / "music" / f"{number}.mp3", "Ann", f"Song {number}", seed=number)
    script = (
        '"$PYTHON" add_song.py --data "$DISK" '
        f"--file '{tmp_path}/music'; echo status $?; ls -l \"$DISK/song_db/songs\"; "
        f'cat "$DISK"/song_db/songs/*.mp3 > \'{tmp_path}/whole\'; ls -A "$DISK/song_db"'
    )
    done = shell_on_small_disk(tmp_path, 100, script, {})
    assert "status 1" in done.stdout
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    assert ".part" not in done.stdout
    whole = b"".join((tmp_path / "music" / f"{n}.mp3").read_bytes() for n in range(8))
    assert whole.startswith((tmp_path / "whole").read_bytes()), "only whole songs"


def test_usage(data):
    assert add(data).returncode == 2
    assert add(data, "-u", TRACK_URL, "--link").returncode == 2
    assert add(data, "--file", "x", "--all").returncode == 2


# What else may lie in a folder


@pytest.mark.parametrize("flags", [(), ("--dry-run",), ("--link",)])
def test_only_regular_files_are_opened(data, tmp_path, flags):
    """A pipe never ends, /dev/zero fills the memory, a link may lead nowhere."""
    music = tmp_path / "music"
    write_tune(music / "Ann - One.mp3")
    os.mkfifo(music / "a.mp3")
    (music / "x.wav").symlink_to("/dev/zero")
    (music / "gone.mp3").symlink_to("nowhere")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(music / "s.flac"))
        done = add(data, *flags, music, timeout_s=30)
    assert done.returncode == 0, done.stderr
    for name in ("a.mp3", "x.wav", "s.flac"):
        assert f"failed: {music / name}: is not a regular file" in done.stderr
    assert f"failed: {music / 'gone.mp3'}: cannot be opened: No such file" in done.stderr
    if "--dry-run" in flags:
        assert done.stdout == f"add {music / 'Ann - One.mp3'} as Ann - One\n"
    else:
        assert names(data) == ["Ann - One.mp3"]
        assert "songs: 1 added, 0 already there, 4 failed" in done.stderr


def test_a_pipe_in_the_library_is_skipped(data, tmp_path, songs):
    os.mkfifo(songs / "pipe.mp3")
    (tmp_path / "empty.mp3").touch()
    done = add(data, "--file", tmp_path / "empty.mp3", timeout_s=30)
    assert "songs: 1 added" in done.stderr
    done = run_script("spotify_specs.py", "-m", "Test", "--data", data, timeout_s=60)
    assert "specs: 4 done, 0 already there, 2 skipped" in done.stderr


def test_duplicates_that_are_passed_over_are_named(data, tmp_path):
    one = write_tune(tmp_path / "a" / "Ann - One.mp3")
    other = shutil.copy(one, tmp_path / "a" / "Zoe - Nine.mp3")
    for _ in range(2):
        done = add(data, tmp_path / "a")
        assert done.stderr.count("already there: ") == 1
        assert f"already there: {other} is Ann - One.mp3" in done.stderr
    assert f"already there: {one} is Ann - One.mp3" in add(data, "-v", one).stderr


def test_a_rescan_prints_the_new_songs_only(data, tmp_path):
    for number in range(3):
        tagged(tmp_path / "music" / f"{number}.mp3", "Ann", f"Song {number}", seed=number)
    assert len(add(data, tmp_path / "music").stdout.splitlines()) == 3
    tagged(tmp_path / "music" / "3.mp3", "Ann", "Song 3", seed=3)
    (line,) = add(data, tmp_path / "music").stdout.splitlines()
    assert line.endswith("'Ann - Song 3'")
    assert add(data, tmp_path / "music").stdout == ""
    (line,) = add(data, tmp_path / "music" / "1.mp3").stdout.splitlines()
    assert line.endswith("'Ann - Song 1'")
    assert add(data, "-q", tmp_path / "music" / "1.mp3").stdout == ""


@pytest.mark.parametrize(
    "words",
    [[], ["--link", TRACK_URL], ["--all", "x.mp3"], [ALBUM_URL], ["https://example.com/x"]],
)
def test_wrong_usage_is_all_that_is_said(data, words):
    done = add(data, *words)
    assert done.returncode == 2
    assert "added" not in done.stderr and len(done.stderr.splitlines()) == 1
    assert not list(data.iterdir())


def test_names_that_are_no_utf_8_stay_apart(data, tmp_path):
    """Two of them in a folder to add and two in the library: each is a song of its own."""
    songs = data / "song_db" / "songs"
    songs.mkdir(parents=True)
    for folder in (tmp_path / "music", songs):
        folder.mkdir(exist_ok=True)
        for number, name in enumerate([b"\xfe", b"\xff"]):
            seed = number + 10 * (folder == songs)
            made = write_tune(tmp_path / "t.mp3", seed=seed)
            made.rename(folder / os.fsdecode(b"Ann - " + name + b".mp3"))
    done = add(data, tmp_path / "music")
    assert "songs: 2 added, 0 already there" in done.stderr
    assert len(set(done.stdout.splitlines())) == 2
    run_script("spotify_specs.py", "-m", "Test", "--data", data)
    run_script("spotify_slices.py", "-m", "Test", "--data", data)
    assert len(list((data / "song_db/slices").glob("*/0000.png"))) == 4
    assert "songs: 0 added, 2 already there" in add(data, tmp_path / "music").stderr


def test_names_do_not_reach_the_terminal_raw(data, tmp_path):
    forged = "\x1b[2Jx\rsongs: 9 added\n"
    bad = tmp_path / "music" / f"{forged}.mp3"
    bad.parent.mkdir()
    bad.symlink_to("nowhere")
    good = write_tune(tmp_path / "music" / f"Ann - {forged}.mp3")
    shutil.copy(good, tmp_path / "music" / f"Zoe - {forged}.mp3")
    for flags in (["--dry-run"], [], ["-v"]):
        done = add(data, *flags, tmp_path / "music")
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert not [line for line in done.stderr.splitlines() if line.startswith("songs: 9")]
