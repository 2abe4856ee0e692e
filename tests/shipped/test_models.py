"""The folders that ship: small, complete, readable by the Auto classes, and doing what their records claim."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import tasks.shipped
from tasks.families import families, problems
from tasks.shipped import corpus, gate

ROOT = Path(tasks.shipped.__file__).parent
NAMES = ("base", "strong", "teacher")
LEVELS = (7, 8)


@cache
def load(name: str) -> Any:
    torch.set_num_threads(2)
    words = AutoTokenizer.from_pretrained(ROOT / name)
    return AutoModelForCausalLM.from_pretrained(ROOT / name, dtype=torch.float32), words


def record(name: str) -> Any:
    return json.loads((ROOT / name / "training.json").read_text())


def right(name: str, family: str, form: str) -> float:
    model, words = load(name)
    items = list(problems(family, 16, 4, LEVELS, "eval"))
    render = corpus.chat_prompt if form == "chat" else corpus.textbook_prompt
    responses = gate.generate(model, words, [render(item.question) for item in items], max_tokens=300)
    return gate.rate(items, responses).right


@pytest.mark.parametrize("name", NAMES)
def test_folders_are_small_and_complete(name: str) -> None:
    files = {path.name for path in (ROOT / name).iterdir()}
    assert files >= {"config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "training.json"}
    assert sum(path.stat().st_size for path in (ROOT / name).iterdir()) < 8_000_000


@pytest.mark.parametrize("name", NAMES)
def test_models_stop_at_the_end_of_their_turn(name: str) -> None:
    model, words = load(name)
    assert model.config.architectures == ["Qwen2ForCausalLM"]
    assert model.config.hidden_size // model.config.num_attention_heads == 32
    assert model.config.max_position_embeddings >= 1024
    assert words.eos_token_id in model.generation_config.eos_token_id
    assert words.pad_token_id != words.eos_token_id


@pytest.mark.parametrize("family", families())
def test_the_base_knows_the_steps_and_does_not_show_them_when_asked(family: str) -> None:
    assert right("base", family, "textbook") >= 0.8
    assert right("base", family, "chat") <= 0.2


@pytest.mark.parametrize("family", families())
def test_the_teacher_is_mostly_right(family: str) -> None:
    assert right("teacher", family, "chat") >= 0.8


def test_the_recorded_base_passes_the_gate() -> None:
    gate.check(record("base")["measured"])


@pytest.mark.parametrize("name", NAMES)
def test_records_say_how_the_model_was_made(name: str) -> None:
    known = record(name)
    assert known["tokens"] == sum(part["tokens"] for part in known["parts"]) > 0
    for part in known["parts"]:
        assert part["corpus_digest"] == corpus.digest(part["recipe"]["corpus"], part["recipe"]["seed"])
        assert part["losses"][-1][1] < part["losses"][0][1]
