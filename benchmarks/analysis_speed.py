"""Time songs from file to what they are compared by: this tool, with each network, and peers.

One core, CPU seconds. musly and bliss are timed where requirements-peers.txt is installed,
MSD-musicnn where its weights are given (training/export_teacher.py).

    python benchmarks/analysis_speed.py
    python benchmarks/analysis_speed.py --songs ~/Music --n 40 --teacher teacher.npz
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.spec_speed import add_song_flags, cpu_s_per_song, songs_to_time
from songrec import cli
from songrec.evaluation.peers import is_installed
from songrec.sound.audio import load_audio
from songrec.store.database import Database, Song, Spec

System = Callable[[Path], object]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's flags."""
    parser = cli.Parser(__doc__, __file__)
    add_song_flags(parser)
    parser.add_argument("--teacher", type=Path, metavar="FILE", help="musicnn's weights")
    cli.add_model_flag(parser, "the network (default: model.pt)")
    return parser


def analysis_with(model_path: Path, database: Database) -> System:
    """Return all that this tool does to a song, with the network of a model.pt."""
    from songrec.network.embedder import Embedder
    from songrec.runs.prepare import write_spec
    from songrec.store.slices import write_slices

    embedder = Embedder(model_path, n_threads=1)
    numbers = itertools.count()

    def analyse(path: Path) -> None:
        song = Song(path.name, path.stem, f"{next(numbers):05d}", path)
        write_spec(database, song)
        write_slices(database, Spec(song.key, database.spec_path(song.key)))
        embedder.describe_folder(database.slices_path(song.key))

    return analyse


def write_residual_model(path: Path) -> None:
    """Write a model.pt with a ResidualCNN; untrained, it costs as much."""
    import model
    from songrec.network.checkpoint import TrainedModel, save_model

    architecture = model.ARCHITECTURES["ResidualCNN"]
    classes = [str(number) for number in range(8)]
    network = model.build(architecture, len(classes))
    save_model(path, TrainedModel(network, architecture, "genre", classes, {}, {}))


def peers(teacher_path: Path | None) -> dict[str, System]:
    """Return the peers that are installed."""
    found: dict[str, System] = {}
    if is_installed("musly"):
        import pymusly

        jukebox = pymusly.MuslyJukebox(method="timbre", decoder="none")
        found["musly"] = lambda path: jukebox.track_from_audiodata(load_audio(path)[0])
    if is_installed("bliss"):
        import bliss_audio

        found["bliss"] = lambda path: bliss_audio.Song(str(path)).analysis
    if teacher_path:
        from training.teacher import Teacher, vector_of

        teacher = Teacher(teacher_path)
        found["MSD-musicnn (in torch)"] = lambda path: vector_of(path, teacher)
    return found


def measure(args: argparse.Namespace) -> int:
    """Print the table; return the exit status."""
    import threadpoolctl
    import torch

    with tempfile.TemporaryDirectory(prefix="songrec-") as scratch:
        folder = Path(scratch)
        paths = songs_to_time(args.songs, args.n, folder)
        write_residual_model(folder / "residual.pt")
        database = Database.library(folder / "data")
        systems = {
            "this tool": analysis_with(args.model, database),
            "this tool with ResidualCNN": analysis_with(folder / "residual.pt", database),
            **peers(args.teacher),
        }
        torch.set_num_threads(1)
        with threadpoolctl.threadpool_limits(1):
            seconds = {name: cpu_s_per_song(work, paths) for name, work in systems.items()}
    print("| file to what it is compared by, one core | CPU ms a song | ratio |")
    print("|---|---|---|")
    own = seconds["this tool"]
    for name, taken_s in seconds.items():
        print(f"| {name} | {taken_s * 1000:.0f} | {taken_s / own:.2f} |")
    return cli.EXIT_OK


def main(argv: list[str] | None = None) -> int:
    """Run the benchmark; return the exit status."""
    return cli.run(measure, build_parser(), argv)


if __name__ == "__main__":
    sys.exit(main())
