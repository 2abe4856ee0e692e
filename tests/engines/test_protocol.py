import pytest

from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.protocol import make_request


def request(index=0, prompt="3 + 4?", model="m_a", **sampling):
    return make_request(model, prompt, SamplingParams(**({"temperature": 0.7} | sampling)), index)


@pytest.mark.parametrize(
    "other",
    [
        request(index=1),
        request(prompt="3 + 5?"),
        request(model="m_b"),
        request(seed=1),
        request(temperature=0.8),
        request(top_p=0.9),
        request(max_tokens=5),
        request(stop=("\n",)),
    ],
)
def test_all_that_decides_a_response_is_in_its_id(other):
    assert request().response_id == request().response_id
    assert other.response_id != request().response_id


def test_a_greedy_response_depends_on_no_seed_and_no_cut():
    greedy = request(temperature=0)
    assert greedy.response_id == request(temperature=0, seed=9, top_p=0.5).response_id
    assert greedy.own_seed is None


def test_each_sample_has_a_seed_of_its_own_that_any_server_takes():
    seeds = [request(index=index).own_seed for index in range(32)] + [
        request(seed=1).own_seed,
        request(prompt="x").own_seed,
    ]
    assert len(set(seeds)) == 34
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert request(model="m_b").own_seed == request().own_seed


def test_requests_in_flight_fill_the_engine_and_a_little_more():
    assert EngineParams(max_num_seqs=10).concurrency == 13
    assert EngineParams(max_num_seqs=10, in_flight=2).concurrency == 2


def test_openai_needs_a_url():
    with pytest.raises(ValueError, match="base_urls"):
        EngineParams(kind="openai")
