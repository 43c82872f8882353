"""The ledger of tracks: files of older versions, damage, a full disk."""

import sqlite3

import pytest

from songrec.errors import DiskFullError, LibraryError
from songrec.web.ledger import Entry, Ledger

# As the program made it before it numbered its tables.
OLD = """
create table tracks (
    track_id text primary key, artists text not null, title text not null, album text not null,
    genre text not null, duration_ms integer not null, explicit integer not null,
    state text not null check (state in ('wanted', 'came', 'failed')), sample text not null,
    file text not null default '', reason text not null default '',
    changed_at text not null default current_timestamp
);
insert into tracks (track_id, artists, title, album, genre, duration_ms, explicit, state, sample,
    file) values ('1', 'Ann', 'One', '', '', 0, 0, 'came', '', 'Ann - One.mp3');
"""


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_file_of_before_is_used_as_it_is(tmp_path, dry_run):
    path = tmp_path / "downloads.db"
    with sqlite3.connect(path) as db:
        db.executescript(OLD)
    before = path.read_bytes()
    with Ledger(path, dry_run=dry_run) as ledger:
        assert ledger.file_of("1") == "Ann - One.mp3"
        ledger.failed(Entry("2", "Bob", "Two"), "no luck")
        assert ledger.ids("failed") == {"2"}
    if dry_run:
        assert path.read_bytes() == before
    else:
        with sqlite3.connect(path) as db:
            assert db.execute("pragma user_version").fetchone() == (1,)
            assert db.execute("select count(*) from tracks").fetchone() == (2,)


def test_a_full_disk_is_told_from_damage(tmp_path):
    with Ledger(tmp_path / "full.db") as ledger:
        ledger._db.execute("pragma max_page_count = 8")
        with pytest.raises(DiskFullError):
            ledger.want((Entry(str(n), "x" * 1000, "y") for n in range(99)), "s")


def test_a_damaged_file_is_named_and_can_be_put_aside(tmp_path):
    path = tmp_path / "full of rubbish.db"
    path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(LibraryError, match="is damaged") as caught:
        Ledger(path)
    aside, again = caught.value.advice
    assert (aside.program, again.program) == ("mv", "")
    assert aside.arguments == (str(path), f"{path}.damaged")


def test_a_folder_in_its_place_is_no_damage(tmp_path):
    with pytest.raises(LibraryError, match="cannot be used") as caught:
        Ledger(tmp_path)
    assert not caught.value.advice
