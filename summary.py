"""Show the network layer by layer: parameters and multiply-adds a slice.

reads   model.pt for its architecture, or the default architecture where there is none
writes  the tables of the classifier and of the embedder to stdout

    python summary.py
    python summary.py --default --classes 8
"""

import argparse
import sys
from pathlib import Path

from songrec import cli


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="default: model.pt, where there is one"
    )
    parser.add_argument(
        "--default", action="store_true", help="the default architecture, whatever model.pt holds"
    )
    parser.add_argument(
        "--classes",
        type=cli.positive_int,
        metavar="N",
        help="classes of the default architecture (default: 8)",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tracebacks of errors")
    return parser


def summarise(args: argparse.Namespace) -> int:
    """Print both tables; return the exit status."""
    import torchinfo

    import model
    from songrec.errors import UsageError
    from songrec.network.checkpoint import load_model
    from songrec.sound.recipe import RECIPE

    path = args.model or Path("model.pt")
    if args.model and (args.default or args.classes):
        raise UsageError("--model tells its architecture and classes: no --default, no --classes")
    if args.default or args.classes or not (args.model or path.exists()):
        architecture, n_classes = model.ARCHITECTURES["ResidualCNN"], args.classes or 8
        classifier = model.build(architecture, n_classes)
        origin = "default architecture"
    else:
        trained = load_model(path)
        architecture, n_classes = trained.architecture, len(trained.classes)
        classifier = trained.classifier
        origin = f"{path}, made by version {trained.version}"
    print(f"{architecture} ({origin}), {n_classes} classes")
    one_slice = (1, 1, RECIPE.n_mels, RECIPE.slice_frames)
    columns = ("input_size", "output_size", "num_params", "mult_adds")
    for name, network in (("classifier", classifier), ("embedder", classifier.embedder())):
        table = torchinfo.summary(
            network, input_size=one_slice, col_names=columns, depth=4, verbose=0
        )
        print(f"\n{name}\n{table}")
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(summarise, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
