"""add_song.py --url, with a fake spotdl and with the real one."""

import json
import os
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import mutagen
import pytest

from songrec.runs import prepare
from songrec.sound.audio import load_audio
from tests import fake_spotdl, loopback
from tests.intake.adding import ALBUM_URL, HOSTILE, TRACK, TRACK_URL, add, leftovers, names
from tests.models import write_model
from tests.running import ROOT, run_script
from tests.tunes import write_tune

# Songs from spotdl go through ffmpeg.
pytestmark = pytest.mark.ffmpeg


def test_a_track_goes_through(data, bin_folder, clip):
    env = fake_spotdl.install(bin_folder, clip, songs={TRACK: [["Ann", "Bob"], "One / Two"]})
    done = add(data, "-u", f"https://open.spotify.com/intl-fr/track/{TRACK}?si=1", env=env)
    assert done.returncode == 0, done.stderr
    assert names(data) == ["Ann, Bob - One _ Two.mp3"]
    assert (data / "song_db" / "slices" / "Ann, Bob - One _ Two" / "0000.png").exists()
    assert done.stdout.strip().endswith("'Ann, Bob - One _ Two'")
    assert not leftovers(data)
    assert fake_spotdl.calls(bin_folder)[0][:2] == ["download", TRACK_URL]

    again = add(data, "-u", TRACK_URL, env=env)
    assert "0 added, 1 already there" in again.stderr
    assert again.stdout == done.stdout
    assert len(fake_spotdl.calls(bin_folder)) == 1, "what is there is not asked for"


def test_a_link_needs_no_flag_and_names_its_song(data, tmp_path, bin_folder, clip):
    env = fake_spotdl.install(bin_folder, clip, songs={TRACK: [["Ann"], "One"]})
    other = write_tune(tmp_path / "Bob - Two.mp3", seed=5)
    done = add(data, TRACK_URL, other, env=env)
    assert done.returncode == 0, done.stderr
    assert names(data) == ["Ann - One.mp3", "Bob - Two.mp3"]
    model = write_model(tmp_path / "model.pt")
    words = ["-m", "Recommend", "--data", data, "--model", model]
    by_link = run_script("recommender.py", *words, f"spotify:track:{TRACK}", "1", "--json")
    assert by_link.returncode == 0, by_link.stderr
    by_name = run_script("recommender.py", *words, "Ann - One", "1", "--json")
    assert by_link.stdout == by_name.stdout
    unknown = run_script("recommender.py", *words, TRACK_URL[:-1] + "a")
    assert unknown.returncode == 1
    assert f"{TRACK_URL[:-1]}a is not in the library" in unknown.stderr
    assert f"add_song.py --data {data} {TRACK_URL[:-1]}a && " in unknown.stderr
    assert run_script("recommender.py", *words, ALBUM_URL).returncode == 2


def test_a_track_is_decoded_once(data, tmp_path, bin_folder, clip, monkeypatch):
    decoded = tmp_path / "decoded"

    def load(path):
        with decoded.open("a") as log:  # also from the processes of a pool
            print(path, file=log)
        return load_audio(path)

    monkeypatch.setattr(prepare, "load_audio", load)
    ids = [f"{number:022d}" for number in range(3)]
    env = fake_spotdl.install(bin_folder, clip, album=ids)
    done = add(data, ALBUM_URL, "--all", env=env)
    assert "songs: 3 added" in done.stderr
    assert "specs: 3 done, 0 already there, 0 skipped" in done.stderr
    assert len(decoded.read_text().splitlines()) == 3
    add(data, write_tune(tmp_path / "Bob - Two.mp3"))
    assert len(decoded.read_text().splitlines()) == 4
    again = run_script("spotify_specs.py", "-m", "Test", "--data", data)
    assert "specs: 0 done, 4 already there" in again.stderr
    again = run_script("spotify_slices.py", "-m", "Test", "--data", data)
    assert "slices: 0 done, 4 already there" in again.stderr


def test_an_album_is_refused_without_all(data, bin_folder, clip):
    env = fake_spotdl.install(bin_folder, clip)
    done = add(data, "-u", ALBUM_URL, env=env)
    assert done.returncode == 2
    assert "is not a track (album); add --all" in done.stderr
    assert not fake_spotdl.calls(bin_folder)


def test_all_songs_of_an_album_go_through(data, bin_folder, clip):
    ids = [f"{number:022d}" for number in range(14)]
    songs = {one: [["Ann"], f"Song {one[-2:]}"] for one in ids}
    env = fake_spotdl.install(bin_folder, clip, album=ids, songs=songs, fail=ids[3:4])
    done = add(data, "-u", ALBUM_URL, "--all", env=env)
    assert done.returncode == 0, done.stderr
    assert "songs: 13 added, 0 already there, 1 failed" in done.stderr
    assert "No results found for song: Song 03" in done.stderr
    assert len(names(data)) == 13
    assert len(list((data / "song_db" / "slices").glob("*/0000.png"))) == 13
    again = add(data, "-u", ALBUM_URL, "--all", env=env)
    assert "0 added, 13 already there, 1 failed" in again.stderr
    assert "--retry-skipped tries again" in again.stderr
    env = fake_spotdl.install(bin_folder, clip, album=ids, songs=songs)
    third = add(data, "-u", ALBUM_URL, "--all", "--retry-skipped", env=env)
    assert "1 added, 13 already there, 0 failed" in third.stderr


def test_a_limit_on_an_album_goes_on_where_the_last_run_ended(data, bin_folder, clip):
    ids = [f"{number:022d}" for number in range(5)]
    songs = {one: [["Ann"], f"Song {one[-2:]}"] for one in ids}
    env = fake_spotdl.install(bin_folder, clip, album=ids, songs=songs)
    for n_there, n_came in ((0, 2), (2, 2), (4, 1)):
        done = add(data, "-u", ALBUM_URL, "--all", "--limit", "2", env=env)
        assert f"songs: {n_came} added, {n_there} already there" in done.stderr


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
    assert "the download cannot be used" in done.stderr
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
    assert "songs: 1 added" in done.stderr


def test_a_spotdl_that_hangs_is_ended(tmp_path, bin_folder, clip, monkeypatch):
    from songrec.web import spotdl, spotdl_process

    env = fake_spotdl.install(bin_folder, clip, slow_s=60)
    monkeypatch.setenv("PATH", env["PATH"])
    monkeypatch.setattr(spotdl_process, "_START_TIMEOUT_S", 0.5)
    monkeypatch.setattr(spotdl_process, "_SONG_TIMEOUT_S", 0.0)
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


@pytest.mark.slow
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
    assert done.stdout.strip().endswith(f"'{song.stem}'")
    assert not leftovers(data)

    add(data, "--file", write_tune(tmp_path / "Cid - Three.mp3", seed=8))
    script, *flags = shlex.split(done.stdout)[1:]
    model_path = write_model(tmp_path / "model.pt")
    answer = run_script(script, *flags, "1", "--model", model_path)
    assert answer.returncode == 0, answer.stderr
    assert "Cid - Three" in answer.stdout
