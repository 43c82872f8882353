"""tools/demo.py: with one's own music, with Debian's, and where nothing can be reached."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from songrec import cli
from songrec.errors import SongRecError
from songrec.web import debian
from tests.models import write_model
from tests.running import Run, run_script
from tests.tunes import write_tune
from tools.demo import build_parser
from tools.demo import demo as run_demo

# Where nobody listens: FMA cannot be reached through it.
NO_WEB = {
    **dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:1"),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), ""),
}


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.pt")


def words_of(data, model, *flags, path=None):
    env = NO_WEB | ({"PATH": str(path)} if path else {})
    return ["tools/demo.py", "--data", data, "--model", model, *flags], env


def demo(data, model, *flags, path=None):
    words, env = words_of(data, model, *flags, path=path)
    return run_script(*words, env=env)


def commands(done):
    """The scripts that the demo says it ran."""
    lines = [line for line in done.stderr.splitlines() if line.startswith("$ ")]
    return [Path(shlex.split(line)[2]).name for line in lines]


def answers(done):
    return [line for line in done.stdout.splitlines() if line[:3] in {"1. ", "2. ", "3. "}]


def files_below(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_ones_own_songs_are_linked_and_recommended_among(data, model, tmp_path):
    music = tmp_path / "my music"
    for number, ending in enumerate(["wav", "mp3", "ogg", "flac", "wav"]):
        write_tune(
            music / f"sub {number % 2}/Artist {number} - Song {number}.{ending}", seed=number
        )
    before = files_below(music)
    done = demo(data, model, "--songs", music)
    assert done.returncode == 0, done.stderr
    assert commands(done) == [
        *("add_song.py", "spotify_specs.py", "spotify_slices.py", "recommender.py")
    ]
    assert f"'{music}' --link" in done.stderr
    placed = sorted((data / "song_db/songs").iterdir())
    assert len(placed) == 5 and all(path.is_symlink() for path in placed)
    assert files_below(music) == before
    assert len(answers(done)) == 3
    query = done.stdout.partition("these sound most like ")[2].partition(".\n")[0].strip("'")
    assert query in done.stderr and not any(query in line for line in answers(done))
    assert "Of 5 songs, these sound most like" in done.stdout
    # The command at the end works as it is printed.
    typed = done.stdout.splitlines()[-1]
    again = subprocess.run(typed, shell=True, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert len(again.stdout.splitlines()) == 3


def test_ones_own_songs_go_into_the_library_that_is_asked_next(model, tmp_path, monkeypatch):
    monkeypatch.setattr(cli, "ROOT", tmp_path)
    args = build_parser().parse_args(["--songs", "x"])
    monkeypatch.setattr("tools.demo.run", lambda args, *words: ran.append(args.data))
    ran = []
    with pytest.raises(SongRecError):
        run_demo(args)
    assert set(ran) == {tmp_path / "data"}


def test_songs_that_are_not_there_end_it_in_one_line(data, model, tmp_path):
    done = demo(data, model, "--songs", tmp_path / "nothing")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "tools/demo.py: add_song.py ended with status 1"
    assert "Traceback" not in done.stderr and "These" not in done.stdout


# --- open music --------------------------------------------------------------------------------
def write_command(folder, name, body):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path):
    """A PATH with what the scripts need and no command that reaches the archive."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("ffmpeg", "tar", "xz", "zstd", "gzip", "sh", "cp", "rm", "dpkg-deb"):
        there = shutil.which(name)
        if there:
            (folder / name).symlink_to(there)
    return folder


@pytest.mark.parametrize("with_apt", [False, True])
def test_where_nothing_can_be_reached_it_says_what_else_to_do(data, model, bin_folder, with_apt):
    if with_apt:
        write_command(bin_folder, "apt-get", "echo 'E: no network today' >&2; exit 100")
    done = demo(data, model, path=bin_folder)
    assert done.returncode == 1 and done.stdout == ""
    lines = done.stderr.splitlines()
    assert lines[0] == "FMA cannot be reached; trying Debian's game music"
    assert "no open music can be reached from here" in lines[-1]
    assert lines[-1].endswith("use your own music instead: make demo SONGS=folder")
    left_out = [line for line in lines if line.startswith("left out: could not download ")]
    assert len(left_out) == (6 if with_apt else 0)
    assert sum(line.startswith("downloading ") for line in lines) == len(left_out)
    assert all(line.endswith(": E: no network today") for line in left_out)
    assert not (data / "song_db").exists()


def write_noise(path, seconds, seed, artist="", title=""):
    """A real ogg file; noise at the best quality makes 60 kB a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(0, 0.1, (int(44_100 * seconds), 2))
    # Not all at one level, so that the songs differ by more than their length.
    noise *= np.abs(np.sin(np.arange(len(noise)) * (1 + seed) / 44_100))[:, None]
    with soundfile.SoundFile(
        path, "w", 44_100, 2, format="OGG", subtype="VORBIS", compression_level=0.0
    ) as sound:
        if artist:
            sound.artist = artist
        if title:
            sound.title = title
        # libsndfile's ogg encoder may crash on more at once.
        for block in np.array_split(noise, 16):
            sound.write(block)
    return path


def build_package(folder, name, songs):
    """Build debs/<name>.deb out of {file: arguments of write_noise}."""
    package = folder / name
    music = package / "usr/share/games/music"
    for file, (seconds, seed, *tags) in songs.items():
        write_noise(music / file, seconds, seed, *tags)
    control = package / "DEBIAN/control"
    control.parent.mkdir()
    control.write_text(
        f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: x\n"
    )
    (folder / "debs").mkdir(exist_ok=True)
    deb = folder / f"debs/{name}.deb"
    build = ["dpkg-deb", "--root-owner-group", "-Znone", "-b", str(package), str(deb)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)


@pytest.fixture
def archive(tmp_path, bin_folder):
    """A Debian archive with one of the packages, and the apt-get that downloads from it."""
    music = tmp_path / "amoebax-data/usr/share/games/music"
    music.mkdir(parents=True)
    (music / "again.ogg").symlink_to("menu.ogg")
    (music / "level.dat").write_bytes(bytes(500_000))
    build_package(
        tmp_path,
        "amoebax-data",
        {
            "menu.ogg": (8, 0),
            "game.OGG": (8, 1, "Emma", "Round: One"),
            "deeper/end.ogg": (8, 2, "", "The End"),
            "menu_raw.ogg": (8, 4),
            "jingle.ogg": (4, 3),
        },
    )
    write_command(
        bin_folder,
        "apt-get",
        f'echo "$*" >> "{tmp_path}/asked"\n'
        '[ "$1" = update ] && exit 0\n'
        "for package; do :; done\n"
        f'cp "{tmp_path}/debs/$package.deb" . 2>/dev/null && exit 0\n'
        'echo "E: Unable to locate package $package" >&2; exit 100',
    )
    return tmp_path


@pytest.mark.slow
def test_music_from_packages_is_taken_by_size_and_named_by_its_tags(
    data, model, archive, bin_folder
):
    done = demo(data, model, path=bin_folder)
    assert done.returncode == 0, done.stderr
    assert files_below(data / "song_db/songs") == [
        "Emma - Round_ One.ogg",
        "amoebax-data - The End.ogg",
        "amoebax-data - menu.ogg",
    ]
    menu = archive / "amoebax-data/usr/share/games/music/menu.ogg"
    assert (data / "song_db/songs/amoebax-data - menu.ogg").read_bytes() == menu.read_bytes()
    assert "amoebax-data: 3 songs" in done.stderr
    assert "left out: could not download wizznic-data: E: Unable to locate" in done.stderr
    assert commands(done) == ["spotify_specs.py", "spotify_slices.py", "recommender.py"]
    assert "Of 3 songs, these sound most like" in done.stdout and len(answers(done)) == 2
    asked = (archive / "asked").read_text()
    assert "install" not in asked.split() and "download -qq amoebax-data" in asked

    # What has come is not fetched again.
    again = demo(data, model, path=bin_folder)
    assert commands(again) == commands(done) and answers(again) == answers(done)
    assert "FMA" not in again.stderr
    assert (archive / "asked").read_text() == asked


@pytest.mark.slow
def test_a_killed_fetch_is_taken_up_and_same_names_are_kept_apart(data, model, archive, bin_folder):
    """Killed at the second package; two pieces of the first have the same tags."""
    shutil.rmtree(archive / "amoebax-data")
    build_package(
        archive,
        "amoebax-data",
        {"one.ogg": (8, 0, "Emma", "Round"), "two.ogg": (8, 1, "Emma", "Round")},
    )
    build_package(archive, "ardentryst", {"three.ogg": (8, 2, "Dan", "End")})
    apt = (bin_folder / "apt-get").read_text()
    kill = f'[ "$3" = ardentryst ] && [ ! -e "{archive}/killed" ] && '
    kill += f': > "{archive}/killed" && kill -9 $PPID\n'
    (bin_folder / "apt-get").write_text(apt.replace("for package", f"{kill}for package"))
    words, env = words_of(data, model, path=bin_folder)
    killed = Run(*words, env=env)
    _, told = killed.communicate()
    assert killed.returncode == -9, told
    first = ["Emma - Round (2).ogg", "Emma - Round.ogg"]
    assert files_below(data / "song_db/songs") == first
    done = demo(data, model, path=bin_folder)
    assert done.returncode == 0, done.stderr
    assert files_below(data / "song_db/songs") == ["Dan - End.ogg", *first]


def test_a_list_of_packages_that_comes_to_no_end_is_no_way_in(tmp_path, monkeypatch):
    write_command(tmp_path / "bin", "apt-get", "exec sleep 60")
    write_command(tmp_path / "bin", "dpkg-deb", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(debian, "_TIMEOUT_S", 0.2)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert not debian.can_download()
    write_command(tmp_path / "bin", "apt-get", "exit 100")
    assert debian.can_download()
