"""Running add_song.py, and what it left."""

from mutagen.easyid3 import EasyID3

from tests.running import run_script
from tests.tunes import write_tune

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
