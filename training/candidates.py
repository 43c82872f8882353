"""Compare a candidate for model.pt with the shipped one on every set there is to choose by.

reads   labelled libraries (song_db/ with slices and tracks.csv, as for evaluate.py -m Test), the
        candidate, the shipped model.pt
writes  one table of all sets to stdout, with paired differences and their intervals by bootstrap
        over artists, and one line a set to training/looks.csv: what was looked at counts as used

A candidate ships only if it is clearly worse on no set; sets by which nothing may be chosen (the
test songs) do not belong here. Both networks are heard with the timbre and the patterns that ship.

    python training/candidates.py new.pt --note "more music" --set valid=data:valid --set pop=pop/
"""

import argparse
import csv
import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from songrec import cli
from songrec.evaluation import comparison
from songrec.evaluation.comparison import Subject
from songrec.evaluation.labels import LabelledSongs
from songrec.evaluation.measures import MEASURES, Resamples, Scores, differences, summarise
from songrec.evaluation.tables import NAMES, table
from songrec.network.modelfile import model_digest
from songrec.recommend.ranking import RANKINGS
from songrec.recommend.recommender import Recommender
from songrec.store.database import Database

LOOKS = Path(__file__).with_name("looks.csv")
SPLITS = ("train", "valid", "test")
SHOWN = ("artist_hit10", "artist_mrr", "artist_mrr_other_album", "genre_p1", "genre_p10")


@dataclasses.dataclass(frozen=True)
class Pair:
    """The candidate and the shipped network on the same songs, by ranking."""

    labels: LabelledSongs
    candidate: Mapping[str, Scores]
    shipped: Mapping[str, Scores]


def named_set(text: str) -> tuple[str, Path, str | None]:
    """Read "name=folder" or "name=folder:split", for argparse."""
    name, folder = cli.named_file(text)
    path, _, split = str(folder).rpartition(":")
    return (name, Path(path), split) if path and split in SPLITS else (name, folder, None)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    parser.add_argument("candidate", type=Path)
    parser.add_argument(
        "--set",
        dest="sets",
        action="append",
        required=True,
        type=named_set,
        metavar="NAME=DATA[:SPLIT]",
        help="a library, or one split of it; may be repeated",
    )
    parser.add_argument("--note", required=True, help="what the candidate is, for looks.csv")
    parser.add_argument(
        "--looks", type=Path, default=LOOKS, metavar="FILE", help="default: training/looks.csv"
    )
    cli.add_model_flag(parser, "the network to compare with (default: model.pt)")
    cli.add_basic_flags(parser, with_data=False)
    return parser


def compare(candidate: Recommender, shipped: Recommender, split: str | None) -> Pair:
    """Score both networks on one library, or on a split of it as if it were the whole.

    Raises
    ------
    LabelError
        If the library has no labels.
    """
    subject = comparison.open_subject(shipped, split)
    library, database = subject.library, shipped.database
    heard = [candidate.embedder.describe_folder(database.slices_path(s.key)) for s in library.songs]
    vectors = np.concatenate([one.vectors for one in heard])
    anew = library.described_by(dataclasses.replace(library.descriptions, vectors=vectors))
    return Pair(
        subject.labels,
        comparison.score_systems(Subject(anew, subject.labels), RANKINGS),
        comparison.score_systems(subject, RANKINGS),
    )


def text_of(pairs: Mapping[str, Pair]) -> str:
    """Return the figures of all sets as one table, the differences as another, and the verdict."""
    figures, leads, worse = {}, {}, []
    for name, pair in pairs.items():
        resamples = Resamples.of(pair.labels.groups)
        for ranking, scores in pair.candidate.items():
            title = f"{name}, {ranking}"
            figures[f"{title}, candidate"] = _means(scores, resamples)
            figures[f"{title}, shipped"] = _means(pair.shipped[ranking], resamples)
            leads[title] = differences(scores, pair.shipped[ranking], resamples)
        worse += [
            f"{name}: {NAMES[measure]}"
            for measure, (_, _, high) in leads[f"{name}, {comparison.OWN}"].items()
            if high < 0.0
        ]
    verdict = "clearly worse: " + ("; ".join(worse) or "nothing")
    return "\n\n".join(
        [
            table(figures, [*SHOWN, "hub_skew"]),
            "The candidate minus the shipped network, query by query:",
            table(leads, SHOWN),
            f"`{comparison.OWN}` is {verdict}",
        ]
    )


def _means(scores: Scores, resamples: Resamples) -> dict[str, list[float]]:
    """Return the measures without intervals: those of the differences tell more."""
    figures = summarise(scores, resamples)
    return {name: [figure[0], np.nan, np.nan] for name, figure in figures.items()}


def note_looks(path: Path, note: str, digest: str, pairs: Mapping[str, Pair]) -> None:
    """Append what was seen of the candidate, one line a set."""
    columns = (*MEASURES, "hub_skew")
    is_new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        if is_new:
            writer.writerow(["note", "model", "set", *columns])
        for name, pair in pairs.items():
            figures = _means(pair.candidate[comparison.OWN], Resamples.of(pair.labels.groups))
            cells = (figures[column][0] for column in columns)
            told = ["" if np.isnan(cell) else f"{cell:.3f}" for cell in cells]
            writer.writerow([note, digest, name, *told])


def measure(args: argparse.Namespace) -> int:
    """Print the table and note the look; return the exit status."""
    cli.refuse_same_names([name for name, _, _ in args.sets])
    options = cli.options_from(args)
    pairs = {}
    for name, data, split in args.sets:
        database = Database.library(data)
        candidate = Recommender(database, args.candidate, options)
        pairs[name] = compare(candidate, Recommender(database, args.model, options), split)
    note_looks(args.looks, args.note, model_digest(args.candidate), pairs)
    print(text_of(pairs))
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the script; return the exit status."""
    return cli.run(measure, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
