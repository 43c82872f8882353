"""What the tests share: real audio made in milliseconds, and a way to run the real scripts."""

import os
import signal
import subprocess
import sys
import tempfile
import time

# Two test processes keep two cores busy; more threads would only wait for each other.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import numpy as np
import pytest
import soundfile
from warm_start import ROOT, WarmServer

# A shell's background job ignores Ctrl-C, and so would the scripts that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

SAMPLE_RATE_HZ = 22_050
# SONGREC_TESTS_COLD=1 starts a new Python for every run of a script, as where there is no Linux.
IS_COLD = bool(os.environ.get("SONGREC_TESTS_COLD")) or sys.platform != "linux"
SERVER = WarmServer()


def pytest_sessionfinish():
    SERVER.close()


def tune(seconds=4.0, seed=0, sample_rate_hz=SAMPLE_RATE_HZ):
    """Return a little tune [shape=(n,), dtype=float32]; the seed decides notes and timbre."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(seconds * sample_rate_hz)) / sample_rate_hz
    samples = 0.02 * rng.standard_normal(len(time_s))
    for note_hz in rng.uniform(110, 1800, size=4):
        beat_hz = rng.uniform(0.5, 4.0)
        envelope = 0.5 + 0.5 * np.sin(2 * np.pi * beat_hz * time_s)
        for harmonic in range(1, 1 + rng.integers(1, 6)):
            samples += 0.1 / harmonic * envelope * np.sin(2 * np.pi * note_hz * harmonic * time_s)
    return samples.astype(np.float32)


def write_tune(path, seconds=4.0, seed=0, sample_rate_hz=SAMPLE_RATE_HZ):
    """Write a tune in the format that the path's ending names; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = tune(seconds, seed, sample_rate_hz)
    if path.suffix.lower() in {".m4a", ".aac"}:
        wav = path.with_name(path.name + ".wav")
        soundfile.write(wav, samples, sample_rate_hz)
        command = ["ffmpeg", "-v", "error", "-y", "-i", str(wav), f"file:{path}"]
        subprocess.run(command, check=True)
        wav.unlink()
    elif path.suffix.lower() == ".opus":
        soundfile.write(path, samples, 24_000, format="OGG", subtype="OPUS")
    else:
        soundfile.write(path, samples, sample_rate_hz)
    return path


class Run:
    """A script at work; as `subprocess.Popen`, its output being kept in files."""

    def __init__(self, script, *args, cwd=ROOT, env=None):
        self._streams = [tempfile.TemporaryFile("w+b") for _ in range(2)]  # noqa: SIM115
        self.args = [str(ROOT / script), *map(str, args)]
        out, err = self._streams
        whole_env = {**os.environ, **(env or {})}
        # What Python itself reads from the environment it reads when it starts.
        if IS_COLD or any(name.startswith("PYTHON") for name in env or {}):
            command = [sys.executable, *self.args]
            self.process = subprocess.Popen(
                command, cwd=cwd, env=whole_env, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                start_new_session=True,
            )  # fmt: skip
        else:
            self.process = SERVER.start(self.args, cwd, whole_env, out, err)
        self.pid = self.process.pid
        self.poll = self.process.poll
        self.kill = self.process.kill
        self.send_signal = self.process.send_signal

    @property
    def returncode(self):
        return self.process.poll()

    def wait(self, timeout=60):
        return self.process.wait(timeout)

    def communicate(self, timeout=60):
        """Wait for the end; return all that was written to stdout and stderr."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        texts = []
        for stream in self._streams:
            stream.seek(0)
            texts.append(stream.read().decode())
            stream.close()
        return tuple(texts)


def run_script(script, *args, cwd=ROOT, env=None, timeout_s=300):
    """Run a root script as a user does; return the completed process with text output."""
    run = Run(script, *args, cwd=cwd, env=env)
    stdout, stderr = run.communicate(timeout_s)
    return subprocess.CompletedProcess(run.args, run.returncode, stdout, stderr)


def on_small_disk(folder, free_kib, words):
    """Run a script with `folder` on a file system that has only so much free.

    Returns
    -------
    subprocess.CompletedProcess
        Its stdout lists the files that are there in the end.
    """
    used_kib = sum((p.stat().st_size + 4095) // 4096 * 4 for p in folder.rglob("*") if p.is_file())
    source = folder.with_name(folder.name + "-source")
    folder.rename(source)
    folder.mkdir()
    script = (
        f'mount -t tmpfs -o size={used_kib + free_kib}k tmpfs "$0" && cp -a "$1/." "$0" && '
        'shift && "$@" >/dev/null; status=$?; find "$0" -type f; exit $status'
    )
    command = [sys.executable, str(ROOT / words[0]), *map(str, words[1:])]
    return subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script, folder, source, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def shell_on_small_disk(tmp_path, size_kib, script, env):
    """Run a shell script with a disk of its own at tmp_path/disk: "$DISK"; "$PYTHON" is Python."""
    disk = tmp_path / "disk"
    disk.mkdir()
    return subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c",
         f"mount -t tmpfs -o size={size_kib}k none '{disk}' || exit 1; {script}"],
        env={**os.environ, "PYTHON": sys.executable, "DISK": str(disk), **env},
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def wait_for(condition, timeout_s=60):
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "did not happen in time"
        time.sleep(0.01)


def tree(folder):
    """Return {relative path: bytes} of every file below `folder`."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def data(tmp_path):
    """Return an empty data folder."""
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """Return a short mp3."""
    return write_tune(tmp_path_factory.mktemp("clip") / "clip.mp3", seconds=3.5)


@pytest.fixture
def bin_folder(tmp_path):
    """Return a folder for made-up commands."""
    return tmp_path / "bin"


@pytest.fixture
def songs(data):
    """Return `song_db/songs` with four tunes of two artists."""
    folder = data / "song_db" / "songs"
    for number, name in enumerate(["Ann - One", "Ann - Two", "Bob - Three", "Bob - Four"]):
        write_tune(folder / f"{name}.wav", seed=number // 2 * 10 + number)
    return folder
