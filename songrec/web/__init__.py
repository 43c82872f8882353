"""What comes over the network: archives, Spotify through spotdl, tables of tracks."""
