"""Asking recommender.py."""

import json
import sqlite3

from tests.running import run_script


def recommend(folder, *args, env=None):
    return run_script(
        "recommender.py",
        "-m",
        "Recommend",
        *args,
        "--data",
        folder / "data",
        "--model",
        folder / "model.pt",
        env=env,
    )


def answer_of(folder, *args):
    done = recommend(folder, *args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def vectors_of(folder, column="vector"):
    with sqlite3.connect(folder / "data/song_db/vectors.db") as connection:
        return dict(connection.execute(f"SELECT key, {column} FROM songs"))
