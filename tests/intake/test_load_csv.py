"""load_csv.py: samples of a CSV shaped like the real one, with a fake spotdl."""

import csv
import gzip
import lzma
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import mutagen
import pytest

from songrec.errors import LibraryError, UsageError
from songrec.web import catalogue, download
from songrec.web.ledger import Entry, Ledger
from tests import fake_spotdl, loopback
from tests.running import Run, run_script, shell_on_small_disk, tree, wait_for
from tests.tunes import write_tune

# Songs from spotdl go through ffmpeg.
pytestmark = pytest.mark.ffmpeg

COLUMNS = [
    "", "track_id", "artists", "album_name", "track_name", "popularity", "duration_ms", "explicit",
    "danceability", "track_genre",
]  # fmt: skip


GENRES = ["blues", "jazz", "rock"]


def track_id(number):
    return f"{number:022d}"


def write_csv(path, n_per_genre=30, rows=None):
    """Write a CSV with the real header; each third track is in two genres, as in the real one."""
    if rows is None:
        rows = []
        for genre_number, genre in enumerate(GENRES):
            for n in range(n_per_genre):
                number = genre_number * n_per_genre + n
                rows.append(
                    (track_id(number), f"Artist {number % 7};Guest", f"Song {number}", genre)
                )
                if n % 3 == 0:
                    rows.append((*rows[-1][:3], GENRES[genre_number - 1]))
    openers = {".gz": gzip.open, ".xz": lzma.open}
    with openers.get(path.suffix, open)(path, "wt", encoding="utf-8", newline="") as sink:
        writer = csv.writer(sink)
        writer.writerow(COLUMNS)
        for number, (one, artists, title, genre) in enumerate(rows):
            writer.writerow([number, one, artists, "Album", title, 5, 3500, False, 0.5, genre])
    return path


def load(data, *flags, env=None, **more):
    return run_script("load_csv.py", "--data", data, "-j", "1", *flags, env=env, **more)


def ledger_rows(data):
    with sqlite3.connect(data / "song_db" / "downloads.db") as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("select * from tracks")]


def check_ledger_and_folders(data):
    """Check that ledger, songs, specs and slices say the same; return counts by state."""
    rows = ledger_rows(data)
    files = {row["file"] for row in rows if row["state"] == "came"}
    songs = {path.name for path in (data / "song_db" / "songs").iterdir()}
    assert files == songs
    stems = {name.removesuffix(".mp3") for name in songs}
    assert {path.stem for path in (data / "song_db" / "specs").glob("*.png")} == stems
    assert {path.parent.name for path in (data / "song_db").glob("slices/*/0000.png")} == stems
    assert not list(data.rglob("*.part"))
    states = [row["state"] for row in rows]
    return {state: states.count(state) for state in ("wanted", "came", "failed")}


def test_a_sample_comes_and_is_made_ready(data, bin_folder, clip):
    write_csv(data / "spotify_tracks.csv")
    env = fake_spotdl.install(bin_folder, clip)
    done = load(data, "--per-genre", "3", env=env)
    assert done.returncode == 0, done.stderr
    assert "songs: 9 added, 0 already there, 0 failed" in done.stderr
    assert f"recommender.py --data {data} -m Recommend" in done.stderr
    assert check_ledger_and_folders(data) == {"wanted": 0, "came": 9, "failed": 0}
    genres = [row["genre"] for row in ledger_rows(data)]
    assert sorted(genres) == sorted(GENRES * 3)
    names = [path.name for path in (data / "song_db" / "songs").iterdir()]
    assert all(name.startswith("Artist ") and ", Guest - Song " in name for name in names)

    more = load(data, "--per-genre", "3", env=env)
    assert "songs: 9 added, 0 already there" in more.stderr
    assert check_ledger_and_folders(data) == {"wanted": 0, "came": 18, "failed": 0}


def test_failed_tracks_are_left_until_asked(data, bin_folder, clip):
    write_csv(data / "spotify_tracks.csv", n_per_genre=4)
    env = fake_spotdl.install(bin_folder, clip, fail_third=True)
    done = load(data, env=env)
    assert done.returncode == 0, done.stderr
    counts = check_ledger_and_folders(data)
    assert counts["failed"] == 5
    assert counts["came"] == 7
    assert "downloads.db" in done.stderr
    assert all(
        "No results" in row["reason"] for row in ledger_rows(data) if row["state"] == "failed"
    )
    n_calls = len(fake_spotdl.calls(bin_folder))
    again = load(data, env=env)
    assert "songs: 0 added, 0 already there, 0 failed" in again.stderr
    assert len(fake_spotdl.calls(bin_folder)) == n_calls
    env = fake_spotdl.install(bin_folder, clip)
    third = load(data, "--retry-skipped", env=env)
    assert "songs: 5 added, 0 already there, 0 failed" in third.stderr
    assert check_ledger_and_folders(data) == {"wanted": 0, "came": 12, "failed": 0}


@pytest.mark.slow
def test_killed_twice_then_finished(data, bin_folder, clip):
    write_csv(data / "spotify_tracks.csv")
    flags = ["--per-genre", "20", "--limit", "45"]
    env = fake_spotdl.install(bin_folder, clip, fail_third=True, slow_s=0.02)
    for n_songs in (5, 15):
        child = Run("load_csv.py", "--data", data, *flags, env=env)
        wait_for(lambda n=n_songs: len(list(data.glob("song_db/songs/*.mp3"))) > n)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    drawn = {row["track_id"] for row in ledger_rows(data)}
    done = load(data, *flags, env=env)
    assert done.returncode == 0, done.stderr
    assert "songs drawn earlier" in done.stderr
    counts = check_ledger_and_folders(data)
    assert counts["wanted"] == 0
    assert counts["came"] + counts["failed"] == 45
    rows = ledger_rows(data)
    assert {row["track_id"] for row in rows} == drawn, "it went on with the same sample"
    failed = {row["track_id"] for row in rows if row["state"] == "failed"}
    assert failed == {one for one in drawn if ord(one[-1]) % 3 == 0}


@pytest.mark.slow
def test_ctrl_c_says_what_is_done_and_ends_spotdl(data, bin_folder, clip):
    write_csv(data / "spotify_tracks.csv")
    env = fake_spotdl.install(bin_folder, clip, slow_s=0.3)
    child = Run("load_csv.py", "--data", data, env=env)
    wait_for(lambda: fake_spotdl.calls(bin_folder))
    child.send_signal(signal.SIGINT)
    _, told = child.communicate()
    assert child.returncode == 130
    assert "songs: 0 added" in told
    assert "interrupted; what is finished is kept" in told
    assert "Traceback" not in told
    assert not list(data.rglob("*.part"))
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(bin_folder) not in running.stdout


def test_when_everything_fails_it_stops_and_blames_no_track(data, bin_folder, clip):
    write_csv(data / "spotify_tracks.csv", n_per_genre=60)
    fail = [track_id(n) for n in range(180)]
    env = fake_spotdl.install(bin_folder, clip, fail=fail)
    done = load(data, env=env)
    assert done.returncode == 1
    assert "24 tracks failed in a row" in done.stderr
    assert "pip install --upgrade spotdl" in done.stderr
    assert len(fake_spotdl.calls(bin_folder)) == 2
    assert {row["state"] for row in ledger_rows(data)} == {"wanted"}


def test_a_track_that_crashes_spotdl_costs_only_itself(data, bin_folder, clip):
    rows = [(track_id(n), "Ann", f"Song {n}", "jazz") for n in range(4)]
    write_csv(data / "spotify_tracks.csv", rows=rows)
    env = fake_spotdl.install(bin_folder, clip, crash=[track_id(2)])
    done = load(data, env=env)
    assert done.returncode == 0, done.stderr
    assert check_ledger_and_folders(data) == {"wanted": 0, "came": 3, "failed": 1}
    (failed,) = (row for row in ledger_rows(data) if row["state"] == "failed")
    assert failed["track_id"] == track_id(2)
    assert "KeyError: 'items'" in failed["reason"]


@pytest.mark.slow
def test_a_long_rate_limit_ends_the_run_with_what_came_ready(data, bin_folder, clip):
    write_csv(data / "spotify_tracks.csv")
    limit = {
        "says": "Your application has reached a rate/request limit. Retry after 86400",
        "exit": 1,
    }
    env = fake_spotdl.install(bin_folder, clip, slow_s=0.1)
    child = Run("load_csv.py", "--data", data, "--limit", "30", env=env)
    wait_for(lambda: fake_spotdl.calls(bin_folder))
    fake_spotdl.install(bin_folder, clip, **limit)
    _, told = child.communicate()
    assert child.returncode == 1
    assert "retry after 86400 s" in told
    assert "Run the same command again after" in told
    assert check_ledger_and_folders(data) == {"wanted": 18, "came": 12, "failed": 0}


@pytest.mark.slow
def test_a_full_disk_is_no_failure_of_the_tracks(tmp_path, bin_folder, clip):
    csv_path = write_csv(tmp_path / "t.csv")
    env = fake_spotdl.install(bin_folder, clip)
    script = (
        f'"$PYTHON" load_csv.py -j 1 --data "$DISK" --csv \'{csv_path}\'; echo status $?; '
        f"cp -r \"$DISK\" '{tmp_path}/kept'"
    )
    done = shell_on_small_disk(tmp_path, 250, script, env)
    assert "status 1" in done.stdout
    assert "the disk is full" in done.stderr
    assert "Traceback" not in done.stderr
    kept = tmp_path / "kept"
    assert not list(kept.rglob("*.part"))
    assert "failed" not in {row["state"] for row in ledger_rows(kept)}


def test_what_is_in_the_library_is_left_out(data, bin_folder, clip):
    rows = [
        (track_id(1), "Ann;Bob", "One", "jazz"),
        (track_id(2), "Ann;Bob", "ONE!", "jazz"),
        (track_id(3), "Cid", "Two", "jazz"),
    ]
    write_csv(data / "spotify_tracks.csv", rows=rows)
    write_tune(data / "song_db" / "songs" / "cid - two.flac", seed=5)
    env = fake_spotdl.install(bin_folder, clip)
    done = load(data, env=env)
    assert "songs: 1 added, 0 already there, 0 failed" in done.stderr
    names = sorted(path.name.lower() for path in (data / "song_db" / "songs").iterdir())
    assert names in (
        ["ann, bob - one.mp3", "cid - two.flac"],
        ["ann, bob - one!.mp3", "cid - two.flac"],
    )


def test_hostile_rows_stay_inside(data, bin_folder, clip):
    rows = [
        ("../../../evil", "Ann", "One", "jazz"),
        (track_id(1), "../../x", "../../y", "jazz"),
        (track_id(2), "AC/DC", "-rf", "jazz"),
        (track_id(3), "A" * 300, "😀" * 300, "jazz"),
        (track_id(4), "None", "NA", "jazz"),
        (track_id(5), "", "no artist", "jazz"),
        (track_id(6), "$(touch evil)", "`x`\n\x00", "jazz"),
    ]
    write_csv(data / "spotify_tracks.csv", rows=rows)
    env = fake_spotdl.install(bin_folder, clip)
    done = load(data, env=env)
    assert done.returncode == 0, done.stderr
    assert check_ledger_and_folders(data) == {"wanted": 0, "came": 5, "failed": 0}
    assert (data / "song_db" / "songs" / "None - NA.mp3").exists()
    assert {path.name for path in data.iterdir()} == {"song_db", "spotify_tracks.csv"}


def test_spotdl_gets_all_it_would_else_ask_spotify_for():
    """A None in one of these fields makes spotdl ask Spotify, which limits how often."""
    from songrec.web import spotdl

    record = spotdl._record(Entry(track_id(1), "Ann;Bob", "One", "Album", "jazz", 3500))
    asked_if_none = [
        "genres",
        "disc_count",
        "tracks_count",
        "track_number",
        "album_id",
        "album_artist",
    ]
    assert all(record[key] is not None for key in [*asked_if_none, "name", "url"])
    assert record["artists"] == ["Ann", "Bob"]


@pytest.mark.slow
def test_real_spotdl_takes_the_records_of_the_csv(data, tmp_path, bin_folder):
    """The real spotdl downloads, converts and tags two tracks as load_csv.py hands them over.

    Only the search on YouTube is cut out: the `spotdl` on PATH here writes the `download_url`
    of a loopback server into each record of the `.spotdl` file it is given, adds
    `--audio youtube` (which keeps spotdl from asking YouTube Music for leave), and calls the
    real one. Nothing may be asked of Spotify: there is no way to it here.
    """
    write_tune(tmp_path / "served" / "song.ogg", seconds=5.0, seed=3)
    rows = [(track_id(n), "Ann;Bob", f"Öne / {n}", "jazz") for n in range(2)]
    write_csv(data / "spotify_tracks.csv", rows=rows)
    real = shutil.which("spotdl", path=str(Path(sys.executable).parent)) or shutil.which("spotdl")
    assert real, "spotdl belongs to requirements.txt"
    bin_folder.mkdir()
    wrapper = bin_folder / "spotdl"
    with loopback.serve(tmp_path / "served") as server:
        wrapper.write_text(
            f"#!{sys.executable} -S\nimport json, os, sys\n"
            "records = json.load(open(sys.argv[2], encoding='utf-8'))\n"
            f"for record in records: record['download_url'] = '{server.url}song.ogg'\n"
            "json.dump(records, open(sys.argv[2], 'w', encoding='utf-8'))\n"
            "more = ['--audio', 'youtube', '--threads', '1']\n"
            f"os.execv('{real}', ['spotdl', *sys.argv[1:], *more])\n"
        )
        wrapper.chmod(0o755)
        path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
        done = load(data, env={**loopback.ENV, "PATH": path, "HOME": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert check_ledger_and_folders(data) == {"wanted": 0, "came": 2, "failed": 0}, done.stderr
    tags = mutagen.File(data / "song_db" / "songs" / "Ann, Bob - Öne _ 1.mp3", easy=True)
    assert tags["title"] == ["Öne / 1"]


def test_the_same_seed_draws_the_same(tmp_path):
    table = catalogue.read_csv(write_csv(tmp_path / "t.csv"))
    wish = catalogue.Wish(per_genre=5, seed=3)
    drawn = catalogue.draw(table, wish, set(), lambda _: False)
    assert drawn == catalogue.draw(table, wish, set(), lambda _: False)
    assert len({entry.track_id for entry in drawn}) == len({e.name for e in drawn}) == 15
    rest = catalogue.draw(table, wish, {entry.track_id for entry in drawn}, lambda _: False)
    assert not {entry.track_id for entry in drawn} & {entry.track_id for entry in rest}


def test_genres_are_chosen_and_checked(tmp_path):
    table = catalogue.read_csv(write_csv(tmp_path / "t.csv"))
    wish = catalogue.Wish(5, genres=catalogue.genres_of(["jazz,rock"]))
    assert {e.genre for e in catalogue.draw(table, wish, set(), lambda _: False)} == {
        "jazz",
        "rock",
    }
    with pytest.raises(UsageError, match="no genre 'polka'; it has: blues, jazz, rock"):
        catalogue.draw(table, catalogue.Wish(5, genres=("polka",)), set(), lambda _: False)


@pytest.mark.parametrize("ending", ["", ".gz", ".xz"])
def test_compressed_csvs_are_found(data, ending):
    path = write_csv(data / f"spotify_tracks.csv{ending}")
    assert catalogue.find_csv(data) == path
    assert len(catalogue.read_csv(path)) == 120


def test_the_csv_is_downloaded_when_missing(data, tmp_path):
    served = tmp_path / "served"
    served.mkdir()
    content = write_csv(served / "dataset.csv").read_bytes()
    with loopback.serve(served) as server:
        server.drops = [len(content) // 2]
        download.download(server.url + "dataset.csv", catalogue.find_csv(data), quiet=True)
        assert len(server.requests) == 2
    assert (data / "spotify_tracks.csv").read_bytes() == content
    assert catalogue.URL.startswith("https://huggingface.co/datasets/maharshipandya/")


def test_bad_csvs_are_told(data, tmp_path):
    done = load(data, "--csv", tmp_path / "none.csv")
    assert done.returncode == 1
    assert "leave out --csv to download one" in done.stderr
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(LibraryError, match="has no column 'track_id'"):
        catalogue.read_csv(tmp_path / "other.csv")
    (tmp_path / "broken.csv.gz").write_bytes(b"\x1f\x8b broken")
    (tmp_path / "broken.csv.xz").write_bytes(b"\xfd7zXZ\x00 broken")
    write_csv(tmp_path / "whole.csv.xz")
    whole = bytearray((tmp_path / "whole.csv.xz").read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    (tmp_path / "bitten.csv.xz").write_bytes(whole)
    (tmp_path / "broken.csv.zip").write_bytes(b"PK broken")
    with zipfile.ZipFile(tmp_path / "two.csv.zip", "w") as archive:
        archive.writestr("a.csv", "a")
        archive.writestr("b.csv", "b")
    for name in (
        "broken.csv.gz",
        "broken.csv.xz",
        "bitten.csv.xz",
        "broken.csv.zip",
        "two.csv.zip",
    ):
        with pytest.raises(LibraryError, match="cannot be read as CSV"):
            catalogue.read_csv(tmp_path / name)


def test_another_csv_does_not_go_on_with_the_sample_of_the_last(data, tmp_path, bin_folder, clip):
    write_csv(data / "spotify_tracks.csv", rows=[(track_id(1), "Ann", "Old", "jazz")])
    with Ledger(data / "song_db/downloads.db") as ledger:  # as a killed run leaves it
        ledger.want([Entry(track_id(1), "Ann", "Old", genre="jazz")], catalogue.Wish(70).sample)
    write_csv(tmp_path / "mine.csv", rows=[(track_id(2), "Bob", "New", "jazz")])
    env = fake_spotdl.install(bin_folder, clip)
    mine = load(data, "--csv", tmp_path / "mine.csv", "--dry-run", env=env)
    assert mine.stdout.splitlines() == ["jazz: Bob - New"]
    assert load(data, "--dry-run", env=env).stdout.splitlines() == ["jazz: Ann - Old"]


def test_only_failures_of_the_asked_genres_and_with_a_name_are_retried(tmp_path):
    with Ledger(tmp_path / "downloads.db") as ledger:
        for number, (title, genre) in enumerate((("A", "jazz"), ("B", "rock"), ("", ""))):
            ledger.failed(Entry(track_id(number), "Ann", title, genre=genre), "no luck")
        ledger.retry_failed("one", ("jazz",))
        assert [entry.title for entry in ledger.wanted("one")] == ["A"]
        ledger.retry_failed("two", ())
        assert [entry.title for entry in ledger.wanted("two")] == ["B"]
        assert ledger.ids("failed") == {track_id(2)}


def test_dry_run_only_lists(data, bin_folder, clip):
    write_csv(data / "spotify_tracks.csv")
    env = fake_spotdl.install(bin_folder, clip)
    before = tree(data)
    done = load(data, "--per-genre", "2", "--dry-run", env=env)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 6
    assert not fake_spotdl.calls(bin_folder)
    assert tree(data) == before and [path.name for path in data.iterdir()] == list(before)


def test_dry_run_knows_what_came_and_failed_and_changes_nothing(data, bin_folder, clip):
    rows = [(track_id(n), "Ann", f"Song {n}", "jazz") for n in range(4)]
    write_csv(data / "spotify_tracks.csv", rows=rows)
    env = fake_spotdl.install(bin_folder, clip, fail=[track_id(2)])
    load(data, "--limit", "4", env=env)
    (data / "song_db/songs/Ann - Song 0.mp3").unlink()
    before = tree(data)
    done = load(data, "--dry-run", env=env)
    assert done.stdout.splitlines() == ["jazz: Ann - Song 0"]
    assert tree(data) == before
    retried = load(data, "--dry-run", "--retry-skipped", env=env)
    assert retried.stdout.splitlines() == ["jazz: Ann - Song 2"]
    assert tree(data) == before


def test_dry_run_downloads_the_csv_but_keeps_it_not(data, tmp_path, monkeypatch, capfd):
    import load_csv

    (tmp_path / "served").mkdir()
    write_csv(tmp_path / "served/dataset.csv")
    with loopback.serve(tmp_path / "served") as server:
        monkeypatch.setattr(catalogue, "URL", server.url + "dataset.csv")
        flags = ["--data", str(data), "--per-genre", "2", "--dry-run", "-q"]
        assert load_csv.load_songs(load_csv.build_parser().parse_args(flags)) == 0
    assert len(capfd.readouterr().out.splitlines()) == 6
    assert not list(data.iterdir())


@pytest.mark.slow
def test_two_runs_at_once(data, bin_folder, clip):
    write_csv(data / "spotify_tracks.csv")
    env = fake_spotdl.install(bin_folder, clip, slow_s=0.05)
    first = Run("load_csv.py", "--data", data, "--limit", "8", env=env)
    wait_for(lambda: fake_spotdl.calls(bin_folder))
    second = load(data, env=env)
    assert second.returncode == 1
    assert "another load_csv.py is running" in second.stderr
    assert first.wait(60) == 0
    assert check_ledger_and_folders(data)["came"] == 8


def test_a_deleted_song_may_come_again(tmp_path):
    with Ledger(tmp_path / "l.db") as ledger:
        entry = Entry(track_id(1), "Ann", "One")
        ledger.came(entry, "Ann - One.mp3")
        ledger.forget_gone(lambda _: True)
        assert ledger.file_of(entry.track_id) == "Ann - One.mp3"
        ledger.forget_gone(lambda _: False)
        assert ledger.ids("came") == set()


def test_a_damaged_ledger_is_told(data, bin_folder, clip):
    write_csv(data / "spotify_tracks.csv")
    (data / "song_db").mkdir()
    rubbish = random.Random(0).randbytes(5000)
    (data / "song_db" / "downloads.db").write_bytes(rubbish)
    done = load(data, env=fake_spotdl.install(bin_folder, clip))
    assert done.returncode == 1
    assert "downloads.db is damaged" in done.stderr and "; run: mv " in done.stderr
    assert "Traceback" not in done.stderr
