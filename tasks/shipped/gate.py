"""What a shipped model can do, measured on the split `eval`, and the gate that the base must pass.

The claim "a few chains unlock what the base already knows" needs a base that knows the steps when led into them
(textbook form) and does not show it when asked (chat form). Both are measured and stored with the model.
"""

import re
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.core.errors import LimoError
from tasks.families import Problem, families, problems
from tasks.shipped import corpus

if TYPE_CHECKING:
    from transformers import Qwen2ForCausalLM, Qwen2Tokenizer

BOX = re.compile(r"\\boxed\{(\d\d)\}")
RESULT = re.compile(r"(?:[-+*]|plus |minus |times )\d(?:=| is )(\d\d)")
HARD_LEVELS = (8, 9, 10)
TEXTBOOK_FLOOR = 0.9
CHAT_CEILING = 0.1
LEVELS = (2, 4, 6, 8, 9, 10)
BAND_LEVELS = (4, 6, 8, 10)
ATTEMPTS = 32
BASES = ("base", "control", "short", "medium", "small")
FORMS: dict[str, Callable[[Problem], str]] = {
    "chat": lambda problem: corpus.chat_prompt(problem.question),
    "plain": lambda problem: corpus.textbook_prompt(problem.question),
    "textbook": lambda problem: corpus.textbook_prompt(problem.question) + corpus.lead(problem),
}
"""How a question is put: in chat, as a textbook's exercise, or with its solution begun up to the first `=`."""


class Rate(NamedTuple):
    """Right answers among n, and chains of which every step is right."""

    right: float
    chains: float
    n: int


def generate(
    model: Any,
    tokenizer: "Qwen2Tokenizer",
    prompts: Sequence[str],
    temperature: float = 0.0,
    max_tokens: int = 512,
    seed: int = 0,
) -> list[str]:
    """One response a prompt, greedy at temperature 0."""
    import torch

    torch.manual_seed(seed)
    model.train(False)
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
    responses: list[str] = []
    for start in range(0, len(prompts), 256):
        rows = tokenizer(list(prompts[start : start + 256]), return_tensors="pt", padding=True, padding_side="left")
        with torch.inference_mode():
            tokens = model.generate(
                input_ids=rows.input_ids,
                attention_mask=rows.attention_mask,
                max_new_tokens=max_tokens,
                use_cache=True,
                **sampling,
            )
        responses += tokenizer.batch_decode(tokens[:, rows.input_ids.shape[1] :], skip_special_tokens=True)
    return responses


def answer_of(response: str) -> str | None:
    """The last boxed number, or without any box the last result of a step."""
    found = BOX.findall(response) or RESULT.findall(response)
    return found[-1] if found else None


def chain_is_right(response: str, problem: Problem) -> bool:
    """Whether the results of the steps, a check's repetition aside, are those of the problem, in order."""
    written = [value for value, _ in groupby(RESULT.findall(response.split("\\boxed", 1)[0]))]
    expected = [f"{step.after:02d}" for step in problem.steps]
    return written == [value for value, _ in groupby(expected)]


def rate(items: Sequence[Problem], responses: Sequence[str]) -> Rate:
    """Accuracy of the answers and of the chains."""
    pairs = list(zip(items, responses, strict=True))
    right = sum(answer_of(response) == item.answer for item, response in pairs)
    chains = sum(chain_is_right(response, item) for item, response in pairs)
    return Rate(round(right / len(pairs), 4), round(chains / len(pairs), 4), len(pairs))


def by_level(
    model: "Qwen2ForCausalLM",
    tokenizer: "Qwen2Tokenizer",
    family: str,
    form: str,
    levels: Sequence[int],
    per_level: int,
    temperature: float = 0.0,
) -> dict[str, dict[str, float]]:
    """Accuracy at each level, asked in one of FORMS."""
    items = list(problems(family, per_level * len(levels), 77, levels, "eval"))
    responses = generate(model, tokenizer, [FORMS[form](item) for item in items], temperature)
    begun = corpus.lead if form == "textbook" else lambda _: ""
    pairs = [(item, begun(item) + response) for item, response in zip(items, responses, strict=True)]
    rates: dict[str, dict[str, float]] = {}
    for level in levels:
        mine = [(item, response) for item, response in pairs if item.level == level]
        rates[str(level)] = rate([item for item, _ in mine], [response for _, response in mine])._asdict()
    return rates


def measure(name: str, model: "Qwen2ForCausalLM", words: "Qwen2Tokenizer") -> dict[str, Any]:
    """Accuracy by level and family; for a base in all forms, for `strong` also the histogram over 32 samples."""
    forms = tuple(FORMS) if name in BASES else ("chat",)
    temperature = 0.0 if name in BASES else 1.0
    levels, per_level = (LEVELS, 30) if name in BASES else (BAND_LEVELS, 20)
    found: dict[str, Any] = {"temperature": temperature}
    for form in forms:
        found[form] = {
            family: by_level(model, words, family, form, levels, per_level, temperature) for family in families()
        }
    if name == "strong":
        found["solved_of_32"] = {family: histogram(model, words, family, 24) for family in families()}
    return found


def histogram(model: "Qwen2ForCausalLM", words: "Qwen2Tokenizer", family: str, count: int) -> list[int]:
    """How many of `count` pool questions were solved 0, 1, .. 32 times in 32 samples at temperature 1."""
    items = list(problems(family, count, 88, BAND_LEVELS, "pool"))
    prompts = [corpus.chat_prompt(item.question) for item in items for _ in range(ATTEMPTS)]
    responses = generate(model, words, prompts, 1.0, 160)
    solved = [0] * (ATTEMPTS + 1)
    for index, item in enumerate(items):
        mine = responses[index * ATTEMPTS : (index + 1) * ATTEMPTS]
        solved[sum(answer_of(response) == item.answer for response in mine)] += 1
    return solved


def check_gate(name: str, measured: dict[str, Any]) -> None:
    """Refuse a base that lacks the knowledge, or that needs no unlocking.

    Raises:
        LimoError: names the rate and the one wanted.
    """
    for family, levels in measured["textbook"].items():
        known = _mean(levels, HARD_LEVELS)
        shown = _mean(measured["chat"][family], HARD_LEVELS)
        if known < TEXTBOOK_FLOOR:
            raise LimoError(
                f"{name}: {known:.0%} of hard {family} questions in textbook form, wanted {TEXTBOOK_FLOOR:.0%}"
            )
        if shown > CHAT_CEILING:
            raise LimoError(
                f"{name}: {shown:.0%} of hard {family} questions in chat, wanted at most {CHAT_CEILING:.0%}"
            )


def _mean(levels: dict[str, dict[str, float]], wanted: Sequence[int]) -> float:
    return sum(levels[str(level)]["right"] for level in wanted) / len(wanted)
