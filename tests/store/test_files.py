"""Files that appear whole or not at all."""

import shutil

from songrec import files


def test_what_is_replaced_goes_only_when_its_successor_stands(tmp_path, monkeypatch):
    final = tmp_path / "song"
    final.mkdir()
    (final / "old").touch()

    def remove(path):
        assert (final / "new").exists()
        shutil.rmtree(path)

    monkeypatch.setattr(files, "remove_path", remove)
    with files.atomic_path(final) as part:
        part.mkdir()
        (part / "new").touch()
    assert list(tmp_path.iterdir()) == [final]
