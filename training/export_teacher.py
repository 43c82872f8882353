"""Write MSD-musicnn's variables to one ``.npz`` that :mod:`teacher` reads.

Needs tensorflow (any 2.x; a scratch environment) and the unpacked PyPI wheel
``musicnn`` 0.1.0 (``pip download --no-deps musicnn``; ISC licence).

    python training/export_teacher.py musicnn/MSD_musicnn teacher.npz
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from songrec import cli
from songrec.advice import Advice
from songrec.errors import TrainingError


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("checkpoint", type=Path, help="folder with .index and .data-00000-of-00001")
    parser.add_argument("out", type=Path)
    return parser


def export(args: argparse.Namespace) -> int:
    """Save the checkpoint's variables but for the optimiser's; return the exit status."""
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        install = Advice("pip", ("install", "tensorflow-cpu"))
        raise TrainingError("tensorflow is not installed", install) from error

    with tempfile.TemporaryDirectory() as folder:
        for ending in (".index", ".data-00000-of-00001"):
            shutil.copy(args.checkpoint / ending, Path(folder, "model" + ending))
        reader = tf.train.load_checkpoint(str(Path(folder, "model")))
        names = [n for n in reader.get_variable_to_shape_map() if "Adam" not in n]
        np.savez(args.out, **{n.replace("/", "__"): reader.get_tensor(n) for n in names})
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(export, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
