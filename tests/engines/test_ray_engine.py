"""vLLM on a real local Ray says what it says on this machine without."""

import pytest

from tasks.engines.launch import open_engine
from tasks.engines.params import ChatParams, EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import make_request
from tasks.errors import LimoError
from tests.builders import SHIPPED, make_model

MODEL = SHIPPED / "base"


def params(kind, **fields):
    return EngineParams(kind=kind, dtype="float32", max_num_seqs=16, max_model_len=256, **fields)


def collect(engine, count):
    found = {}
    while len(found) < count:
        for response in engine.finished(1.0):
            assert response.response_id not in found
            found[response.response_id] = response
    return found


def generate(kind, requests, log, *, disturb=False):
    engine = open_engine(params(kind), make_model(path=str(MODEL)), log)
    try:
        engine.submit(requests)
        found = collect(engine, len(requests))
        if disturb:
            import ray

            engine.submit(requests)
            ray.kill(engine._slots[0].replica.actor)
            again = collect(engine, len(requests))
            assert {key: one.text for key, one in again.items()} == {key: one.text for key, one in found.items()}
            assert engine.facts["restarts"] == 1
    finally:
        engine.close()
    return {key: (one.text, one.finish_reason, one.n_tokens, one.engine) for key, one in found.items()}


def test_the_same_responses_as_without_ray_and_again_after_an_actor_died(tmp_path):
    import ray

    render = prompt_renderer(MODEL, ChatParams())
    sampling = SamplingParams(temperature=1.0, max_tokens=24)
    requests = [make_request("m_a", render(f"What is {n} + 5?"), sampling, index) for n in range(4) for index in (0, 1)]
    there = generate("ray", requests, tmp_path / "ray.log", disturb=True)
    assert not ray.is_initialized()
    assert there == generate("vllm", requests, tmp_path / "vllm.log")
    assert "vllm" in (tmp_path / "ray.log").read_text()


def test_a_cluster_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(LimoError, match=r"^engine.ray_address: no Ray cluster at 127.0.0.1:1; start one"):
        open_engine(params("ray", ray_address="127.0.0.1:1"), make_model(path=str(MODEL)), tmp_path / "vllm.log")
