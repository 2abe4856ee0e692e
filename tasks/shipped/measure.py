"""The measurements stored with each shipped model."""

from typing import Any

from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

from tasks.families import families, problems
from tasks.shipped import corpus, gate

LEVELS = (2, 4, 6, 8, 9, 10)
BAND_LEVELS = (4, 6, 8, 10)
ATTEMPTS = 32
BASES = ("base", "control", "short", "medium", "small")


def measure(name: str, model: Qwen2ForCausalLM, words: Qwen2Tokenizer) -> dict[str, Any]:
    """Accuracy by level and family; for a base in all forms, for `strong` also the histogram over 32 samples."""
    forms = tuple(gate.FORMS) if name in BASES else ("chat",)
    temperature = 0.0 if name in BASES else 1.0
    levels, per_level = (LEVELS, 30) if name in BASES else (BAND_LEVELS, 20)
    found: dict[str, Any] = {"temperature": temperature}
    for form in forms:
        found[form] = {
            family: gate.by_level(model, words, family, form, levels, per_level, temperature) for family in families()
        }
    if name == "strong":
        found["solved_of_32"] = {family: histogram(model, words, family, 24) for family in families()}
    return found


def histogram(model: Qwen2ForCausalLM, words: Qwen2Tokenizer, family: str, count: int) -> list[int]:
    """How many of `count` pool questions were solved 0, 1, .. 32 times in 32 samples at temperature 1."""
    items = list(problems(family, count, 88, BAND_LEVELS, "pool"))
    prompts = [corpus.chat_prompt(item.question) for item in items for _ in range(ATTEMPTS)]
    responses = gate.generate(model, words, prompts, 1.0, 160)
    solved = [0] * (ATTEMPTS + 1)
    for index, item in enumerate(items):
        mine = responses[index * ATTEMPTS : (index + 1) * ATTEMPTS]
        solved[sum(gate.answer_of(response) == item.answer for response in mine)] += 1
    return solved
