"""Compare networks as classifiers, several seeds each, on the test songs of the arrays.

reads   train_db/arrays/ and the model.pt of every seed
writes  to stdout: songs right of each seed, the mean, and the differences of the means with 95 %
        intervals over seeds (Welch's t); which songs are tested varies too, and is not in them

    python benchmarks/classifiers.py --group residual residual*/model.pt --group strided s*.pt
"""

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np
from scipy import stats

from songrec import cli
from songrec.errors import UsageError
from songrec.store.database import Database


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    cli.add_data_flag(parser)
    parser.add_argument(
        "--group",
        action="append",
        nargs="+",
        required=True,
        metavar=("NAME", "FILE"),
        help="a name and the model.pt of each seed; once for every network",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="tracebacks of errors")
    return parser


def accuracies(database: Database, models: list[str]) -> np.ndarray:
    """Return the share of test songs that each model gets right [shape=(n_models,)]."""
    from songrec.learning.classification import classify_test_songs

    found = [classify_test_songs(database, Path(model), None) for model in models]
    return np.array([figures["accuracy_songs"] for figures in found])


def compare(args: argparse.Namespace) -> int:
    """Print the tables; return the exit status."""
    groups = {name: models for name, *models in args.group}
    if len(groups) < len(args.group) or any(len(models) < 2 for models in groups.values()):
        raise UsageError("every --group needs a name of its own and at least two models")
    shares = {name: accuracies(Database.training(args.data), m) for name, m in groups.items()}
    print("| network | songs right, seed by seed | mean | 95 % interval over seeds |")
    print("|---|---|---|---|")
    for name, share in shares.items():
        mean, error = share.mean(), stats.sem(share)
        low, high = stats.t.interval(0.95, len(share) - 1, loc=mean, scale=max(error, 1e-9))
        seeds = ", ".join(f"{one:.1%}" for one in share)
        print(f"| {name} | {seeds} | {mean:.1%} | {low:z.1%} to {high:.1%} |")
    for one, other in itertools.combinations(shares, 2):
        between = stats.ttest_ind(shares[one], shares[other], equal_var=False)
        low, high = between.confidence_interval(0.95)
        lead = shares[one].mean() - shares[other].mean()
        print(f"\n{one} minus {other}: {lead:+z.1%} (95 % interval {low:+z.1%} to {high:+z.1%})")
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    return cli.run(compare, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
