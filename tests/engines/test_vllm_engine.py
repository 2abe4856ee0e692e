"""Real vLLM on a shipped model, in one engine for the whole file: starting it is most of the time."""

import os
import signal
import sys

import pytest

from tasks.core.errors import LimoError
from tasks.core.params import ChatParams
from tasks.engines.fleet import VllmEngine
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import make_request
from tasks.records.response import LOOP, TOO_LONG
from tasks.sampling.sampler import Sampler
from tasks.sampling.schedule import Group
from tests.builders import SHIPPED, make_model

pytestmark = pytest.mark.slow(minutes=1)

MODEL = SHIPPED / "base"
PARAMS = EngineParams(dtype="float32", max_num_seqs=16, max_model_len=256)
SAMPLING = SamplingParams(temperature=1.5, max_tokens=24)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("vllm") / "vllm.log"


@pytest.fixture(scope="module")
def engine(log):
    engine = VllmEngine(MODEL, PARAMS, log)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def render():
    return prompt_renderer(MODEL, ChatParams())


def finish(engine, requests):
    engine.submit(requests)
    found = []
    while len(found) < len(requests):
        found += engine.finished(1.0)
    by_id = {response.response_id: response for response in found}
    assert len(by_id) == len(found)
    return [by_id[request.response_id] for request in requests]


def test_a_sample_is_the_same_alone_and_in_a_batch(engine, render):
    requests = [make_request("m_a", render(f"What is {n} + 5?"), SAMPLING, index) for n in range(4) for index in (0, 1)]
    together = finish(engine, requests)
    assert len({response.text for response in together}) > 4
    alone = finish(engine, [requests[5]])
    assert alone[0].text == together[5].text
    assert all(response.finish_reason in ("stop", "length") for response in together)
    assert all(0 < response.n_tokens <= 24 for response in together)
    assert all(response.engine.startswith("vllm ") for response in together)
    assert all(response.engine.endswith(" cpu float32") for response in together)
    assert alone[0].logprob_sum == pytest.approx(together[5].logprob_sum, abs=1e-3)
    assert all(-300 < response.logprob_sum < 0 for response in together)


def test_a_long_response_is_cut_at_the_context(engine, render):
    prompt = render("7 " * 112)
    response = finish(engine, [make_request("m_a", prompt, SamplingParams(temperature=0, max_tokens=100_000), 0)])[0]
    assert response.finish_reason == "length"
    assert 0 < response.n_tokens < 10
    assert response.n_prompt_tokens + response.n_tokens == 256


def test_a_response_that_loops_is_stopped_and_recorded_as_such(engine):
    # Raw text, no chat: the model goes on with the pattern.
    looping = SamplingParams(temperature=0, max_tokens=150, loop_tokens=8, loop_repeats=4)
    prompt = "What is What is What is What is What is What is"
    stopped = finish(engine, [make_request("m_a", prompt, looping, 0)])[0]
    free = finish(engine, [make_request("m_a", prompt, SamplingParams(temperature=0, max_tokens=150), 0)])[0]
    assert stopped.finish_reason == LOOP
    assert stopped.n_tokens < free.n_tokens
    assert free.text.startswith(stopped.text)


def test_a_prompt_too_long_is_not_sent_and_the_rest_go_on(engine, render):
    requests = [make_request("m_a", render(text), SAMPLING, 0) for text in ("word " * 300, "What is 3 + 8?")]
    refused, answered = finish(engine, requests)
    assert (refused.finish_reason, refused.text, refused.n_tokens) == (TOO_LONG, "", 0)
    assert refused.n_prompt_tokens > 256
    assert answered.n_tokens > 0


def test_cancelled_requests_never_come(engine, render):
    dropped, kept = (make_request("m_a", render("Count."), SAMPLING, index) for index in (7, 8))
    engine.submit([dropped, kept])
    engine.cancel([dropped.response_id])
    found = []
    while not found:
        found = engine.finished(1.0)
    assert [response.response_id for response in found] == [kept.response_id]
    assert engine.finished(0.1) == []


def test_sampled_through_the_ledger_twice_the_same(engine, render, tmp_path):
    groups = [Group(f"q_{n}", render(f"What is {n} + 6?"), "7", "auto", 3, SAMPLING) for n in range(5)]

    class Lent:
        """The engine of this file, not closed by the sampler."""

        submit, finished, cancel, facts = engine.submit, engine.finished, engine.cancel, engine.facts

        def close(self):
            pass

    def draw(folder):
        params = EngineParams(in_flight=4)
        return Sampler(make_model("a"), params, ChatParams(), folder / "ledger", stage="test", start=Lent).draw(groups)

    first, again, other = draw(tmp_path / "a"), draw(tmp_path / "a"), draw(tmp_path / "b")
    first_texts, again_texts, other_texts = (each.with_texts()["text"] for each in (first, again, other))
    assert first_texts.equals(again_texts)
    assert first_texts.equals(other_texts)
    assert first.run["responses_generated"] == 15
    assert again.run["responses_generated"] == 0
    assert again.facts == first.facts
    assert first.facts["engines"] == [engine.facts["engine"]]


def test_the_log_is_in_its_file_and_a_folder_that_is_no_model_is_one_line(engine, log, tmp_path, capfd):
    assert "vllm" in log.read_text()
    assert "vllm" not in sys.modules
    with pytest.raises(LimoError, match="vLLM does not start"):
        VllmEngine(tmp_path, PARAMS, tmp_path / "vllm.log")
    assert capfd.readouterr() == ("", "")


def test_a_killed_replica_is_restarted_and_every_request_answered_once(engine, render, capfd):
    long = SamplingParams(temperature=1.5, max_tokens=120)
    requests = [make_request("m_a", render(f"What is {n} + 9?"), long, 0) for n in range(20)]
    before = [response.text for response in finish(engine, requests)]
    engine.submit(requests)
    os.kill(engine._slots[0].replica.process.pid, signal.SIGKILL)
    found = {}
    while len(found) < len(requests):
        for response in engine.finished(1.0):
            assert response.response_id not in found
            found[response.response_id] = response.text
    assert [found[request.response_id] for request in requests] == before
    assert engine.facts["restarts"] == 1
    assert engine.facts["max_num_seqs"] == 8
    assert "up to 8 responses at once" in capfd.readouterr().err
