#!/bin/sh
# Installs ffmpeg where that needs no question (root and apt-get), else says how to get it. Only
# spotdl and m4a/aac files need it, so set-up goes on without.
set -eu
if command -v ffmpeg >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing ffmpeg with apt-get"
    if apt-get update -q &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends ffmpeg; then
        exit 0
    fi
fi
echo "ffmpeg is not installed: m4a and aac files and Spotify links will not work. To install it:" >&2
echo "    sudo apt-get install ffmpeg      (Debian, Ubuntu)" >&2
echo "    brew install ffmpeg              (macOS)" >&2
