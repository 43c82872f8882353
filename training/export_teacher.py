"""Write MSD-musicnn's variables to one ``.npz`` that :mod:`teacher` reads.

Needs tensorflow (any 2.x; a scratch environment) and the unpacked PyPI wheel
``musicnn`` 0.1.0 (``pip download --no-deps musicnn``; ISC licence).

    python training/export_teacher.py musicnn/MSD_musicnn teacher.npz
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="folder with .index and .data-00000-of-00001")
    parser.add_argument("out", type=Path)
    return parser


def main() -> None:
    """Read the TF1 checkpoint and save what is not the optimiser's."""
    import tensorflow as tf

    args = build_parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for ending in (".index", ".data-00000-of-00001"):
            shutil.copy(args.checkpoint / ending, Path(folder, "model" + ending))
        reader = tf.train.load_checkpoint(str(Path(folder, "model")))
        names = [n for n in reader.get_variable_to_shape_map() if "Adam" not in n]
        np.savez(args.out, **{n.replace("/", "__"): reader.get_tensor(n) for n in names})


if __name__ == "__main__":
    main()
