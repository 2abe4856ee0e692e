"""Real vLLM on a shipped model, in one engine for the whole file: starting it is most of the time."""

import importlib

import pytest

from tasks.engines.groups import Group
from tasks.engines.ledger import Ledger
from tasks.engines.params import ChatParams, EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import make_request
from tasks.engines.sampled import with_texts
from tasks.engines.sampler import sample
from tasks.engines.vllm_engine import VllmEngine
from tasks.errors import LimoError
from tasks.records.response import TOO_LONG
from tests.builders import SHIPPED

MODEL = SHIPPED / "base"
PARAMS = EngineParams(dtype="float32", max_num_seqs=16, kv_cache_gib=0.25, max_model_len=256)
SAMPLING = SamplingParams(temperature=1.5, max_tokens=24)


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    return tmp_path_factory.mktemp("vllm") / "vllm.log"


@pytest.fixture(scope="module")
def engine(log):
    # What the pool stages load must not hinder vLLM in the same process.
    importlib.import_module("tasks.pool.scan")
    engine = VllmEngine(MODEL, PARAMS, log)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def render():
    return prompt_renderer(MODEL, ChatParams())


def finish(engine, requests):
    engine.submit(requests)
    found = {}
    while len(found) < len(requests):
        found |= {response.response_id: response for response in engine.finished(1.0)}
    return [found[request.response_id] for request in requests]


def test_a_sample_is_the_same_alone_and_in_a_batch(engine, render):
    requests = [make_request("m_a", render(f"What is {n} + 5?"), SAMPLING, index) for n in range(4) for index in (0, 1)]
    together = finish(engine, requests)
    assert len({response.text for response in together}) > 4
    alone = finish(engine, [requests[5]])
    assert alone[0].text == together[5].text
    assert all(response.finish_reason in ("stop", "length") for response in together)
    assert all(0 < response.n_tokens <= 24 for response in together)


def test_a_long_response_is_cut_at_the_context(engine, render):
    prompt = render("7 " * 112)
    response = finish(engine, [make_request("m_a", prompt, SamplingParams(temperature=0, max_tokens=100_000), 0)])[0]
    assert response.finish_reason == "length"
    assert 0 < response.n_tokens < 10
    assert response.n_prompt_tokens + response.n_tokens == 256


def test_a_prompt_too_long_is_not_sent(engine, render):
    response = finish(engine, [make_request("m_a", render("word " * 300), SAMPLING, 0)])[0]
    assert (response.finish_reason, response.text, response.n_tokens) == (TOO_LONG, "", 0)
    assert response.n_prompt_tokens > 256


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

        submit, finished, cancel = engine.submit, engine.finished, engine.cancel

        def close(self):
            pass

    def draw(folder):
        book = Ledger(folder, "m_a")
        return sample(groups, name="test", model_id="m_a", ledger=book, open_engine=Lent, places=4)

    first, again = draw(tmp_path / "a"), draw(tmp_path / "a")
    anew = draw(tmp_path / "b")
    first_texts, again_texts, anew_texts = (with_texts(run.table, run.ledger)["text"] for run in (first, again, anew))
    assert first_texts.equals(again_texts)
    assert first_texts.equals(anew_texts)
    assert first.facts["responses_generated"] == 15
    assert again.facts["responses_generated"] == 0


def test_the_log_is_in_its_file_and_a_folder_that_is_no_model_is_one_line(engine, log, tmp_path, capfd):
    assert "vllm" in log.read_text()
    with pytest.raises(LimoError, match="vLLM does not start"):
        VllmEngine(tmp_path, PARAMS, tmp_path / "vllm.log")
    assert capfd.readouterr().out == ""
