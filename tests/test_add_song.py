"""add_song.py: one's own files with ugly names, links with a fake spotdl and with the real one."""

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import fake_spotdl
import loopback
import mutagen
import pytest
from conftest import ROOT, Run, run_script, shell_on_small_disk, tree, write_tune
from filelock import FileLock
from mutagen.easyid3 import EasyID3
from test_recommend import write_model

from songrec.errors import LibraryError, SongRecError, UsageError
from songrec.intake.batch import recommend_command
from songrec.intake.shelf import find_audio
from songrec.store.database import Song
from songrec.web import spotify

TRACK = "0VjIjW4GlUZAMYd2vXMi3b"
OTHER = "4cOdK2wGLETKBW3PvgPWqT"
TRACK_URL = f"https://open.spotify.com/track/{TRACK}"
ALBUM_URL = "https://open.spotify.com/album/4yP0hdKOZPNshxUOjY0cZj"


def add(data, *flags, env=None, **more):
    return run_script("add_song.py", "--data", data, "-j", "1", *flags, env=env, **more)


def names(data):
    folder = data / "song_db" / "songs"
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def tagged(path, artist=None, title=None, seed=0):
    write_tune(path, seconds=3.5, seed=seed)
    tags = EasyID3()
    for key, value in (("artist", artist), ("title", title)):
        if value is not None:
            tags[key] = value
    tags.save(path)
    return path


def leftovers(data):
    """Return what stands in song_db beside what belongs there."""
    known = {"songs", "specs", "slices", "downloads.db", "skipped.csv"}
    found = {path.name for path in (data / "song_db").iterdir()} - known
    found |= {path.name for path in data.rglob("*.part")}
    return {name for name in found if not name.endswith(".lock")}


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
    assert f'python recommender.py -m Recommend --data {data} "Ann - One"' in done.stdout
    assert "songs: 3 came, 0 already there, 0 failed" in done.stderr
    assert not leftovers(data)


def test_twice_adds_nothing(data, tmp_path):
    for number in range(3):
        tagged(tmp_path / "music" / f"{number}.mp3", "Ann", f"Song {number}", seed=number)
    add(data, "--file", tmp_path / "music")
    before = tree(data / "song_db" / "songs")
    done = add(data, "--file", tmp_path / "music")
    assert done.returncode == 0
    assert "songs: 0 came, 3 already there, 0 failed" in done.stderr
    assert "specs: 0 done, 3 already there" in done.stderr
    assert tree(data / "song_db" / "songs") == before


def test_the_same_bytes_under_another_name_are_there(data, tmp_path):
    one = write_tune(tmp_path / "Ann - One.mp3")
    other = Path(shutil.copy(one, tmp_path / "Zoe - Nine.mp3"))
    done = add(data, "--file", one, other)
    assert "1 came, 1 already there" in done.stderr
    assert names(data) == ["Ann - One.mp3"]


def test_the_same_song_in_another_format_is_there(data, tmp_path):
    one = write_tune(tmp_path / "a" / "Ann - One.flac")
    command = ["ffmpeg", "-v", "error", "-i", one, "-b:a", "96k", tmp_path / "ann - öne.mp3"]
    subprocess.run(command, check=True)
    done = add(data, "--file", one, tmp_path / "ann - öne.mp3")
    assert "1 came, 1 already there" in done.stderr
    assert names(data) == ["Ann - One.flac"]


def test_another_song_of_the_same_name_gets_a_number(data, tmp_path):
    files = [write_tune(tmp_path / str(n) / "Ann - One.wav", seed=n * 7) for n in range(3)]
    for _ in range(2):
        add(data, "--file", *files)
        assert names(data) == ["Ann - One (2).wav", "Ann - One (3).wav", "Ann - One.wav"]


HOSTILE = [
    ("../../x", "../../y"),
    ("/etc", "passwd"),
    ("AC/DC", "T\\N:T"),
    ("A" * 300, "B" * 300),
    ("😀" * 100, "🎵" * 100),
    ("-rf", "*"),
    (".hidden", ".."),
    ("$(touch evil)", "`touch evil`"),
    ("con", "nul"),
    ("line\nbreak", "tab\tand\x07bell"),
    ("Motörhead", "É"),
    ("Moto\u0308rhead", "E\u0301"),
    ("quote\"'s", "!history"),
    (" ", " "),
    ("\u202egnp", "\u2028x"),
]


def test_hostile_tags_and_names_stay_inside(data, tmp_path):
    music = tmp_path / "music"
    for number, (artist, title) in enumerate(HOSTILE):
        tagged(music / f"{number}.mp3", artist, title, seed=number)
    for number, name in enumerate([b"-x.mp3", b"$HOME.mp3", b"\xff\xfe.mp3", b"\xc3\xa9.mp3"]):
        write_tune(tmp_path / "t.mp3", seed=50 + number).rename(music / os.fsdecode(name))
    before = {path for path in tmp_path.rglob("*") if data not in path.parents}
    for expected in ("19 came, 0 already there", "0 came, 19 already there"):
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
    line = recommend_command(song, Path("my data"))
    line = line.replace("python recommender.py", "printf '%s\\n'")
    typed = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
    assert typed.stdout.splitlines() == ["-m", "Recommend", "--data", "my data", name]


def test_link_leaves_the_file_where_it_is(data, tmp_path):
    source = write_tune(tmp_path / "Ann - One.mp3")
    for expected in ("1 came", "1 already there"):
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
    assert told == [
        f"cannot read folder {tmp_path}/music/lost+found: Permission denied; passed over"
    ]
    with pytest.raises(LibraryError, match="cannot read folder"):
        find_audio([tmp_path / "music/lost+found"], told.append)


def test_songs_that_are_in_the_library_are_there(data, songs):
    done = add(data, "--file", songs)
    assert "0 came, 4 already there" in done.stderr
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
    assert "is no audio file" in done.stderr
    (tmp_path / "empty").mkdir()
    done = add(data, "--file", tmp_path / "empty")
    assert done.returncode == 1
    assert "no audio files in" in done.stderr


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


def test_two_runs_at_once_add_each_song_once(data, tmp_path):
    for number in range(10):
        tagged(tmp_path / "music" / f"{number}.mp3", "Ann", f"Song {number}", seed=number)
    runs = [Run("add_song.py", "--data", data, "--file", tmp_path / "music") for _ in range(2)]
    for run in runs:
        _, told = run.communicate()
        assert run.returncode == 0, told
    assert names(data) == sorted(f"Ann - Song {n}.mp3" for n in range(10))


def test_a_run_waits_while_another_puts_a_song_down(data, tmp_path):
    song = write_tune(tmp_path / "Ann - One.mp3")
    (data / "song_db").mkdir()
    with FileLock(data / "song_db" / ".shelf.lock"):
        run = Run("add_song.py", "--data", data, "--file", song)
        with pytest.raises(subprocess.TimeoutExpired):
            run.wait(2)
        # The other run brings the same song.
        shutil.copy(song, data / "song_db" / "songs" / "Ann - One.mp3")
    _, told = run.communicate()
    assert "0 came, 1 already there" in told


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


# Links


@pytest.mark.parametrize(
    "text",
    [
        TRACK_URL,
        f"http://open.spotify.com/track/{TRACK}?si=abc&utm=1#x",
        f"https://open.spotify.com/intl-de/track/{TRACK}",
        f"https://open.spotify.com/embed/track/{TRACK}",
        f"  spotify:track:{TRACK} ",
        f"https://OPEN.spotify.com/track/{TRACK}/",
    ],
)
def test_links_are_read(text):
    assert spotify.read_link(text) == spotify.Link("track", TRACK)


@pytest.mark.parametrize("kind", ["album", "playlist", "artist"])
def test_links_to_many_are_read(kind):
    assert spotify.read_link(f"https://open.spotify.com/{kind}/{TRACK}").kind == kind
    assert spotify.read_link(f"spotify:user:me:{kind}:{TRACK}").kind == kind


@pytest.mark.parametrize(
    "text",
    [
        "", "Ann - One", "https://example.com/track/" + TRACK, "https://open.spotify.com/track/short",
        "https://open.spotify.com/show/" + TRACK, "spotify:track:../../x", "--help",
        "https://open.spotify.com.evil.example/track/" + TRACK,
    ],
)  # fmt: skip
def test_what_is_no_link_is_refused(text):
    with pytest.raises(UsageError):
        spotify.read_link(text)


def test_short_links_are_followed(tmp_path):
    with loopback.serve(tmp_path) as server:
        server.always = 307
        server.headers = {"Location": f"https://open.spotify.com/track/{TRACK}?si=1"}
        assert spotify.follow(server.url + "abc").startswith(TRACK_URL)
        server.headers = {"Location": server.url + "round"}
        with pytest.raises(SongRecError, match="does not lead to a song"):
            spotify.follow(server.url + "abc")


def test_a_track_goes_through(data, bin_folder, clip):
    env = fake_spotdl.install(bin_folder, clip, songs={TRACK: [["Ann", "Bob"], "One / Two"]})
    done = add(data, "-u", f"https://open.spotify.com/intl-fr/track/{TRACK}?si=1", env=env)
    assert done.returncode == 0, done.stderr
    assert names(data) == ["Ann, Bob - One _ Two.mp3"]
    assert (data / "song_db" / "slices" / "Ann, Bob - One _ Two" / "0000.png").exists()
    assert done.stdout.strip().endswith('"Ann, Bob - One _ Two"')
    assert not leftovers(data)
    assert fake_spotdl.calls(bin_folder)[0][:2] == ["download", TRACK_URL]

    again = add(data, "-u", TRACK_URL, env=env)
    assert "0 came, 1 already there" in again.stderr
    assert again.stdout == done.stdout
    assert len(fake_spotdl.calls(bin_folder)) == 1, "what is there is not asked for"


def test_an_album_is_refused_without_all(data, bin_folder, clip):
    env = fake_spotdl.install(bin_folder, clip)
    done = add(data, "-u", ALBUM_URL, env=env)
    assert done.returncode == 2
    assert "is no track (album); add --all" in done.stderr
    assert not fake_spotdl.calls(bin_folder)


def test_all_songs_of_an_album_go_through(data, bin_folder, clip):
    ids = [f"{number:022d}" for number in range(14)]
    songs = {one: [["Ann"], f"Song {one[-2:]}"] for one in ids}
    env = fake_spotdl.install(bin_folder, clip, album=ids, songs=songs, fail=ids[3:4])
    done = add(data, "-u", ALBUM_URL, "--all", env=env)
    assert done.returncode == 0, done.stderr
    assert "songs: 13 came, 0 already there, 1 failed" in done.stderr
    assert "No results found for song: Song 03" in done.stderr
    assert len(names(data)) == 13
    assert len(list((data / "song_db" / "slices").glob("*/0000.png"))) == 13
    again = add(data, "-u", ALBUM_URL, "--all", env=env)
    assert "0 came, 13 already there, 0 failed" in again.stderr
    env = fake_spotdl.install(bin_folder, clip, album=ids, songs=songs)
    third = add(data, "-u", ALBUM_URL, "--all", "--retry-skipped", env=env)
    assert "1 came, 13 already there, 0 failed" in third.stderr


def test_a_limit_on_an_album_goes_on_where_the_last_run_ended(data, bin_folder, clip):
    ids = [f"{number:022d}" for number in range(5)]
    songs = {one: [["Ann"], f"Song {one[-2:]}"] for one in ids}
    env = fake_spotdl.install(bin_folder, clip, album=ids, songs=songs)
    for n_there, n_came in ((0, 2), (2, 2), (4, 1)):
        done = add(data, "-u", ALBUM_URL, "--all", "--limit", "2", env=env)
        assert f"songs: {n_came} came, {n_there} already there" in done.stderr


def test_hostile_names_from_spotify_stay_inside(data, bin_folder, clip):
    ids = [f"{number:022d}" for number in range(len(HOSTILE))]
    songs = {one: [[artist], title] for one, (artist, title) in zip(ids, HOSTILE, strict=True)}
    env = fake_spotdl.install(bin_folder, clip, album=ids, songs=songs)
    done = add(data, "-u", ALBUM_URL, "--all", env=env)
    assert done.returncode == 0, done.stderr
    found = names(data)
    assert all(path.is_file() for path in (data / "song_db" / "songs").iterdir())
    # The two spellings of Motörhead are one song.
    assert len(found) == len(HOSTILE) - 1
    assert {path.name for path in data.iterdir()} == {"song_db"}


def test_success_is_a_file_that_decodes(data, bin_folder, clip):
    env = fake_spotdl.install(bin_folder, clip, rubbish=[TRACK])
    done = add(data, "-u", TRACK_URL, env=env)
    assert done.returncode == 1
    assert "what came is of no use" in done.stderr
    assert names(data) == []


@pytest.mark.parametrize(
    ("says", "status", "told"),
    [
        ("SongError: Couldn't get metadata, check if you have passed", 1, "knows no such track"),
        ("FFmpegError: FFmpeg is not installed.", 1, "finds no ffmpeg; run: make setup"),
        ("ConnectionError: Failed to resolve 'music.youtube.com'", 1, "check the network"),
        ("You might be blocked by YouTube Music.", 0, "YouTube blocks downloads"),
        ("AudioProviderError: HTTP Error 403: Forbidden", 0, "YouTube blocks downloads"),
        ("rate/request limit. Retry will occur after: 86400 s", 1, "retry after 86400 s"),
        ("", 0, "spotdl said nothing"),
    ],
)
def test_failures_are_told_in_one_line(data, bin_folder, says, status, told):
    env = fake_spotdl.install(bin_folder, "no clip", says=says, exit=status)
    done = add(data, "-u", TRACK_URL, env=env)
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert names(data) == []
    assert not leftovers(data)


def test_a_long_rate_limit_is_not_slept_through(data, bin_folder, clip):
    says = "Your application has reached a rate/request limit. Retry will occur after: 86400 s"
    env = fake_spotdl.install(bin_folder, clip, says=says, exit=0, slow_s=60)
    done = add(data, "-u", TRACK_URL, env=env, timeout_s=20)
    assert "Run the same command again after" in done.stderr


def test_a_short_rate_limit_is_waited_for(data, bin_folder, clip):
    once = {"says": "429 Too Many Requests, Retry-After: 1", "exit": 1}
    env = fake_spotdl.install(bin_folder, clip, once=once)
    done = add(data, "-u", TRACK_URL, env=env)
    assert done.returncode == 0, done.stderr
    assert "songs: 1 came" in done.stderr


def test_a_spotdl_that_hangs_is_ended(tmp_path, bin_folder, clip, monkeypatch):
    from songrec.web import spotdl

    env = fake_spotdl.install(bin_folder, clip, slow_s=60)
    monkeypatch.setenv("PATH", env["PATH"])
    monkeypatch.setattr(spotdl, "_START_TIMEOUT_S", 0.5)
    monkeypatch.setattr(spotdl, "_SONG_TIMEOUT_S", 0.0)
    result = spotdl.fetch(TRACK_URL, tmp_path)
    assert result.files == {}
    assert spotdl.is_transient(result.reason(TRACK)), "it may do better another time"


def test_missing_programs_are_named(data, tmp_path, bin_folder, clip):
    empty = tmp_path / "empty"
    empty.mkdir()
    # This Python's folder holds the real spotdl: a copy of the interpreter's link does not.
    python = empty / "python"
    python.symlink_to(sys.executable)
    site = os.pathsep.join(sys.path)
    command = [python, ROOT / "add_song.py", "--data", data, "-u", TRACK_URL]
    env = {**os.environ, "PATH": str(empty), "PYTHONPATH": site}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "spotdl is not installed; run: make setup" in done.stderr
    fake_spotdl.install(bin_folder, clip)
    env["PATH"] = str(bin_folder)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert "ffmpeg is not installed" in done.stderr


def test_real_spotdl(data, tmp_path, bin_folder):
    """The real spotdl downloads from a server on this machine, converts and tags.

    A link needs Spotify's and YouTube's servers, so one thing is exchanged: the `spotdl` on
    PATH here is three lines that replace the link by a `.spotdl` file, spotdl's own format
    for songs that it knows already, and then call the real spotdl. In that file, the song's
    `download_url` points at the loopback server; `--audio youtube` keeps spotdl from asking
    YouTube Music for leave first. What follows is all real: yt-dlp fetches the file over
    HTTP, ffmpeg converts it to mp3, mutagen writes the tags, add_song.py takes it over, and
    the line that it prints recommends by it (with a network that was never trained).
    """
    served = tmp_path / "served"
    write_tune(served / "song.ogg", seconds=5.0, seed=3)
    real = shutil.which("spotdl", path=str(Path(sys.executable).parent)) or shutil.which("spotdl")
    assert real, "spotdl belongs to requirements.txt"
    with loopback.serve(served) as server:
        record = {
            "name": "Ünder the Bridge / Live", "artists": ["Ann", "Bob"], "artist": "Ann",
            "genres": ["rock"], "disc_number": 1, "disc_count": 1, "album_name": "Album",
            "album_artist": "Ann", "duration": 5, "year": 2020, "date": "2020-01-01",
            "track_number": 1, "tracks_count": 1, "song_id": TRACK, "explicit": False,
            "publisher": "", "url": TRACK_URL, "isrc": "", "cover_url": None,
            "copyright_text": "", "album_id": "", "download_url": server.url + "song.ogg",
        }  # fmt: skip
        known = tmp_path / "known.spotdl"
        known.write_text(json.dumps([record]), encoding="utf-8")
        bin_folder.mkdir()
        wrapper = bin_folder / "spotdl"
        wrapper.write_text(
            f"#!/bin/sh\nset -e\n[ \"$1 $2\" = 'download {TRACK_URL}' ]\nshift 2\n"
            f"exec '{real}' download '{known}' --audio youtube \"$@\"\n"
        )
        wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
        env = {
            **loopback.ENV,
            "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(tmp_path),  # spotdl keeps settings and half-done files there
        }
        done = add(data, "-u", TRACK_URL, env=env)
        assert done.returncode == 0, done.stderr
        assert [path for path, _ in server.requests], "the song must come from the server"
    song = data / "song_db" / "songs" / "Ann, Bob - Ünder the Bridge _ Live.mp3"
    tags = mutagen.File(song, easy=True)
    assert tags["title"] == ["Ünder the Bridge / Live"]
    assert 4.5 < tags.info.length < 5.5
    assert (data / "song_db" / "slices" / song.stem / "0000.png").exists()
    assert done.stdout.strip().endswith(f'"{song.stem}"')
    assert not leftovers(data)

    add(data, "--file", write_tune(tmp_path / "Cid - Three.mp3", seed=8))
    script, *flags = shlex.split(done.stdout)[1:]
    model_path = write_model(tmp_path / "model.pt")
    answer = run_script(script, *flags, "1", "--model", model_path)
    assert answer.returncode == 0, answer.stderr
    assert "Cid - Three" in answer.stdout
