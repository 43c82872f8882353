"""Names: safe on disk, folded for look-up, split into artist and title."""

import pytest

from songrec.names import assign_keys, fold, safe_name, split_name


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


def test_folding_keeps_what_are_letters_in_other_scripts():
    for one, other in [("की", "का"), ("パリ", "ハリ"), ("ดี", "ดู")]:
        assert fold(one) != fold(other)
    assert fold("パリ") == fold("パリ")
    assert fold("Ελλάδα") == fold("ελλαδα")


def test_folding():
    assert fold("Beyoncé — Déjà-Vu!") == "beyonce deja vu"
    assert fold("Straße") == fold("STRASSE")
    assert fold("東京 - 歌") == "東京 歌"
