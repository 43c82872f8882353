"""Links to Spotify."""

import pytest

from songrec.errors import SongRecError, UsageError
from songrec.web import spotify
from tests import loopback
from tests.intake.adding import TRACK, TRACK_URL


# Links
@pytest.mark.parametrize(
    "text",
    [
        TRACK_URL,
        f"http://open.spotify.com/track/{TRACK}?si=abc&utm=1#x",
        f"https://open.spotify.com/intl-de/track/{TRACK}",
        f"https://open.spotify.com/embed/track/{TRACK}",
        f"  spotify:track:{TRACK} ",
        f"https://OPEN.spotify.com/track/{TRACK}/",
        f"open.spotify.com/track/{TRACK}",
    ],
)
def test_links_are_read(text):
    assert spotify.is_link(text)
    assert spotify.read_link(text) == spotify.Link("track", TRACK)


@pytest.mark.parametrize("kind", ["album", "playlist", "artist"])
def test_links_to_many_are_read(kind):
    assert spotify.read_link(f"https://open.spotify.com/{kind}/{TRACK}").kind == kind
    assert spotify.read_link(f"spotify:user:me:{kind}:{TRACK}").kind == kind


@pytest.mark.parametrize(
    "text",
    [
        "", "Ann - One", "https://example.com/track/" + TRACK, "https://open.spotify.com/track/short",
        "https://open.spotify.com/show/" + TRACK, "spotify:track:../../x", "--help",
        "https://open.spotify.com.evil.example/track/" + TRACK,
    ],
)  # fmt: skip
def test_what_is_no_link_is_refused(text):
    with pytest.raises(UsageError):
        spotify.read_link(text)


@pytest.mark.parametrize("text", ["AC://DC", "Ann - One", "spotify.mp3", "./open.spotify.com/x"])
def test_names_are_no_links(text):
    assert not spotify.is_link(text)


def test_short_links_are_followed(tmp_path):
    with loopback.serve(tmp_path) as server:
        server.always = 307
        server.headers = {"Location": f"https://open.spotify.com/track/{TRACK}?si=1"}
        assert spotify.follow(server.url + "abc").startswith(TRACK_URL)
        server.headers = {"Location": server.url + "round"}
        with pytest.raises(SongRecError, match="does not lead to a song"):
            spotify.follow(server.url + "abc")
