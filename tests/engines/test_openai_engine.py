"""The client against a small server that speaks the protocol: right answers, failures, refusals, slowness."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tasks.engines import openai_engine
from tasks.engines.openai_engine import OpenAIEngine
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.protocol import make_request
from tasks.errors import LimoError
from tasks.records.response import TOO_LONG

CONTEXT = 20


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self._reply(200, {"data": [{"id": "strong"}]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.asked.append(asked)
            server.now += 1
            server.most = max(server.most, server.now)
            fails = server.failures.pop(0) if server.failures else None
        time.sleep(server.pause)
        with server.lock:
            server.now -= 1
        length = len(asked["prompt"].split())
        if self.path == "/tokenize":
            self._reply(200, {"count": length, "max_model_len": CONTEXT})
            return
        if fails is not None:
            self._reply(fails, {"message": "try later"})
        elif length + asked["max_tokens"] > CONTEXT:
            self._reply(400, {"message": "This model's maximum context length is 20 tokens."})
        else:
            reason = "length" if asked["prompt"] == "cut" else "stop"
            choice = {"text": f"{asked['prompt']} {asked['seed']}", "finish_reason": reason}
            self._reply(200, {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})

    def _reply(self, status, content):
        raw = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_):
        pass


@pytest.fixture
def start(monkeypatch):
    monkeypatch.setattr(openai_engine, "FIRST_PAUSE_SECONDS", 0.01)
    started = []

    def start(failures=(), pause=0.0):
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.lock, server.asked, server.failures, server.pause = threading.Lock(), [], list(failures), pause
        server.now = server.most = 0
        server.url = f"http://127.0.0.1:{server.server_port}/v1"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.fixture
def connect():
    opened = []

    def connect(*urls, name="strong", **params):
        opened.append(OpenAIEngine(name, EngineParams(kind="openai", base_urls=urls, **params)))
        return opened[-1]

    yield connect
    for engine in opened:
        engine.close()


def ask(prompt="3 + 4?", index=0, **sampling):
    return make_request("m_a", prompt, SamplingParams(**({"temperature": 0.7, "max_tokens": 9} | sampling)), index)


def finish(engine, *requests):
    for request in requests:
        engine.submit([request])
    found = {}
    while len(found) < len(requests):
        found |= {response.response_id: response for response in engine.finished(5)}
    return [found[request.response_id] for request in requests]


def test_the_prompt_goes_as_it_stands_with_its_own_seed(start, connect):
    server, request = start(), ask(top_k=5, stop=("\n\n",))
    response = finish(connect(server.url), request)[0]
    expected = request.finish(f"3 + 4? {request.own_seed}", "stop", 3, 2, response.seconds)
    assert response == expected.model_copy(update={"finished_at": response.finished_at})
    sent = server.asked[0]
    assert (sent["model"], sent["prompt"], sent["max_tokens"], sent["top_k"], sent["stop"]) == (
        "strong",
        "3 + 4?",
        9,
        5,
        ["\n\n"],
    )


def test_a_cut_response_says_so(start, connect):
    assert finish(connect(start().url), ask("cut"))[0].finish_reason == "length"


def test_busy_and_broken_servers_are_tried_again(start, connect):
    server = start(failures=[429, 503, 500])
    assert finish(connect(server.url), ask())[0].finish_reason == "stop"
    assert len(server.asked) == 4


def test_another_server_takes_over_from_one_that_died(start, connect):
    alive, dying = start(), start()
    engine = connect(dying.url, alive.url)
    dying.shutdown()
    dying.server_close()
    responses = finish(engine, *(ask(index=index) for index in range(6)))
    assert [response.finish_reason for response in responses] == ["stop"] * 6
    assert len(alive.asked) == 6


def test_no_more_connections_than_places(start, connect):
    server = start(pause=0.05)
    finish(connect(server.url, in_flight=3), *(ask(index=index) for index in range(12)))
    assert server.most == 3


def test_a_prompt_too_long_is_recorded_and_not_tried_again(start, connect):
    server = start()
    response = finish(connect(server.url), ask("word " * CONTEXT))[0]
    assert (response.finish_reason, response.text, response.n_prompt_tokens) == (TOO_LONG, "", CONTEXT)
    assert len(server.asked) == 2


def test_a_response_gets_the_room_there_is(start, connect):
    server = start()
    assert finish(connect(server.url), ask(max_tokens=32768))[0].finish_reason == "stop"
    assert [asked.get("max_tokens") for asked in server.asked] == [32768, None, 17]


def test_a_refused_request_is_one_line(start, connect):
    engine = connect(start(failures=[404]).url)
    engine.submit([ask()])
    with pytest.raises(LimoError, match="HTTP 404: .*try later"):
        engine.finished(5)


def test_cancelled_requests_never_come(start, connect):
    engine = connect(start(pause=0.3).url)
    dropped, kept = ask(index=1), ask(index=2)
    engine.submit([dropped])
    engine.submit([kept])
    engine.cancel([dropped.response_id])
    assert [response.response_id for response in engine.finished(5)] == [kept.response_id]
    assert engine.finished(0.5) == []


def test_a_model_that_no_server_has_and_a_server_that_is_not_there(start, connect):
    with pytest.raises(LimoError, match="no server serves a model named `weak`"):
        connect(start().url, name="weak")
    with pytest.raises(LimoError, match="http://127.0.0.1:9/v1: no list of models"):
        connect("http://127.0.0.1:9/v1")
