"""Not too many songs of an artist, no two versions of a recording."""

import shutil

import pytest

from songrec.recommend.variety import recording_of
from tests.recommend.asking import answer_of
from tests.running import run_script
from tests.tunes import write_tune


@pytest.mark.slow
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
