"""Counts against real models, the arithmetic of 32B, and bad input in one line."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from flows.plan import memory
from flows.plan.numbers import CONFIGS, SMOLLM2, Band, Given, Numbers, one, read_said
from tasks.core.errors import LimoError
from tasks.models.shapes import cache_bytes, parameters, read_machine, read_shape
from tasks.training.recipe import Recipe

SHIPPED = sorted(Path("tasks/shipped").glob("*/config.json"))
QWEN = read_shape(CONFIGS["Qwen/Qwen2.5-32B-Instruct"], "qwen")
PAPER = Recipe(device="cuda", processes=8, activation_checkpointing=True, attention="flash_attention_2")


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (CONFIGS["Qwen/Qwen2.5-32B-Instruct"], 32_763_876_352),
        (CONFIGS["Qwen/Qwen2.5-Math-7B-Instruct"], 7_615_616_512),
        (CONFIGS["deepseek-ai/DeepSeek-R1"], 671_026_419_200),
        (SMOLLM2, 134_515_008),
    ],
)
def test_parameters_of_public_models(config, count):
    assert parameters(read_shape(config, "x")) == count


@pytest.mark.parametrize("config", SHIPPED, ids=str)
def test_parameters_of_the_shipped_models(config):
    with safe_open(config.parent / "model.safetensors", "np") as file:
        sizes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    there = sum(size[0] * (size[1] if len(size) > 1 else 1) for size in sizes)
    assert parameters(read_shape(json.loads(config.read_text()), str(config))) == there


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


def test_sampling_ends_when_the_outcome_is_certain():
    assert one(1, Band(32, 1, 3)) == (4, 0)
    assert one(0, Band(32, 1, 3)) == (32, 0)


@pytest.mark.parametrize("text", ["8H200", "0xH200", "8xH900", ""])
def test_no_such_machine(text):
    with pytest.raises(LimoError, match="--gpus"):
        read_machine(text)


def test_what_is_said_goes_before_what_is_measured():
    numbers = Numbers(read_said(["band.tokens=9000"], []), {"band.tokens": Given(5, "measured")})
    assert numbers.of("band.tokens", Given(1, "assumed")) == 9000
    with pytest.raises(LimoError, match="STAGE.WHAT=NUMBER"):
        read_said(["band.x=3"], [])


def test_the_plan_counts_the_logits_that_the_trainer_holds():
    from flows.plan.memory import LOGITS_AT_ONCE
    from tasks.training.model import LOGITS

    assert LOGITS_AT_ONCE == LOGITS
