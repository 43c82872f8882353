"""Downloads: FMA and Debian, Spotify through spotdl, tables of tracks."""
