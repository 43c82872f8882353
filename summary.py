"""Show the network layer by layer, with parameters and multiply-adds per slice.

reads   model.pt for its architecture; where there is none, the default architecture is shown
writes  size and layers of the classifier and of the embedder to stdout

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
        "--model", type=Path, metavar="FILE", help="default: model.pt beside this script"
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
    """Print sizes and tables of both networks; return the exit status."""
    import torchinfo

    import model
    from songrec.errors import UsageError
    from songrec.network.checkpoint import load_model
    from songrec.sound.recipe import RECIPE

    path = args.model or cli.SHIPPED_MODEL
    if args.model and (args.default or args.classes):
        raise UsageError("--model decides architecture and classes: no --default, no --classes")
    if args.default or args.classes or not (args.model or path.exists()):
        architecture, n_classes = model.ARCHITECTURES["ResidualCNN"], args.classes or 8
        classifier = model.build(architecture, n_classes)
        print(f"{architecture['name']}, the default architecture, with {n_classes} classes")
    else:
        trained = load_model(path)
        architecture, n_classes = trained.architecture, len(trained.classes)
        classifier = trained.classifier
        print(
            f"{path}: {architecture['name']} with {n_classes} classes ({trained.label}), "
            f"made by version {trained.version}"
        )
    one_slice = (1, 1, RECIPE.n_mels, RECIPE.slice_frames)
    columns = ("output_size", "num_params", "mult_adds")
    networks = {"classifier": classifier, "embedder": classifier.embedder()}
    tables = {
        name: torchinfo.summary(
            network, input_size=one_slice, col_names=columns, depth=4, verbose=0, col_width=18
        )
        for name, network in networks.items()
    }
    for name, table in tables.items():
        print(
            f"{name}: {table.total_params:,} parameters, "
            f"{table.total_mult_adds / 1e6:.0f} million multiply-adds a slice"
        )
    for name, table in tables.items():
        # The totals stand above; torchinfo writes their unit as "Units.MEGABYTES".
        layers = str(table).rpartition("\nTotal params")[0]
        print(f"\n{name}\n{layers}")
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(summarise, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
