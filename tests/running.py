"""Running the real scripts: in this process, and where that is not enough in one of their own."""

import contextlib
import functools
import importlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).resolve().parent.parent


class OutOfTimeError(BaseException):
    """A script takes too long; no script may catch this by accident."""


def run_script(script, *args, cwd=ROOT, env=None, timeout_s=300):
    """Call the `main` of a script in this process, as if a user had typed its command.

    The working directory, the environment, the signal handlers, the warnings, the threads of
    torch and the streams are put back afterwards. What the script's own child processes write
    is captured too.

    Parameters
    ----------
    script : str
        Path below the repository's root.
    env : dict of str to str, optional
        Added to the environment. With a variable that Python reads when it starts, the script
        runs in a process of its own.

    Returns
    -------
    subprocess.CompletedProcess
        With the text of both streams.
    """
    if any(name.startswith("PYTHON") for name in env or {}):
        run = Run(script, *args, cwd=cwd, env=env)
        stdout, stderr = run.communicate(timeout_s)
        return subprocess.CompletedProcess(run.args, run.returncode, stdout, stderr)
    module = importlib.import_module(script.removesuffix(".py").replace("/", "."))
    argv = [str(arg) for arg in args]
    with captured() as texts, as_started(script, argv, cwd, env), time_limit(timeout_s):
        status = exit_status(module.main, argv)
    return subprocess.CompletedProcess([script, *argv], status, *texts)


def exit_status(main, argv):
    """Return the exit status that a process running `main` would end with."""
    try:
        return main(argv) or 0
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
    except Exception:  # noqa: BLE001  # as the interpreter does
        traceback.print_exc()
    return 1


@contextlib.contextmanager
def captured():
    """Yield a list that holds the text of stdout and stderr after the block."""
    texts = []
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+b")) for _ in range(2)]
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        kept = [os.dup(fd) for fd in (1, 2)]
        try:
            for fd, file in zip((1, 2), files, strict=True):
                os.dup2(file.fileno(), fd)
            with (
                open(1, "w", encoding="utf-8", closefd=False) as out,
                open(2, "w", encoding="utf-8", buffering=1, closefd=False) as err,
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                yield texts
        finally:
            for fd, copy in zip((1, 2), kept, strict=True):
                os.dup2(copy, fd)
                os.close(copy)
        for file in files:
            file.seek(0)
            texts.append(file.read().decode().replace("\r\n", "\n"))


@contextlib.contextmanager
def as_started(script, argv, cwd, env):
    """Give a script the surroundings of a new process; put back what it leaves behind."""
    here = Path.cwd()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    os.chdir(cwd)
    try:
        with (
            mock.patch.dict(os.environ, env or {}),
            mock.patch.object(sys, "argv", [str(ROOT / script), *argv]),
            warnings.catch_warnings(),
        ):
            # As Python itself starts; pytest would keep the warnings to itself.
            warnings.showwarning = show_warning
            warnings.simplefilter("default")
            for category in (DeprecationWarning, ImportWarning, ResourceWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        os.chdir(here)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)


def show_warning(*details):
    print(warnings.formatwarning(*details[:4]), end="", file=sys.stderr)


@contextlib.contextmanager
def time_limit(seconds):
    def stop(*_):
        raise OutOfTimeError(f"the script took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Run(subprocess.Popen):
    """A script in a process of its own, for signals, kills, and what Python reads at its start."""

    def __init__(self, script, *args, cwd=ROOT, env=None):
        self._out, self._err = (tempfile.TemporaryFile("w+b") for _ in range(2))  # noqa: SIM115
        super().__init__(
            [sys.executable, str(ROOT / script), *map(str, args)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            start_new_session=True,
        )

    def communicate(self, timeout=60):
        """Wait for the end; return all that was written to stdout and stderr."""
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        texts = []
        for file in (self._out, self._err):
            with file:
                file.seek(0)
                texts.append(file.read().decode())
        return tuple(texts)


@functools.cache
def can_mount():
    """Tell whether this user may have a file system of a size of its own."""
    command = ["unshare", "--mount", "--map-root-user", "mount", "-t", "tmpfs", "none", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def on_small_disk(folder, free_kib, words):
    """Run a script with `folder` on a file system that has only so much free.

    Returns
    -------
    subprocess.CompletedProcess
        Its stdout lists the files that are there in the end.
    """
    if not can_mount():
        pytest.skip("no file system of its own can be mounted")
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
    if not can_mount():
        pytest.skip("no file system of its own can be mounted")
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
