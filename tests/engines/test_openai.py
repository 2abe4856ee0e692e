"""The client against small servers that speak the protocol: right answers, failures, refusals, slowness, deaths."""

import re
import subprocess
import sys
import time

import pytest

from tasks.core.errors import LimoError
from tasks.engines import openai, servers
from tasks.engines.openai import OpenAIEngine
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.protocol import make_request
from tasks.records.response import LOOP, TOO_LONG
from tests.engines.scripted_server import CONTEXT, GARBLED, ScriptedServer
from tests.waiting import LIMIT_SECONDS, wait_until


@pytest.fixture
def start(monkeypatch):
    monkeypatch.setattr(openai, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(servers, "FIRST_PROBE_SECONDS", 0.05)
    monkeypatch.setattr(servers, "LONGEST_PROBE_SECONDS", 0.1)
    started = []

    def start(*arguments, **script):
        started.append(ScriptedServer(*arguments, **script))
        return started[-1]

    yield start
    for server in started:
        server.stop()


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
    engine.submit(requests)
    found = {}

    def all_found():
        found.update({response.response_id: response for response in engine.finished(5)})
        return len(found) >= len(requests)

    wait_until(all_found)
    return [found[request.response_id] for request in requests]


def test_the_prompt_is_sent_as_it_is_with_its_own_seed(start, connect):
    server, request = start(), ask(top_k=5, stop=("\n\n",))
    response = finish(connect(server.url), request)[0]
    expected = request.finish(f"3 + 4? {request.own_seed}", "stop", 3, 2, response.seconds, None, server.url)
    assert response == expected.model_copy(update={"finished_at": response.finished_at})
    sent = server.asked[0]
    assert (sent["model"], sent["prompt"], sent["max_tokens"], sent["top_k"], sent["stop"]) == (
        "strong",
        "3 + 4?",
        9,
        5,
        ["\n\n"],
    )


def test_vllms_version_and_the_log_probabilities_are_recorded(start, connect):
    server = start(version="0.32.0")
    engine = connect(server.url)
    response = finish(engine, ask())[0]
    assert (response.engine, response.logprob_sum) == (f"vllm 0.32.0 {server.url}", -0.75)
    facts = engine.facts
    assert 0 < facts.pop("seconds_to_connect") < LIMIT_SECONDS
    assert facts == {
        "servers": [f"vllm 0.32.0 {server.url}"],
        "context": CONTEXT,
        "requests_retried": 0,
        "servers_lost": 0,
        "servers_back": 0,
    }
    assert finish(connect(server.url, logprobs=False), ask())[0].logprob_sum is None


def test_a_cut_response_and_a_loop_say_so(start, connect):
    server = start()
    cut, loop = finish(connect(server.url), ask("cut"), ask("loops", loop_tokens=40, loop_repeats=3))
    assert (cut.finish_reason, loop.finish_reason) == ("length", LOOP)
    sent = [asked.get("repetition_detection") for asked in server.asked]
    assert {"max_pattern_size": 40, "min_count": 3} in sent
    assert None in sent


@pytest.mark.parametrize("failures", [[429, 503, 500], [GARBLED, GARBLED], [408, 409, 425, 429, 502, 504]])
def test_busy_and_broken_servers_are_retried(start, connect, failures):
    server = start(failures)
    engine = connect(server.url)
    assert finish(engine, ask())[0].finish_reason == "stop"
    assert len(server.asked) == len(failures) + 1
    assert engine.facts["requests_retried"] == len(failures)


def test_a_server_that_asks_for_rest_gets_it(start, connect):
    server = start([429], retry_after=1)
    began = time.monotonic()
    finish(connect(server.url), ask(index=0))
    assert time.monotonic() - began > 1


def test_samples_of_one_prompt_go_to_the_same_server(start, connect):
    pair = start(), start()
    finish(connect(*(server.url for server in pair), in_flight=16), *(ask("one", n) for n in range(3)), ask("two"))
    assert sorted([asked["prompt"] for asked in server.asked] for server in pair) == [["one"] * 3, ["two"]]


def test_another_server_takes_over_from_one_that_died_until_it_is_back(start, connect, capfd):
    alive, dying = start(), start()
    engine = connect(dying.url, alive.url, in_flight=4)
    dying.stop()
    responses = finish(engine, *(ask(f"p{n}") for n in range(6)))
    assert [response.finish_reason for response in responses] == ["stop"] * 6
    assert len(alive.asked) == 6
    dying.start()
    wait_until(lambda: engine.facts["servers_back"] == 1)
    dying.asked.clear()
    finish(engine, *(ask(f"q{n}") for n in range(4)))
    assert len(dying.asked) == 2
    lines = capfd.readouterr().err.splitlines()
    assert [re.split(r" \(| after ", line)[0] for line in lines] == [
        f"limo: {dying.url}: taken out",
        f"limo: {dying.url}: back",
    ]


@pytest.mark.parametrize("asked_later", [4, 0])
def test_what_a_dead_server_was_working_on_is_retried_at_once(start, connect, monkeypatch, asked_later):
    """It answers nothing any more and closes no connection; a new request, or a health check, shows that."""
    monkeypatch.setattr(servers, "WATCH_SECONDS", 0.3)
    stuck, alive = start(pause=600), start()
    engine = connect(stuck.url, alive.url, in_flight=8)
    engine.submit([ask(f"p{n}") for n in range(4)])
    wait_until(lambda: stuck.now == 2)
    stuck.stop(in_silence=True)
    engine.submit([ask(f"q{n}") for n in range(asked_later)])
    responses = []
    wait_until(lambda: responses.extend(engine.finished(5)) or len(responses) == 4 + asked_later)
    assert engine.facts["servers_lost"] == 1


def test_a_server_that_is_healthy_in_words_alone_stays_out(start, connect, capfd):
    ill, well = start(), start()
    engine = connect(ill.url, well.url)
    ill.always = 500
    finish(engine, *(ask(f"p{n}") for n in range(20)))
    asked = len(ill.asked)
    wait_until(lambda: len(ill.asked) > asked)
    assert engine.facts["servers_back"] == 0
    ill.always = None
    wait_until(lambda: engine.facts["servers_back"] == 1)
    assert capfd.readouterr().err.count("taken out") == 1


def test_a_server_that_is_down_at_the_start_comes_in_later(start, connect, capfd):
    late, there = start(), start()
    late.stop()
    engine = connect(late.url, there.url)
    assert f"{late.url}: left out until it answers" in capfd.readouterr().err
    late.start()
    wait_until(lambda: engine.facts["servers_back"] == 1)
    finish(engine, *(ask(f"p{n}") for n in range(4)))
    assert len(there.asked) == 2


def test_no_server_for_too_long_is_one_line(start, connect):
    with pytest.raises(LimoError, match=r"no server of `strong` has answered for 0 s: http://127.0.0.1:9/v1; .*ledger"):
        connect("http://127.0.0.1:9/v1", patience_seconds=0.3)
    dying = start()
    engine = connect(dying.url, patience_seconds=0.3)
    dying.stop()
    engine.submit([ask()])
    with pytest.raises(LimoError, match=rf"no server .* answered .*{dying.url}; start one and rerun"):
        engine.finished(LIMIT_SECONDS)
    dying.start()


def test_a_wrong_path_or_key_is_one_line_at_once(start, connect, monkeypatch):
    server, locked = start(), start(key="k-1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    root = server.url.removesuffix("/v1")
    with pytest.raises(LimoError, match=rf"^engine.base_urls: {root}: HTTP 404: .*ends in /v1$"):
        connect(root)
    with pytest.raises(LimoError, match=rf"^engine.base_urls: {locked.url}: HTTP 401: .*OPENAI_API_KEY$"):
        connect(server.url, locked.url)
    monkeypatch.setenv("OPENAI_API_KEY", "k-1")
    assert finish(connect(locked.url), ask())[0].finish_reason == "stop"


def test_servers_of_another_model_are_left_out(start, connect, capfd):
    other, mine = start(model="weak"), start()
    engine = connect(other.url, mine.url)
    finish(engine, *(ask(f"p{n}") for n in range(4)))
    assert (len(other.asked), len(mine.asked)) == (0, 4)
    assert f"{other.url}: serves no model named `strong`" in capfd.readouterr().err
    with pytest.raises(LimoError, match="no server serves a model named `weaker`"):
        connect(other.url, mine.url, name="weaker")


def test_a_server_that_came_back_with_another_model_is_left(start, connect):
    changed, same = start(), start()
    engine = connect(changed.url, same.url)
    changed.always = 404
    assert len(finish(engine, *(ask(f"p{n}") for n in range(4)))) == 4
    assert engine.facts["servers_lost"] == 1


def test_contexts_that_differ_or_are_too_small_are_reported(start, connect, capfd):
    connect(start().url, start(context=30).url, max_model_len=40)
    log = capfd.readouterr().err
    assert "the servers of `strong` differ in their context" in log
    assert "engine.max_model_len asks for a context of 40 tokens, a server of `strong` has one of 20" in log


def test_no_more_connections_than_requests_in_flight(start, connect):
    server = start(pause=0.05)
    finish(connect(server.url, in_flight=3), *(ask(index=index) for index in range(12)))
    assert server.most == 3


def test_a_prompt_too_long_is_recorded_and_not_retried(start, connect):
    server = start()
    response = finish(connect(server.url), ask("word " * CONTEXT))[0]
    assert (response.finish_reason, response.text, response.n_prompt_tokens) == (TOO_LONG, "", CONTEXT)
    assert len(server.asked) == 2


def test_a_response_gets_the_room_there_is(start, connect, capfd):
    server = start()
    engine = connect(server.url)
    requests = [ask(index=n, max_tokens=32768) for n in range(2)]
    assert [response.finish_reason for response in finish(engine, *requests)] == ["stop", "stop"]
    assert sorted(asked.get("max_tokens", 0) for asked in server.asked) == [0, 0, 17, 17, 32768, 32768]
    assert capfd.readouterr().err.count("max_tokens does not fit its context of 20 tokens") == 1


@pytest.mark.parametrize("status", [401, 404])
def test_a_refused_request_is_one_line_and_what_had_finished_is_returned_first(start, connect, status):
    server = start()
    engine = connect(server.url, in_flight=1)
    good, bad = ask("good"), ask("bad")
    engine.submit([good])
    wait_until(lambda: engine._done.qsize() == 1)
    server.failures = [status]
    engine.submit([bad])
    wait_until(lambda: engine._done.qsize() == 2)
    assert [response.response_id for response in engine.finished(LIMIT_SECONDS)] == [good.response_id]
    with pytest.raises(LimoError, match=f"{server.url}: HTTP {status}: .*try later"):
        engine.finished(LIMIT_SECONDS)


def test_what_finished_after_a_failure_is_returned_before_it_is_raised(start, connect):
    server = start([401])
    engine = connect(server.url, in_flight=1)
    engine.submit([ask("bad"), ask("good")])
    wait_until(lambda: engine._done.qsize() == 2)
    assert [response.prompt for response in engine.finished(LIMIT_SECONDS)] == ["good"]
    with pytest.raises(LimoError, match="HTTP 401"):
        engine.finished(LIMIT_SECONDS)


def test_a_request_that_fails_at_every_try_is_one_line(start, connect):
    server = start(poison="bad")
    engine = connect(server.url)
    engine.submit([ask("bad")])
    with pytest.raises(LimoError, match=f"{server.url}: HTTP 500: .*; gave up after 8 tries; .* in the ledger"):
        engine.finished(LIMIT_SECONDS)


def test_cancelled_requests_never_arrive(start, connect):
    engine = connect(start(pause=0.3).url)
    dropped, kept = ask(index=1), ask(index=2)
    engine.submit([dropped])
    engine.submit([kept])
    engine.cancel([dropped.response_id])
    assert [response.response_id for response in engine.finished(LIMIT_SECONDS)] == [kept.response_id]
    assert engine.finished(0.5) == []


def test_closing_is_quick_with_hundreds_in_flight(start):
    slow = start(pause=600)
    engine = OpenAIEngine("strong", EngineParams(kind="openai", base_urls=(slow.url,), in_flight=150))
    engine.submit([ask(index=n) for n in range(400)])
    wait_until(lambda: slow.now == 150)
    began = time.monotonic()
    engine.close()
    assert time.monotonic() - began < slow.pause / 10


STAGE = """
import signal, sys
from tasks.engines.openai import OpenAIEngine
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.protocol import make_request

signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print("up", flush=True)
engine = OpenAIEngine("strong", EngineParams(kind="openai", base_urls=[sys.argv[1]]))
try:
    engine.submit([make_request("m", "3 + 4?", SamplingParams(), index) for index in range(200)])
    while True:
        engine.finished(60)
finally:
    engine.close()
"""


@pytest.mark.parametrize("there", [True, False])
def test_sigterm_ends_it_whether_servers_are_there_or_awaited(start, there):
    server = start(pause=600)
    if not there:
        server.stop()
    stage = subprocess.Popen([sys.executable, "-c", STAGE, server.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert stage.stdout.readline() == b"up\n"
    if there:
        wait_until(lambda: server.now == 200)
    else:
        assert b"left out until it answers" in stage.stderr.readline()
    began = time.monotonic()
    stage.terminate()
    assert stage.wait(LIMIT_SECONDS) == 143
    assert time.monotonic() - began < 50, "it waited for a response, or for as long as a call of `finished` may take"
