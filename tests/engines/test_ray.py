"""vLLM on a real local Ray gives the responses that it gives without."""

import pytest

from tasks.core.errors import LimoError
from tasks.core.params import ChatParams
from tasks.engines.fleet import Fleet
from tasks.engines.launch import open_engine
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import Cancel, Close, Generate, Setup, make_request
from tasks.engines.ray import Actor, Actors
from tests.builders import SHIPPED, make_model
from tests.engines import scripted
from tests.waiting import LIMIT_SECONDS

pytestmark = pytest.mark.slow(minutes=2)

MODEL = SHIPPED / "base"


def params(kind, **fields):
    return EngineParams(kind=kind, dtype="float32", max_num_seqs=16, max_model_len=256, **fields)


def test_a_cluster_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(LimoError, match=r"^engine.ray_address: no Ray cluster at 127.0.0.1:1; start one"):
        open_engine(params("ray", ray_address="127.0.0.1:1"), make_model(path=str(MODEL)), tmp_path / "vllm.log")


def echo(inbox, send, _):
    while True:
        send(inbox.get())


def test_orders_that_overtake_each_other_are_put_in_order(tmp_path):
    actor = Actor(Setup(tmp_path, params("ray"), tmp_path / "no folder" / "log"), echo)
    orders = [Generate([]), Cancel(["a"]), Close()]
    for number in (1, 2, 0):
        actor.put(number, orders[number])
    found = []
    while len(found) < 3 and (more := actor.get(LIMIT_SECONDS)):
        found += more
    assert found == orders


@pytest.fixture(scope="module")
def cluster():
    """A Ray of this machine: starting it takes seconds."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def collect(engine, requests):
    engine.submit(requests)
    found = {}
    while len(found) < len(requests):
        for response in engine.finished(1.0):
            assert response.response_id not in found
            found[response.response_id] = response
    return found


def generate(kind, requests, log):
    engine = open_engine(params(kind), make_model(path=str(MODEL)), log)
    try:
        found = collect(engine, requests)
    finally:
        engine.close()
    return {key: (one.text, one.finish_reason, one.n_tokens, one.engine) for key, one in found.items()}


def test_the_same_responses_as_without_ray(cluster, tmp_path):
    render = prompt_renderer(MODEL, ChatParams())
    sampling = SamplingParams(temperature=1.0, max_tokens=24)
    requests = [make_request("m_a", render(f"What is {n} + 5?"), sampling, index) for n in range(4) for index in (0, 1)]
    there = generate("ray", requests, tmp_path / "ray.log")
    assert there == generate("vllm", requests, tmp_path / "vllm.log")
    assert "vllm" in (tmp_path / "ray.log").read_text()


def test_an_actor_that_dies_is_restarted_and_each_request_answered_once(cluster, tmp_path):
    (tmp_path / "q5").mkdir()
    (tmp_path / "q5/crash").touch()
    setup = Setup(tmp_path, params("ray"), tmp_path / "vllm.log", kv_cache_bytes=1000)
    engine = Fleet(Actors({"num_cpus": 1}, scripted.serve), [setup])
    try:
        requests = [make_request("m_a", f"q{n}", SamplingParams(), 0) for n in range(10)]
        found = collect(engine, requests)
    finally:
        engine.close()
    assert found.keys() == {request.response_id for request in requests}
    assert engine.facts["restarts"] == 1
