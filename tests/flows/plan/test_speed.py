"""The roofline of sampling against arithmetic done by hand, for a model of round numbers."""

import pytest

from flows.plan import speed
from tasks.engines.params import EngineParams
from tasks.models.shapes import Gpu, Machine, cache_bytes, forward_flops, read_shape, weight_bytes

CONFIG = {
    "model_type": "llama",
    "hidden_size": 1024,
    "num_hidden_layers": 10,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 4096,
    "vocab_size": 32_000,
    "max_position_embeddings": 8192,
}
SHAPE = read_shape(CONFIG, "made")
GIB = 2**30
WHOLE = speed.Rates(1.0, 1.0)


def machine(flops, bandwidth, number=1):
    return Machine(Gpu("made", flops, bandwidth, 40.0, False), number)


def engine(**settings):
    return EngineParams(gpu_memory_utilization=0.5, **settings)


def test_the_cache_gets_what_weights_and_work_space_leave():
    replica = speed.serve(SHAPE, engine(), machine(1e12, 1e12))
    room = 20 * GIB - weight_bytes(SHAPE) - speed.RUNTIME_GIB * GIB
    assert replica.cache == pytest.approx(room)
    assert replica.cache_tokens == int(room // cache_bytes(SHAPE))
    assert replica.context == 8192


def test_slow_memory_decides_the_speed_of_a_small_batch():
    lengths = {"prompt": 100, "tokens": 200}
    rate = speed.decoded_a_second(SHAPE, engine(max_num_seqs=1), machine(1e30, 1e9), WHOLE, **lengths)
    moved = weight_bytes(SHAPE) + 200 * cache_bytes(SHAPE)
    assert rate == pytest.approx(1e9 / moved)


def test_slow_arithmetic_decides_that_of_a_large_one():
    lengths = {"prompt": 100, "tokens": 200}
    rate = speed.decoded_a_second(SHAPE, engine(max_num_seqs=64), machine(1e12, 1e30), WHOLE, **lengths)
    assert rate == pytest.approx(1e12 / forward_flops(SHAPE, 200))
    half = speed.decoded_a_second(SHAPE, engine(max_num_seqs=64), machine(1e12, 1e30), speed.Rates(0.5, 1.0), **lengths)
    assert half == pytest.approx(rate / 2)


def test_replicas_add_up():
    lengths = {"prompt": 100, "tokens": 200}
    alone = speed.decoded_a_second(SHAPE, engine(), machine(1e12, 1e12, 2), WHOLE, **lengths)
    both = speed.decoded_a_second(SHAPE, engine(data_parallel=2), machine(1e12, 1e12, 2), WHOLE, **lengths)
    assert both == pytest.approx(2 * alone)


def test_prompts_are_read_at_the_peak_once_each():
    seconds = speed.prompt_seconds(SHAPE, engine(), machine(1e12, 1e12), WHOLE, prompts=10, prompt=100)
    assert seconds == pytest.approx(10 * 100 * forward_flops(SHAPE, 50) / 1e12)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"tensor_parallel": 2}, "takes 2 GPUs, 1 are there"),
        ({"tensor_parallel": 3}, "does not divide its 8 heads"),
        ({"kv_cache_gib": 0.1}, "one response may take 8,192"),
    ],
)
def test_what_does_not_fit_is_explained(settings, message):
    assert any(message in line for line in speed.misfits(SHAPE, engine(**settings), machine(1e12, 1e12)))
    assert speed.misfits(SHAPE, engine(), machine(1e12, 1e12)) == []
