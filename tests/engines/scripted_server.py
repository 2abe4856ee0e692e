"""A small server that speaks the completions protocol, and fails as its script says."""

import json
import socket
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTEXT = 20
GARBLED = "garbled"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        script = self.server.script
        if script.key and self.headers["Authorization"] != f"Bearer {script.key}":
            self._reply(401, {"error": "no key"})
        elif self.path == "/v1/models":
            self._reply(200, {"data": [{"id": script.model, "max_model_len": script.context}]})
        elif self.path == "/version" and script.version:
            self._reply(200, {"version": script.version})
        else:
            # It calls itself healthy whatever happens.
            self._reply(200 if self.path == "/health" else 404, {})

    def do_POST(self):
        script = self.server.script
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if script.key and self.headers["Authorization"] != f"Bearer {script.key}":
            self._reply(401, {"error": "no key"})
            return
        with script.lock:
            script.asked.append(asked)
            script.now += 1
            script.most = max(script.most, script.now)
            fails = script.failures.pop(0) if script.failures else script.always
            fails = 500 if asked["prompt"] == script.poison else fails
        time.sleep(script.pause)
        with script.lock:
            script.now -= 1
        length = len(asked["prompt"].split())
        if self.path == "/tokenize":
            self._reply(200, {"count": length, "max_model_len": script.context})
        elif fails == GARBLED:
            self._reply(200, {"choices": []})
        elif fails is not None:
            self._reply(fails, {"message": "try later"}, script.retry_after)
        elif length + asked["max_tokens"] > script.context:
            self._reply(400, {"message": f"This model's maximum context length is {script.context} tokens."})
        else:
            self._reply(200, self._completion(asked))

    def _completion(self, asked):
        reason = {"cut": "length", "loops": "repetition"}.get(asked["prompt"], "stop")
        choice = {"text": f"{asked['prompt']} {asked.get('seed')}", "finish_reason": reason}
        if "logprobs" in asked and self.server.script.version:
            choice["logprobs"] = {"token_logprobs": [-0.5, -0.25], "tokens": ["a", "b"]}
        return {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}}

    def _reply(self, status, content, retry_after=None):
        raw = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        if retry_after:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def __init__(self, port, script):
        self.script, self.open = script, []
        super().__init__(("127.0.0.1", port), Handler)

    def get_request(self):
        connection, address = super().get_request()
        self.open.append(connection)
        return connection, address

    def handle_error(self, *_):
        """A client that went away is no news."""


class ScriptedServer:
    """One server on a port of its own, which it keeps over `stop` and `start`."""

    def __init__(
        self,
        failures=(),
        *,
        model="strong",
        pause=0.0,
        retry_after=None,
        version="",
        context=CONTEXT,
        poison=None,
        key=None,
    ):
        self.key = key
        self.failures, self.always, self.pause, self.retry_after = list(failures), None, pause, retry_after
        self.model, self.version, self.context, self.poison = model, version, context, poison
        self.lock, self.asked, self.now, self.most, self.port = threading.Lock(), [], 0, 0, 0
        self.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self):
        self._server = Server(self.port, self)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self, *, in_silence=False):
        """End, as a process does: connections break; or `in_silence`, as a machine without power: they do not."""
        self._server.shutdown()
        self._server.server_close()
        for connection in [] if in_silence else self._server.open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
