"""Links to Spotify, however they are written, and what they point at."""

import dataclasses
import re
import urllib.parse
from typing import Literal, get_args

import requests

from songrec.errors import DownloadError, UsageError
from songrec.web.download import CONNECT_TIMEOUT_S, HEADERS, READ_TIMEOUT_S, reason

Kind = Literal["track", "album", "playlist", "artist"]
_ID = re.compile(r"^[0-9A-Za-z]{22}$")
_HOSTS = frozenset({"open.spotify.com", "play.spotify.com"})
_SHORT_HOSTS = frozenset({"spotify.link", "spotify.app.link"})
_MAX_HOPS = 5


@dataclasses.dataclass(frozen=True)
class Link:
    """A track, album, playlist or artist on Spotify."""

    kind: Kind
    id: str

    @property
    def url(self) -> str:
        """The plain link, which spotdl accepts."""
        return f"https://open.spotify.com/{self.kind}/{self.id}"


def is_track_id(text: str) -> bool:
    """Return whether a text can be a track's id; only such a text may become part of a path."""
    return _ID.match(text) is not None


def is_link(text: str) -> bool:
    """Return whether a text is a link to Spotify, not a name or a path."""
    place = text.strip().removeprefix("https://").removeprefix("http://")
    return place.startswith("spotify:") or place.partition("/")[0].lower() in _HOSTS | _SHORT_HOSTS


def read_link(text: str) -> Link:
    """Read a link as people copy it: web, app ("spotify:track:..."), other language, short.

    Raises
    ------
    UsageError
        If it is not a link to a track, album, playlist or artist.
    DownloadError
        If it is a short link and cannot be followed.
    """
    plain = text.strip()
    if "://" not in plain and is_link(plain) and not plain.startswith("spotify:"):
        plain = f"https://{plain}"
    if urllib.parse.urlsplit(plain).hostname in _SHORT_HOSTS:
        plain = follow(plain)
    return _read_plain(plain, text)


def _read_plain(plain: str, text: str) -> Link:
    url = urllib.parse.urlsplit(plain)
    if url.scheme == "spotify":
        parts = url.path.split(":")
    elif url.hostname in _HOSTS:
        parts = [part for part in url.path.split("/") if part]
    else:
        raise UsageError(
            f"{text!r} is not a link to Spotify; it should look like "
            "https://open.spotify.com/track/... or spotify:track:..."
        )
    # Other parts may come first: intl-de, embed, and the owner of an old playlist.
    kind, name = (parts[-2], parts[-1]) if len(parts) >= 2 else ("", "")
    for known in get_args(Kind):
        if kind == known and _ID.match(name):
            return Link(known, name)
    raise UsageError(f"{text!r} is not a link to a track, album, playlist or artist on Spotify")


def follow(short_url: str) -> str:
    """Return the long link that a short one leads to, without fetching the long one.

    Raises
    ------
    DownloadError
        If it leads nowhere, or there is no network.
    """
    url = short_url
    for _ in range(_MAX_HOPS):
        try:
            answer = requests.get(
                url,
                headers=HEADERS,
                allow_redirects=False,
                stream=True,
                timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
            )
        except requests.RequestException as error:
            raise DownloadError(
                f"{short_url} cannot be followed ({reason(error)}); check the network"
            ) from error
        answer.close()
        if "Location" not in answer.headers:
            break
        url = urllib.parse.urljoin(url, answer.headers["Location"])
        if urllib.parse.urlsplit(url).hostname == "open.spotify.com":
            return url
    raise DownloadError(
        f"{short_url} does not lead to a song; open it in a browser and use the long link"
    )
