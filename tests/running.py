"""Running the real scripts as a user does."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.warm_start import WarmServer

ROOT = Path(__file__).resolve().parent.parent
# SONGREC_TESTS_COLD=1 starts a new Python for every run of a script, as where there is no Linux.
IS_COLD = bool(os.environ.get("SONGREC_TESTS_COLD")) or sys.platform != "linux"
SERVER = WarmServer()


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
