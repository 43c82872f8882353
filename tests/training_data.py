"""Songs with labels, and running load_training_data.py and -m Train on them."""

import csv
import zlib

import numpy as np
from PIL import Image

from tests.running import run_script

LIGHT = ["--architecture", "StridedCNN", "-j", "1"]


def write_tracks(data, rows):
    path = data / "train_db/tracks.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["song", "artist", "title", "album", "genre", "split"])
        writer.writerows(rows)


def write_slices(data, song, n_slices=2, grey=0):
    """Slices as the stage before leaves them; what is heard in them does not matter here."""
    folder = data / "train_db/slices" / song
    folder.mkdir(parents=True)
    rng = np.random.default_rng(zlib.crc32(song.encode()))
    for number in range(n_slices):
        picture = rng.integers(0, 60, (128, 128), dtype=np.uint8)
        picture[grey : grey + 40] += 150
        Image.fromarray(picture).save(folder / f"{number:04d}.png")


def load(data, *flags):
    return run_script("load_training_data.py", "--data", data, *flags)


def arrays(data):
    folder = data / "train_db/arrays"
    return {path.stem: np.load(path) for path in folder.glob("*.npy")}


def songs_of(data):
    with (data / "train_db/arrays/songs.csv").open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def train(data, out, *flags):
    return run_script("recommender.py", "-m", "Train", "--data", data, "--model", out, *flags)
