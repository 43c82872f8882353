"""A web server on this machine that can be as bad as the real ones."""

import contextlib
import http.server
import re
import threading
import time
from pathlib import Path

# What a child process needs so that nothing stands between it and this server.
ENV = {"NO_PROXY": "*", "no_proxy": "*"}


class Server(http.server.ThreadingHTTPServer):
    """Serves a folder, with Range; its attributes say how it misbehaves.

    Attributes
    ----------
    drops
        Byte positions in a file at which the line breaks, each once.
    statuses
        Statuses to answer with, each once, before anything else.
    always
        Status to answer always, or None.
    bytes_per_s
        How slowly to send; None for at once.
    hang_s
        How long to say nothing at all before each answer.
    ranges
        Whether Range is understood.
    requests
        (path, Range header) of all requests.
    """

    daemon_threads = True

    def __init__(self, folder: Path):
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.drops = []
        self.statuses = []
        self.always = None
        self.headers = {}
        self.bytes_per_s = None
        self.hang_s = 0.0
        self.ranges = True
        self.requests = []
        self.sent_bytes = 0
        self.lock = threading.Lock()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address):
        """Clients that leave are part of the tests."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        time.sleep(server.hang_s)
        with server.lock:
            server.requests.append((self.path, asked))
            status = server.always or (server.statuses.pop(0) if server.statuses else None)
        path = server.folder / self.path.lstrip("/")
        if status is None and not path.is_file():
            status = 404
        if status is not None:
            self.send_response(status)
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        status = path.stat()
        n_bytes = status.st_size
        etag = f'"{status.st_mtime_ns}-{n_bytes}"'
        start, stop = 0, n_bytes
        match = re.fullmatch(r"bytes=(\d*)-(\d*)", asked or "")
        if match and self.headers.get("If-Range", etag) == etag and server.ranges:
            first, last = match.groups()
            start = int(first) if first else max(0, n_bytes - int(last))
            stop = int(last) + 1 if first and last else n_bytes
            if start >= n_bytes:
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            stop = min(stop, n_bytes)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{n_bytes}")
        else:
            self.send_response(200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        if self.command != "HEAD":
            with path.open("rb") as content:
                content.seek(start)
                self.send_body(content, start, stop)

    def send_body(self, content, start, stop):
        server = self.server
        with server.lock:
            dropped = next((drop for drop in server.drops if start <= drop < stop), None)
            if dropped is not None:
                server.drops.remove(dropped)
        end = stop if dropped is None else dropped
        step = max(1, server.bytes_per_s // 50) if server.bytes_per_s else 1 << 16
        for position in range(start, end, step):
            block = content.read(min(end - position, step))
            self.wfile.write(block)
            server.sent_bytes += len(block)
            if server.bytes_per_s:
                time.sleep(len(block) / server.bytes_per_s)
        if dropped is not None:
            self.close_connection = True
            self.connection.close()


@contextlib.contextmanager
def serve(folder):
    """Yield a running `Server` of `folder`."""
    server = Server(folder)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
