"""A real file server on this machine: with ranges or without, that breaks off in the middle, or stalls."""

import hashlib
import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from tests.waiting import LIMIT_SECONDS

REVISION = "0" * 40


class Request(NamedTuple):
    method: str
    path: str
    range: str | None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self._serve()

    def do_GET(self):
        self._serve()

    def _serve(self):
        server, path = self.server, self.path.split("?")[0]
        server.requests.append(Request(self.command, self.path, self.headers["Range"]))
        server.tokens.append(self.headers["Authorization"])
        if server.refusals:
            self._reply(server.refusals.pop(0), b"no")
        elif path in server.files:
            self._send_file(server.files[path], server.headers.get(path, {}))
        else:
            self._reply(404, b"no such file", server.missing)

    def _send_file(self, content, headers):
        server, start, status = self.server, 0, 200
        headers = {"ETag": f'"{hashlib.md5(content).hexdigest()}"'} | headers
        asked = self.headers["Range"] if server.ranges else None
        if asked and self.headers["If-Range"] in (None, headers["ETag"]):
            start, status = int(asked.removeprefix("bytes=").split("-")[0]), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._reply(status, content[start:], headers, start)

    def _reply(self, status, content, headers=None, start=0):
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | (headers or {})).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = self.server.cuts.pop(0) if self.server.cuts and status < 300 and start + len(content) > 1000 else None
        if cut is None:
            self.wfile.write(content)
            return
        self.wfile.write(content[: cut - start])
        self.wfile.flush()
        # A client drops what it has not read when the connection breaks: let it read.
        time.sleep(0.3)
        if self.server.replaces:
            self.server.files |= self.server.replaces
        if self.server.stalls:
            self.server.stalled.set()
            self.server.released.wait(LIMIT_SECONDS)
        self.close_connection = True

    def log_message(self, *_):
        pass


class FileServer(ThreadingHTTPServer):
    """`files` by path, with further `headers`; every `cuts` ends one answer at that byte of the file, after which the
    files in `replaces` take their places."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.headers, self.missing = {}, {}, {}
        self.cuts, self.refusals, self.requests, self.tokens = [], [], [], []
        self.replaces = {}
        self.ranges, self.stalls = True, False
        self.stalled, self.released = threading.Event(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Nothing: clients that hang up are what is tested."""

    def gets(self):
        return [request for request in self.requests if request.method == "GET"]

    def put_data_set(self, files, large=()):
        """Speak as the hub does of one data set, `some/set`, at REVISION: its info, its tree, its files."""
        siblings, tree = [], []
        for name, content in files.items():
            sha256 = hashlib.sha256(content).hexdigest()
            blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            sibling = {"rfilename": name, "size": len(content), "blobId": blob}
            entry = {"type": "file", "path": name, "size": len(content), "oid": blob}
            if name in large:
                sibling["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 130}
                entry["lfs"] = {"oid": sha256, "size": len(content), "pointerSize": 130}
            siblings.append(sibling)
            tree.append(entry)
            path = f"/datasets/some/set/resolve/{REVISION}/{name}"
            self.files[path] = content
            self.headers[path] = {"ETag": f'"{sha256 if name in large else blob}"', "X-Repo-Commit": REVISION}
        info = {"id": "some/set", "sha": REVISION, "siblings": siblings}
        self.files[f"/api/datasets/some/set/revision/{REVISION}"] = json.dumps(info).encode()
        self.files[f"/api/datasets/some/set/tree/{REVISION}"] = json.dumps(tree).encode()


@contextmanager
def serving():
    server = FileServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
