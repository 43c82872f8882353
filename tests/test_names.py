"""Names: safe on disk, folded for look-up, split into artist and title."""

import random
import timeit

import pytest

from songrec.errors import AmbiguousSongError, UnknownSongError
from songrec.names import assign_keys, fold, safe_name, split_name
from songrec.recommend.lookup import NameIndex
from songrec.store.database import Song


def test_split_at_the_first_dash_only():
    assert split_name("X - Y - Remix") == ("X", "Y - Remix")
    assert split_name("no artist") == ("", "no artist")
    assert split_name("Jay-Z - 99") == ("Jay-Z", "99")


@pytest.mark.parametrize(
    "name",
    ["../../x", "AC/DC", "x" * 300, "🎵" * 100, "-rf", ".hidden", "", "..", "a\0b", "nul.mp3"],
)
def test_safe_names_are_one_component(name):
    safe = safe_name(name)
    assert "/" not in safe and "\0" not in safe and safe not in {"", ".", ".."}
    assert safe[0] not in "-."
    assert len(safe.encode()) <= 200
    assert safe_name(safe) == safe


def test_long_names_that_begin_alike_stay_apart():
    assert safe_name("x" * 300 + "a") != safe_name("x" * 300 + "b")


def test_keys_do_not_depend_on_the_order_of_the_files():
    files = ["A - b.mp3", "a - B.mp3", "A - b.flac", "Caf\u00e9.mp3", "Cafe\u0301.mp3"]
    pairs = [(file, file.rpartition(".")[0]) for file in files]
    keys = assign_keys(pairs)
    assert keys == assign_keys(reversed(pairs))
    assert len({key.casefold() for key in keys.values()}) == len(files)


def library(*titles):
    return [Song(f"{title}.mp3", title, title, None) for title in titles]


SONGS = library(
    "Björk - Jóga",
    "Sia - Chandelier",
    "SIA - chandelier",
    "Ann - One",
    "Ann - One (live)",
    "Bob - 1/2",
    "🎵",
    "sub/Dan - Same",
    "other/Dan - Same",
)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("Björk - Jóga", "Björk - Jóga"),
        ("bjork joga", "Björk - Jóga"),
        ("Bjo\u0308rk - Jo\u0301ga", "Björk - Jóga"),
        ("joga", "Björk - Jóga"),
        ("Sia - Chandelier", "Sia - Chandelier"),
        ("SIA - chandelier", "SIA - chandelier"),
        ("Ann - One", "Ann - One"),
        ("one live", "Ann - One (live)"),
        ("🎵", "🎵"),
        ("sub/Dan - Same", "sub/Dan - Same"),
        ("other/Dan - Same.mp3", "other/Dan - Same"),
    ],
)
def test_look_up_finds(asked, found):
    assert SONGS[NameIndex(SONGS).find(asked)].name == found


def test_look_up_does_not_guess():
    with pytest.raises(AmbiguousSongError, match=r"fits 2 songs.*SIA - chandelier"):
        NameIndex(SONGS).find("sia chandelier")
    with pytest.raises(AmbiguousSongError, match=r"sub/Dan - Same\.mp3"):
        NameIndex(SONGS).find("Dan - Same")
    with pytest.raises(UnknownSongError, match=r"nearest: Sia - Chandelier"):
        NameIndex(library("Sia - Chandelier", "Ann - One")).find("Sia - Chandeleir")
    with pytest.raises(UnknownSongError):
        NameIndex(SONGS).find("!!!")


def test_folding_keeps_what_are_letters_in_other_scripts():
    for one, other in [("की", "का"), ("パリ", "ハリ"), ("ดี", "ดู")]:
        assert fold(one) != fold(other)
    assert fold("パリ") == fold("パリ")
    assert fold("Ελλάδα") == fold("ελλαδα")


def test_folding():
    assert fold("Beyoncé — Déjà-Vu!") == "beyonce deja vu"
    assert fold("Straße") == fold("STRASSE")
    assert fold("東京 - 歌") == "東京 歌"


def test_a_name_longer_than_a_file_name_may_be_gets_the_nearest_songs():
    with pytest.raises(UnknownSongError, match=r"nearest: Sia - Chandelier"):
        NameIndex(library("Sia - Chandelier", "Ann - One")).find("Sia Chandelier" * 30 + ".mp3")


def test_looking_up_among_100_000_titles_is_quick():
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyzäéß", k=6)) for _ in range(3000)]
    songs = library(*(" ".join(rng.sample(words, 4)) + f" - {n}" for n in range(100_000)))
    index = NameIndex(songs)
    best_s = min(timeit.repeat(lambda: index.find(songs[70_000].title), number=1, repeat=5))
    assert best_s < 0.05
