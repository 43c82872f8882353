"""The scripts of training/, from windows of music to a model.pt and a projection that answer."""

import csv
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from songrec.errors import LabelError
from tests.running import run_script
from tests.tunes import write_tune

# Of MSD-musicnn: kernels of its convolutions, and how many channels each gives.
KERNELS = [
    (7, 38, 1, 204), (7, 67, 1, 204), (128, 1, 1, 51), (64, 1, 1, 51), (32, 1, 1, 51),
    (7, 561, 1, 64), (7, 64, 1, 64), (7, 64, 1, 64),
]  # fmt: skip


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """A teacher that has learnt nothing, of the real one's shape."""
    rng = np.random.default_rng(0)
    variables = {}
    for number, shape in enumerate(KERNELS):
        name = f"conv2d_{number}" if number else "conv2d"
        variables[f"{name}__kernel"] = rng.normal(0, 0.05, shape)
        variables[f"{name}__bias"] = np.zeros(shape[3])
    for name, shape in (("dense", (1506, 200)), ("dense_1", (200, 50))):
        variables[f"{name}__kernel"] = rng.normal(0, 0.05, shape)
        variables[f"{name}__bias"] = np.zeros(shape[1])
    sizes = [1, *(shape[3] for shape in KERNELS), 1506, 200]
    for number, size in enumerate(sizes):
        name = f"batch_normalization_{number}" if number else "batch_normalization"
        for part, value in (("gamma", 1), ("beta", 0), ("moving_mean", 0), ("moving_variance", 1)):
            variables[f"{name}__{part}"] = np.full(size, float(value))
    path = tmp_path_factory.mktemp("teacher") / "teacher.npz"
    np.savez(path, **{name: value.astype(np.float32) for name, value in variables.items()})
    return path


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """A list of six windows by three artists, and a file that is none."""
    folder = tmp_path_factory.mktemp("windows")
    rows = []
    for seed in range(6):
        path = write_tune(folder / f"{seed}.wav", seconds=14, seed=seed)
        rows.append((path, 1.0, f"Artist {seed // 2}|Album", ("Folk", "Rock")[seed % 2]))
    (folder / "broken.mp3").write_text("no music")
    rows.append((folder / "broken.mp3", 0.0, "Artist 0|Album", ""))
    with (folder / "windows.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "start_s", "label", "genre"])
        writer.writerows(rows)
    return folder / "windows.csv"


@pytest.fixture
def archive(tmp_path):
    """A PATH whose apt-get knows one package: a tune, and another in a zip."""
    inside = tmp_path / "package"
    write_tune(inside / "usr/share/tune.wav", seconds=40, seed=1)
    write_tune(tmp_path / "hidden.wav", seconds=32, seed=2)
    with zipfile.ZipFile(inside / "usr/share/public.zip", "w") as file:
        file.write(tmp_path / "hidden.wav", "music/hidden.wav")
    (inside / "DEBIAN").mkdir()
    (inside / "DEBIAN/control").write_text(
        "Package: tunes\nVersion: 1\nArchitecture: all\nMaintainer: M <m@example.org>\n"
        "Description: tunes\n"
    )
    made = tmp_path / "tunes_1_all.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--build", inside, made], check=True, capture_output=True)
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "apt-get").write_text(
        f'#!/bin/sh\n[ "$3" = tunes ] && exec cp {made} .\necho "E: no package $3" >&2; exit 100\n'
    )
    (commands / "apt-get").chmod(0o755)
    return {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}


def test_listed_windows_are_cut_from_packages_and_what_is_missing_is_told(archive, tmp_path):
    (tmp_path / "list.csv").write_text(
        "package,file,start_s,label\n"
        "nowhere,a.ogg,0,nowhere\n"
        "tunes,share/tune.wav,5.5,A|B\n"
        "tunes,music/hidden.wav,0,tunes\n"
        "tunes,share/other.wav,0,tunes\n"
    )
    flags = [tmp_path / "list.csv", tmp_path / "open", "-j", "2"]
    done = run_script("training/open_music.py", *flags, env=archive)
    assert done.returncode == 1
    assert "could not download nowhere: E: no package nowhere" in done.stderr
    assert "tunes has no file share/other.wav" in done.stderr
    with (tmp_path / "open/windows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["label"], row["start_s"]) for row in rows] == [("A|B", "0.0"), ("tunes", "0.0")]
    heard, rate_hz = soundfile.read(rows[0]["path"])
    assert (rate_hz, heard.ndim, len(heard)) == (22050, 1, 30 * 22050)
    whole, whole_rate_hz = soundfile.read(tmp_path / "package/usr/share/tune.wav", always_2d=True)
    begin = whole[int(5.5 * whole_rate_hz) :][: 30 * whole_rate_hz].mean(axis=1)
    assert np.corrcoef(soxr.resample(begin, whole_rate_hz, 22050), heard)[0, 1] > 0.99


@pytest.mark.slow
def test_windows_become_pieces_and_pieces_a_model_that_answers(teacher, windows, tmp_path):
    pieces = tmp_path / "pieces.npz"
    made = run_script("training/prepare.py", windows, teacher, pieces, "--varied", "2")
    assert made.returncode == 0, made.stderr
    assert "left out" in made.stderr and "broken.mp3" in made.stderr
    with np.load(pieces) as stored:
        assert sorted(stored["label"]) == [
            "",
            "",
            *sorted(f"Artist {i // 2}|Album" for i in range(6)),
        ]
        assert stored["columns"].sum() == stored["pictures"].shape[1]
        assert stored["dense"].shape == (stored["places"].sum(), 200)
        labels, sources = stored["label"].tolist(), stored["sources"].tolist()
        assert all(source == label for label, source in zip(labels, sources, strict=True) if label)
        mixed = [sources[piece].split("\n") for piece, label in enumerate(labels) if not label]
        assert all(1 <= len(some) <= 2 and set(some) <= set(labels) - {""} for some in mixed)

    trained = run_script("training/distil.py", pieces, tmp_path / "model.pt", "--steps", "2")
    assert trained.returncode == 0, trained.stderr
    for seed in range(4):
        write_tune(tmp_path / f"data/song_db/songs/A - {seed}.wav", seconds=7, seed=seed)
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", tmp_path / "data")
    flags = ["--data", tmp_path / "data", "--model", tmp_path / "model.pt"]
    answer = run_script("recommender.py", "-m", "Recommend", "A - 0", "2", *flags)
    assert answer.returncode == 0 and len(answer.stdout.splitlines()) == 2, answer.stderr


def test_pieces_without_a_genre_get_the_one_that_the_teacher_hears():
    from training.distil import genres_by_teacher

    rng = np.random.default_rng(0)
    hears = rng.normal(size=(2, 200))  # what makes the two genres
    kinds = [0, 1] * 10
    dense = [hears[kind] + rng.normal(0, 0.5, (20, 200)) for kind in kinds]
    known = np.array([*kinds[:12], *[-1] * 8])
    found = genres_by_teacher(dense, known)
    for kind, genre, probabilities in zip(kinds, known, found, strict=True):
        assert probabilities.shape == (20, 2) and np.allclose(probabilities.sum(axis=1), 1)
        assert (probabilities.argmax(axis=1) == kind).all()
        assert (probabilities.max(axis=1) == 1).all() == (genre >= 0)


def test_a_fitted_projection_turns_down_what_differs_within_a_label(windows, tmp_path):
    from songrec.sound.patterns import N_DIMS
    from training.fit_patterns import ROUND_SHARE, fit

    rng = np.random.default_rng(0)
    labels = [f"label {number % 100}" for number in range(400)]
    tells, within = rng.normal(size=(100, 6)), rng.normal(size=(400, 6))
    songs = []
    for number in range(400):
        pattern = rng.normal(0, 0.1, 320)
        pattern[:6] += tells[number % 100]
        pattern[6:12] += 3 * within[number]
        songs.append([pattern[:160], pattern[160:]])
    projection = fit(songs, labels)
    assert projection.basis.shape == (320, N_DIMS)
    plain = np.stack([np.concatenate(song) for song in songs])
    projected = projection.apply(plain)
    assert np.abs(projected.mean(axis=0)).max() < 0.05
    rest = (
        projected
        - np.stack([projected[np.arange(400) % 100 == n].mean(axis=0) for n in range(100)])[
            np.arange(400) % 100
        ]
    )
    within = rest.T @ rest / 300
    # Round up to the share of roundness that was mixed in: none is louder than it, none silent.
    strength = np.linalg.eigvalsh(within)
    assert strength[-1] < 1 / (1 - ROUND_SHARE) + 0.05 and strength[N_DIMS // 2] > 0.02
    assert abs(within - np.diag(np.diag(within))).max() < 0.6
    assert share_of_neighbours(projected, labels) > 0.9
    assert share_of_neighbours(plain - plain.mean(axis=0), labels) < 0.5

    done = run_script("training/fit_patterns.py", windows, tmp_path / "patterns.npz")
    assert done.returncode == 1 and "6 songs are too few" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "patterns.npz").exists()


def share_of_neighbours(vectors, labels):
    """Return for how many vectors the nearest has the same label."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -9)
    return np.mean([labels[row] == labels[near] for row, near in enumerate(similarity.argmax(1))])


def test_labels_of_one_song_each_teach_nothing():
    from training.fit_patterns import within_covariance

    with pytest.raises(LabelError, match="no label has two songs"):
        within_covariance(np.eye(3), ["a", "b", ""])


def write_pieces(path, sources):
    """Write pieces as prepare.py does: one source, a label's; several, a varied piece."""
    rng = np.random.default_rng(0)
    columns, places = np.full(len(sources), 160), np.full(len(sources), 3)
    labels = ["" if "\n" in some else some for some in sources]
    np.savez(
        path,
        label=np.array(labels),
        genre=np.array([("Folk", "Rock")[n % 2] if x else "" for n, x in enumerate(labels)]),
        sources=np.array(sources),
        pictures=rng.integers(0, 256, (128, columns.sum()), dtype=np.uint8),
        columns=columns,
        dense=rng.normal(size=(places.sum(), 200)).astype(np.float16),
        places=places,
    )


def test_nothing_is_learnt_from_an_artist_left_out_not_even_in_a_mixture(tmp_path):
    from training.distil import Songs

    sources = ["A|one", "A|two", "B|one", "B|one\nA|two", "B|one\nC|one", "C|one", "C|one\nA|one"]
    write_pieces(tmp_path / "pieces.npz", sources)
    everything = Songs(tmp_path / "pieces.npz")
    assert everything.label_names == ["A|one", "A|two", "B|one", "C|one"]
    rest = Songs(tmp_path / "pieces.npz", without={"A|one", "A|two"})
    assert rest.label_names == ["B|one", "C|one"]
    kept = [2, 4, 5]
    assert len(rest.pictures) == len(rest.dense) == len(rest.weight) == len(kept)
    for picture, piece in zip(rest.pictures, kept, strict=True):
        assert (picture == everything.pictures[piece]).all()
    assert rest.label.tolist() == [0, -1, 1]


def test_pieces_that_do_not_tell_their_sources_still_train_but_not_without(tmp_path):
    from training.distil import Songs

    write_pieces(tmp_path / "pieces.npz", ["A|one", "B|one"])
    with np.load(tmp_path / "pieces.npz") as stored:
        older = {name: stored[name] for name in stored.files if name != "sources"}
    np.savez(tmp_path / "older.npz", **older)
    assert len(Songs(tmp_path / "older.npz").pictures) == 2
    with pytest.raises(LabelError, match="older prepare"):
        Songs(tmp_path / "older.npz", without={"A|one"})


def test_labels_that_share_an_artist_or_album_are_in_one_fold():
    from training.folds import dealt, related

    number = related(
        ["Max & Chris|", "chris|Solo", "Màx|", "Other|Solo", "Else|Own", "tunes-data", "Third|"]
    )
    assert len({number[x] for x in ("Max & Chris|", "chris|Solo", "Màx|", "Other|Solo")}) == 1
    assert len(set(number.values())) == 4
    groups = [count % 20 for count in range(100)]
    genres = [("Folk", "Rock", "")[group % 3] for group in groups]
    fold_of = dealt(groups, genres, 4).tolist()
    assert set(fold_of) == {0, 1, 2, 3}
    assert len(set(zip(groups, fold_of, strict=True))) == 20


@pytest.mark.slow
def test_too_short_windows_end_with_a_word(teacher, tmp_path):
    write_tune(tmp_path / "short.wav", seconds=6, seed=0)
    (tmp_path / "list.csv").write_text(f"path,start_s,label,genre\n{tmp_path}/short.wav,0,A|B,\n")
    flags = [tmp_path / "list.csv", teacher, tmp_path / "pieces.npz", "--varied", "1"]
    done = run_script("training/prepare.py", *flags)
    assert done.returncode == 1 and "--varied 0" in done.stderr
    assert not (tmp_path / "pieces.npz").exists()


@pytest.mark.slow
def test_folds_are_trained_once_and_answer_for_all_their_songs(
    windows, tmp_path, monkeypatch, capsys
):
    """Three folds of two songs; the projection has one component, not three hundred."""
    from training import fit_patterns, folds
    from training.folds import main

    monkeypatch.setattr(fit_patterns, "N_DIMS", 1)
    monkeypatch.setattr(folds, "N_DIMS", 1)
    with windows.open(newline="") as file:
        rows = list(csv.DictReader(file))[:6]
    clips = tmp_path / "clips.csv"
    with clips.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row in rows:
            artist = row["label"].split("|")[0]
            row["label"] = f"{artist}|Album of {artist}"
            writer.writerow(row)
    write_pieces(tmp_path / "pieces.npz", [row["label"] for row in rows] * 2)
    songs = tmp_path / "data/song_db/songs"
    songs.mkdir(parents=True)
    for row in rows:
        shutil.copy(row["path"], songs)
    with (songs.parent / "tracks.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["song", "artist", "album", "genre"])
        for row in rows:
            writer.writerow([Path(row["path"]).stem, *row["label"].split("|"), row["genre"]])
    for script in ("spotify_specs.py", "spotify_slices.py"):
        run_script(script, "-m", "Test", "--data", tmp_path / "data")

    flags = [tmp_path / "pieces.npz", clips, tmp_path / "folds", "--folds", 3, "-q", "--steps", 1]
    command = [str(flag) for flag in [*flags, "--data", tmp_path / "data", "-j", 1]]
    assert main(command) == 0
    told = capsys.readouterr().out
    assert told.startswith("6 songs of 3 named artists")
    systems = {line.split()[1] for line in told.splitlines() if line.startswith("| ")}
    assert systems >= {"full", "cosine", "random"}
    networks = {path: path.stat().st_mtime_ns for path in (tmp_path / "folds").iterdir()}
    assert len(networks) == 3
    # Of two folds one holds one artist, as before, the other two, whom no network there is without.
    assert main([*command, "--folds", "2"]) == 0
    assert capsys.readouterr().out.startswith("6 songs of 3 named artists")
    now = {path: path.stat().st_mtime_ns for path in (tmp_path / "folds").iterdir()}
    assert len(now) == 4 and now.items() >= networks.items()

    for extra, status, error in (
        (["--folds", "7"], 2, "2 to 3 are possible"),
        (["--folds", "1"], 2, "2 to 3 are possible"),
        (["--vectors", f"full={clips}"], 2, "'full' is taken"),
        (["--vectors", f"other={clips}"], 1, "holds no arrays"),
    ):
        assert main([*command, *extra]) == status
        assert error in capsys.readouterr().err
    assert len(list((tmp_path / "folds").iterdir())) == 4
