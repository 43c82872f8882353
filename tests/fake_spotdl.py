"""A spotdl that needs no network: `install` puts it on a PATH; a plan says what it does.

It takes spotdl's arguments, leaves spotdl's files, and exits 0 on failure as spotdl does.
Plan (JSON beside the executable), all parts optional:

    songs       track id -> [artists, title]: what Spotify knows
    album       ids of the songs of any album, playlist or artist
    fail        ids that are not found
    fail_third  True: every third id (by its last character) is not found
    crash       ids whose presence ends the whole call with a traceback
    rubbish     ids that come as a file that is no music
    says        text to print before the end; with `exit`, nothing is done and this is its status
    slow_s      seconds to take over each song
    once        what is in here holds for the first call only
"""

import json
import os
import stat
import sys
import time
from pathlib import Path


def install(folder, clip, **plan):
    """Put the fake and its plan into `folder`; return the environment that finds it first."""
    folder.mkdir(exist_ok=True)
    (folder / "plan.json").write_text(json.dumps({"clip": str(clip), **plan}), encoding="utf-8")
    program = folder / "spotdl"
    program.write_text(f"#!{sys.executable} -S\n" + Path(__file__).read_text(encoding="utf-8"))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def calls(folder):
    """Return the argument lists the fake was called with."""
    log = folder / "calls.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def main():
    here = Path(sys.argv[0]).parent
    plan = json.loads((here / "plan.json").read_text(encoding="utf-8"))
    with (here / "calls.jsonl").open("a") as log:
        log.write(json.dumps(sys.argv[1:]) + "\n")
    if "once" in plan:
        now = {**plan, **plan.pop("once")}
        (here / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
        plan = now
    operation, query = sys.argv[1:3]
    flags = dict(zip(sys.argv[3::2], sys.argv[4::2], strict=True))
    print(plan.get("says", f"Processing query: {query}"), flush=True)
    if "exit" in plan:
        time.sleep(plan.get("slow_s", 0))
        return plan["exit"]
    if operation == "save":
        records = [record(track_id, plan) for track_id in plan["album"]]
    elif query.endswith(".spotdl"):
        records = json.loads(Path(query).read_text(encoding="utf-8"))
    else:
        records = [record(query.rpartition("/")[2], plan)]
    if any(one["song_id"] in plan.get("crash", []) for one in records):
        print("Traceback (most recent call last):\nKeyError: 'items'")
        return 1
    if operation == "download":
        errors = [error for one in records if (error := download(one, flags, plan))]
        if errors:
            Path(flags["--save-errors"]).write_text(
                "2026-01-01-00-00-00\n" + "\n".join(errors) + "\n", encoding="utf-8"
            )
    Path(flags["--save-file"]).write_text(json.dumps(records), encoding="utf-8")
    return 0


def record(track_id, plan):
    artists, title = plan.get("songs", {}).get(track_id, [["Ann", "Bob"], f"Song {track_id}"])
    return {
        "song_id": track_id, "name": title, "artists": artists, "artist": artists[0],
        "album_name": "", "duration": 3.5, "explicit": False,
        "url": f"https://open.spotify.com/track/{track_id}",
    }  # fmt: skip


def download(record, flags, plan):
    """Leave the song's file, or return spotdl's line about why not."""
    time.sleep(plan.get("slow_s", 0))
    track_id = record["song_id"]
    third = plan.get("fail_third") and ord(track_id[-1]) % 3 == 0
    if third or track_id in plan.get("fail", []):
        return f"{record['url']} - LookupError: No results found for song: {record['name']}"
    path = Path(flags["--output"].format(**{"track-id": track_id, "output-ext": "mp3"}))
    content = Path(plan["clip"]).read_bytes() + b"TAG" + track_id.encode().ljust(125)
    path.write_bytes(b"rubbish" if track_id in plan.get("rubbish", []) else content)
    return None


if __name__ == "__main__":
    sys.exit(main())
