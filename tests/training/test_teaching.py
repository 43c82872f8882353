"""Changed sound, what the teachers hear in it, and a network taught by them."""

import csv

import numpy as np
import pytest
import soundfile
import torch

from tests.running import ROOT
from tests.training.test_own_model import teacher  # noqa: F401
from tests.tunes import tune, write_tune
from training import bands, fcn, fit_patterns, hear, learn, sound
from training.windows import read_windows

CHANNELS = [1, 64, 128, 128, 128, 64]


@pytest.fixture(scope="module")
def fcns(tmp_path_factory):
    """Two taggers that have learnt nothing, of the real ones' shape."""
    folder = tmp_path_factory.mktemp("fcns")
    for seed, name in enumerate(("msd_fcn", "jamendo_fcn")):
        rng = np.random.default_rng(seed)
        sizes = {"spec_bn": 1} | {f"layer{n}.bn": CHANNELS[n] for n in range(1, 6)}
        weights = {}
        for norm, size in sizes.items():
            for part, value in (("weight", 1), ("bias", 0), ("running_mean", 0)):
                weights[f"{norm}.{part}"] = np.full(size, float(value), np.float32)
            weights[f"{norm}.running_var"] = np.full(size, 900.0 if size == 1 else 1.0, np.float32)
        for number in range(1, 6):
            shape = (CHANNELS[number], CHANNELS[number - 1], 3, 3)
            kernel = rng.normal(0, (9 * shape[1]) ** -0.5, shape)
            weights[f"layer{number}.conv.weight"] = kernel.astype(np.float32)
            weights[f"layer{number}.conv.bias"] = np.zeros(shape[0], np.float32)
        weights["dense.weight"] = rng.normal(0, 0.1, (50, 64)).astype(np.float32)
        weights["dense.bias"] = np.zeros(50, np.float32)
        np.savez(folder / f"{name}.npz", **weights)
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A list of four tunes, one of them a voice alone, and a file that is none."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "broken.mp3").write_text("no music")
    with (folder / "clips.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "start_s", "label", "genre", "voice"])
        for seed in range(4):
            path = write_tune(folder / f"{seed}.wav", seconds=30.2, seed=seed)
            genre, voice = ("Rock", "Pop")[seed % 2], "alone" if seed == 3 else ""
            writer.writerow([path, 0.0, f"artist {seed}|", genre, voice])
        writer.writerow([folder / "broken.mp3", 0.0, "nobody|", "", ""])
    return folder / "clips.csv"


@pytest.fixture(scope="module")
def shards(teacher, fcns, clips, tmp_path_factory):  # noqa: F811
    """A folder of two small shards of changed sound, and one of the tunes as they are."""
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hear, "PIECES", 4)
        flags = [str(teacher), str(fcns), str(clips)]
        made = [str(folder / "made"), *flags, "--shards", "2", "--musicnn", "0.5"]
        assert hear.main(made) == 0
        assert hear.main([str(folder / "held"), *flags, "--plain"]) == 0
    return folder


@pytest.mark.parametrize("change", [
    sound.shuffled, sound.compressed, sound.limited, sound.distorted, sound.reverberated,
    sound.coded, sound.noisy, sound.recorded, sound.mastered,
])  # fmt: skip
def test_every_change_gives_as_much_other_sound(change):
    y = tune(4.0, seed=1)
    for seed in range(4):
        changed = change(y.copy(), np.random.default_rng(seed))
        assert changed.shape == y.shape and np.isfinite(changed).all()
    assert change in {sound.recorded, sound.mastered} or np.abs(changed - y).max() > 1e-3


def test_band_limits_silence_what_is_above_them_and_speed_moves_the_pitch():
    y = np.random.default_rng(0).normal(0, 0.1, 44_100).astype(np.float32)
    limited = sound.filtered(y, np.random.default_rng(0), bend=False, limit=True)
    power = np.abs(np.fft.rfft(limited)) ** 2
    assert power[9000 * 2 :].mean() < 0.01 * np.abs(np.fft.rfft(y)[9000 * 2 :]).mean() ** 2
    tone = np.sin(2 * np.pi * 1000 * np.arange(22_050) / 22_050).astype(np.float32)
    faster = sound.sped(tone, 1.25)
    assert abs(len(faster) - 22_050 / 1.25) < 3
    assert abs(np.abs(np.fft.rfft(faster)).argmax() * 22_050 / len(faster) - 1250) < 3
    assert len(sound.filled(tone, 30_000, np.random.default_rng(0))) == 30_000
    assert sound.level(np.zeros(100, np.float32)) is None


def test_a_tagger_hears_steps_of_time_and_agrees_with_itself_only(fcns, tmp_path, capsys):
    y = np.resize(tune(6.0, sample_rate_hz=16_000), fcn.SAMPLES)
    heard = fcn.Fcn(fcns / "msd_fcn.npz").hear(y)
    assert heard.l3.shape == (28, 128) and heard.l4.shape == (5, 128)
    assert heard.l5.shape == (64,) and heard.tags.shape == (50,)
    assert torch.isclose(heard.vector.norm(), torch.tensor(3**0.5))
    quick = fcn.Fcn(fcns / "msd_fcn.npz", torch.bfloat16).hear(y)
    assert torch.cosine_similarity(quick.vector, heard.vector, dim=0) > 0.999

    soundfile.write(tmp_path / "clip.wav", y, 16_000, subtype="FLOAT")
    right = {"emb": heard.l5, "tags": heard.tags, "l4": heard.l4.mean(0), "l34": heard.vector}
    for name, status in (("msd_fcn", 0), ("jamendo_fcn", 1)):
        check = {f"{name}/{kind}/0": vector.numpy() for kind, vector in right.items()}
        np.savez(tmp_path / "check.npz", clips=np.array(["clip.wav"]), **check)
        flags = [str(fcns / f"{name}.npz"), str(tmp_path / "check.npz"), str(tmp_path)]
        assert fcn.main(flags) == status
    assert "from the original's outputs" in capsys.readouterr().out


def test_shards_hold_changed_sound_with_targets_of_its_own(shards, clips, fcns):
    with np.load(shards / "made/00000.npz") as stored:
        assert stored["picture"].shape[:2] == (4, 128) and stored["l3"].shape == (4, 28, 128)
        assert stored["tags"].shape == (4, 50) and np.isfinite(stored["jamendo_tags"]).all()
        sources = {label for some in stored["sources"].tolist() for label in some.split("\n")}
        assert sources <= {f"artist {seed}|" for seed in range(4)}
    asked = []
    for path in (shards / "made").glob("*.npz"):
        with np.load(path) as stored:
            asked += np.isfinite(stored["dense"]).all(axis=(1, 2)).tolist()
    assert any(asked) and not all(asked)
    with np.load(shards / "held/00000.npz") as stored:
        assert stored["sources"].tolist() == [f"artist {seed}|" for seed in range(4)]
        window = hear.load_windows(clips)[0]
        heard = fcn.Fcn(fcns / "msd_fcn.npz").hear(
            fcn.soxr.resample(window.samples[: hear.SIZE], hear.RATE_HZ, fcn.RATE_HZ)
        )
        assert np.abs(stored["l5"][0] - heard.l5.numpy()).max() < 0.05


def test_the_same_number_gives_the_same_sound(clips):
    stock = hear.Stock([clips])
    assert len(stock.windows) == 4 and sum(window.is_voice for window in stock.windows) == 1
    made = []
    for _ in range(2):
        rng = np.random.default_rng(5)
        made.append(hear.mixture(stock.draw(rng), rng))
    assert made[0] is not None and (made[0] == made[1]).all()


def test_a_slice_is_taught_what_is_heard_while_it_lasts(shards):
    pieces = learn.Pieces(shards / "held")
    l3 = pieces.vectors["l3"][0]
    first, last = (pieces.slice_vectors(0, start)["l3"] for start in (0, 1126))
    share = np.array([learn.L3_S, learn.L3_S, 128 * learn.COLUMN_S - 2 * learn.L3_S])
    assert np.allclose(first, share @ l3[:3] / share.sum(), atol=1e-4)
    assert np.abs(last - l3[-3:].mean(0)).max() < np.abs(l3).max()
    between = pieces.slice_vectors(0, 48)["dense"]
    assert np.allclose(between, pieces.vectors["dense"][0][1:3].mean(0), atol=1e-3)


def test_likeness_is_judged_by_order_not_by_scale():
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(6, 6)))
    assert learn.disagreement(x, 3 * x + 2) < 1e-6
    assert learn.disagreement(x, -x) > 1.9
    assert learn.shared_neighbours(x, x, depth=2) == 1.0


def test_a_network_is_taught_and_goes_on(shards, clips, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(learn, "N_PIECES", 4)
    monkeypatch.setattr(learn, "CHECK_EVERY_S", 0.0)
    new = tmp_path / "new.pt"
    flags = [str(shards / "made"), str(shards / "held"), str(ROOT / "model.pt"), str(new)]
    assert learn.main([*flags, "--minutes", "0.002"]) == 0
    assert "held out: step 1" in capsys.readouterr().out
    # It goes on from the checkpoint, the time being over, and fits the classes.
    assert learn.main([*flags, "--minutes", "0", "--genres", str(clips)]) == 0
    assert new.exists() and "held out: step 1," in capsys.readouterr().out


def test_bands_write_songs_in_all_styles_that_there_are(tmp_path, monkeypatch, capsys):
    styles = tmp_path / "styles"
    styles.mkdir()
    (styles / "softrock.mma").write_text(
        "Begin Drum\nEnd\nDefGroove SoftRock\nDefGroove RockIntro\n"
    )
    (styles / "metronome.mma").write_text("DefGroove Metronome\n")
    assert bands.grooves(styles) == {"softrock": ["SoftRock"]}
    assert bands.chord("9:m", 3) == "Cm" and bands.chord("0:M7", 0) == "CM7"
    text = bands.song("softrock", ["SoftRock"], np.random.default_rng(1))
    assert "Groove SoftRock" in text and "Tempo" in text

    def play(_text, _folder, _soundfont):
        return tune(1.0)

    monkeypatch.setattr(bands, "play", play)
    assert bands.main([str(tmp_path / "out"), "2", "--styles", str(styles)]) == 0
    assert [window.label for window in read_windows(tmp_path / "out/windows.csv")] == [
        "band softrock"
    ] * 2


def test_a_projection_fitted_with_copies_finds_a_copy_again():
    rng = np.random.default_rng(0)
    songs = [[rng.normal(size=400)] for _ in range(330)]
    labels = [f"label {number // 3}" for number in range(330)]
    direction = 8 * rng.normal(size=400)
    copies = [[song[0] + direction * rng.uniform(0.5, 1.0)] for song in songs]
    found = []
    for some in (None, copies):
        projection = fit_patterns.fit(songs, labels, some)
        own, worse = (projection.apply(np.stack([song[0] for song in x])) for x in (songs, copies))
        own, worse = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (own, worse))
        found.append(((worse @ own.T).argmax(1) == np.arange(330)).mean())
    assert found[0] < 0.9 and found[1] > 0.95


def test_a_band_limited_copy_is_silent_above_its_limit():
    copy = fit_patterns.band_limited(np.full((2, 128, 128), 9, np.uint8))
    assert (copy[:, :29] == 0).all() and (copy[:, 29:] == 9).all()
