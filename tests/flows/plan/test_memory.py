"""The arithmetic of training 32B: what fits, what would, and what of the trainer it counts."""

from flows.plan import memory
from flows.plan.numbers import CONFIGS
from tasks.models.shapes import cache_bytes, read_machine, read_shape
from tasks.training.recipe import Recipe

QWEN = read_shape(CONFIGS["Qwen/Qwen2.5-32B-Instruct"], "qwen")
PAPER = Recipe(device="cuda", processes=8, activation_checkpointing=True, attention="flash_attention_2")


def test_cache():
    assert cache_bytes(QWEN) == 262_144
    assert cache_bytes(QWEN, 8) == cache_bytes(QWEN) / 8
    assert cache_bytes(QWEN, 16) == cache_bytes(QWEN, 8), "heads are repeated"


def test_the_papers_recipe_fits_h200_and_not_h100():
    assert memory.misfits(QWEN, PAPER, read_machine("8xH200")) == []
    assert memory.misfits(QWEN, PAPER, read_machine("8xH100"))
    ways = [way.change for way in memory.ways_to_fit(QWEN, PAPER, read_machine("8xH100"))]
    assert any(way.startswith("processes 16") for way in ways)
    assert any(way.startswith("cpu_offload") for way in ways)


def test_the_plan_counts_the_logits_that_the_trainer_holds():
    from flows.plan.memory import LOGITS_AT_ONCE
    from tasks.training.model import LOGITS

    assert LOGITS_AT_ONCE == LOGITS
