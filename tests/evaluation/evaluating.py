"""Running evaluate.py, and the figures worked out by hand."""

from tests.running import run_script

# What a system that the tests make up must score in the library of `labelled`, worked out by
# hand: four songs of each of six artists, two of each album, eight of each genre.
BY_HAND = {
    "genre_p1": 1.0,
    "genre_p5": 4 / 5,
    "genre_p10": 4 / 10,
    "artist_hit10": 1.0,
    "artist_mrr": 1.0,
    "artist_hit10_other_album": 1.0,
    "artist_mrr_other_album": 1.0,
}


def evaluate(folder, *args, mode="Test", env=None):
    return run_script(
        "evaluate.py",
        *("-m", mode, "--data", folder / "data", "--model", folder / "model.pt"),
        *args,
        env=env,
    )
