"""Songs in the library, found by the Spotify link that they came from."""

from songrec.advice import Advice, again
from songrec.errors import UnknownSongError, UsageError
from songrec.store.database import Database
from songrec.web import spotify
from songrec.web.ledger import Ledger


def song_of_link(database: Database, text: str) -> str:
    """Return the audio file of the track that a link points at; any other text as it is.

    Raises
    ------
    UnknownSongError
        If the track is not in the library.
    UsageError
        If it is a link to anything but a track.
    """
    if not spotify.is_link(text):
        return text
    link = spotify.read_link(text)
    if link.kind != "track":
        raise UsageError(f"{link.url} is not a track ({link.kind})")
    ledger_path = database.root / "downloads.db"
    file = None
    if ledger_path.exists():
        with Ledger(ledger_path, dry_run=True) as ledger:
            file = ledger.file_of(link.id)
    if file is None or not (database.songs_dir / file).exists():
        raise UnknownSongError(
            f"{link.url} is not in the library", Advice("add_song.py", (link.url,)), again()
        )
    return str(database.songs_dir / file)
