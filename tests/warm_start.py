"""Scripts in processes of their own that need not import everything again.

A server, one a test process, imports what the scripts import and nothing else. Asked to, it
forks a child that runs a script as `__main__`, with its own arguments, folder, environment,
output and session, and that ends, or is killed, as any other process.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_IMPORTS = [
    *("librosa.filters", "matplotlib.pyplot", "mutagen"),
    *(
        "pandas",
        "requests",
        "scipy.fft",
        "soundfile",
        "soxr",
        "threadpoolctl",
        "torch",
        "torchinfo",
    ),
]
_MAX_MESSAGE_BYTES = 1 << 17


class WarmServer:
    """Starts the server at the first need; `close` ends it."""

    def __init__(self):
        self._process = None

    def start(self, argv, cwd, env, out, err):
        """Run argv[0] with the open files `out` and `err`; return the `WarmProcess`."""
        if self._process is None:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                command = [sys.executable, __file__, str(theirs.fileno())]
                self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], cwd=ROOT)
        told, tell = os.pipe()
        request = json.dumps({"argv": argv, "cwd": str(cwd), "env": env}).encode()
        socket.send_fds(self._control, [request], [out.fileno(), err.fileno(), tell])
        os.close(tell)
        return WarmProcess(int(self._control.recv(64)), told)

    def close(self):
        if self._process is not None:
            self._control.close()
            self._process.wait()


class WarmProcess:
    """A child of the server, with the methods of `subprocess.Popen` that the tests use."""

    def __init__(self, pid, told):
        self.pid = pid
        self.returncode = None
        self._told = told

    def poll(self):
        return self._end_within(0)

    def wait(self, timeout=None):
        if self._end_within(timeout) is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def _end_within(self, timeout):
        if self.returncode is None and select.select([self._told], [], [], timeout)[0]:
            self.returncode = int(os.read(self._told, 64))
            os.close(self._told)
        return self.returncode


def serve(control):
    """Fork a child for each request until the other end closes."""
    sys.path[0] = str(ROOT)
    modules = sorted(path.stem for path in (ROOT / "songrec").glob("[a-z]*.py"))
    for name in [*_IMPORTS, "model", *(f"songrec.{module}" for module in modules)]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    # Ctrl-C is for pytest, which closes the other end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    tell_of = {}
    while True:
        ready, _, _ = select.select([control, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            _collect(tell_of)
        if control not in ready:
            continue
        message, fds, _, _ = socket.recv_fds(control, _MAX_MESSAGE_BYTES, 3)
        if not message:
            return
        out, err, tell = fds
        pid = os.fork()
        if pid == 0:
            for fd in [control.detach(), woken, wake, tell, *tell_of.values()]:
                os.close(fd)
            _run(json.loads(message), out, err)
        os.close(out)
        os.close(err)
        tell_of[pid] = tell
        control.send(str(pid).encode())


def _collect(tell_of):
    """Tell the status of every child that has ended."""
    while tell_of:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        os.write(tell_of[pid], str(os.waitstatus_to_exitcode(status)).encode())
        os.close(tell_of.pop(pid))


def _run(request, out, err):
    """Become the script, up to its end."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.setsid()
    for fd, target in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(fd, target)
        os.close(fd)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    status = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = end.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:  # noqa: BLE001  # as the interpreter does
        traceback.print_exc()
        status = 1
    # What an interpreter does at its end but for tidying up memory, which takes 0.3 s here.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
