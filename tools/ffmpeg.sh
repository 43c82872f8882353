#!/bin/sh
# Installs ffmpeg where that needs no question (root, apt); else says who needs it and goes on
# only if it is there. spotdl and m4a/aac files need it; everything else works without.
set -eu
if command -v ffmpeg >/dev/null 2>&1; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing ffmpeg with apt-get"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends ffmpeg >/dev/null
    exit 0
fi
echo "ffmpeg is not installed; install it and run make again, for example:" >&2
echo "    sudo apt-get install ffmpeg      (Debian, Ubuntu)" >&2
echo "    brew install ffmpeg              (macOS)" >&2
exit 1
