"""The chains: right in every style, parsed back by the gate, different from the textbook."""

import random

import pytest

from tasks.families import Problem, apply, problems
from tasks.shipped import chains, corpus, gate

ITEMS = [problem for name in ("buttons", "days") for problem in problems(name, 60, 1, [1, 4, 10], "pool")]


@pytest.mark.parametrize("style", chains.STYLES)
def test_every_style_is_right_and_boxed_once(style: str) -> None:
    rng = random.Random(1)
    for item in ITEMS:
        text = chains.chain(rng, item, style)
        assert gate.BOX.findall(text) == [item.answer]
        assert gate.chain_is_right(text, item)


def test_textbooks_are_right_with_or_without_a_box() -> None:
    rng = random.Random(1)
    texts = [(chains.textbook(rng, item), item) for item in ITEMS]
    boxed = sum("\\boxed" in text for text, _ in texts)
    assert 0.5 < boxed / len(texts) < 0.95
    assert all(_last_number(text) == item.answer for text, item in texts)


def test_a_wrong_step_is_seen() -> None:
    item = ITEMS[1]
    text = chains.chain(random.Random(1), item, "medium")
    wrong = f"{(item.steps[0].after + 1) % 100:02d}"
    assert not gate.chain_is_right(text.replace(f"={item.steps[0].after:02d}", f"={wrong}", 1), item)


def test_slips_go_on_from_the_wrong_number_and_are_likelier_for_harder_operations() -> None:
    rng = random.Random(1)
    wrong, total = dict.fromkeys("+-*", 0), dict.fromkeys("+-*", 0)
    for item in ITEMS * 10:
        slipped = chains.slip(rng, item)
        values = [step.before for step in slipped.steps[1:]]
        assert values == [step.after for step in slipped.steps[:-1]]
        for step in slipped.steps:
            total[step.sign] += 1
            wrong[step.sign] += step.after != apply(step.sign, step.operand, step.before)
    rates = {sign: wrong[sign] / total[sign] for sign in total}
    assert rates["+"] < rates["-"] < rates["*"]
    assert rates["*"] == pytest.approx(chains.SLIPS["*"], abs=0.06)


def test_styles_differ_in_length_and_words() -> None:
    rng = random.Random(1)
    words = {style: " ".join(chains.chain(rng, item, style) for item in ITEMS).lower() for style in chains.STYLES}
    assert len(words["long"]) > len(words["medium"]) > len(words["terse"])
    assert words["explore"].count("perhaps") > 50 > words["medium"].count("perhaps")
    assert words["long"].count("check") > 50 > words["terse"].count("check")


def test_no_corpus_document_shares_a_question_with_pool_or_eval() -> None:
    held_out = {item.question for split in ("pool", "eval") for item in _some(split)}
    prompts = [next_document.prompt for next_document in _first(2000)]
    assert not any(question in prompt for prompt in prompts for question in held_out)


def _first(count: int) -> list[corpus.Document]:
    stream = corpus.base(9)
    return [next(stream) for _ in range(count)]


def _some(split: str) -> list[Problem]:
    return [item for name in ("buttons", "days") for item in problems(name, 50, 3, [1, 2, 3], split)]  # type: ignore[arg-type]


def _last_number(text: str) -> str:
    digits = "".join(character if character.isdigit() else " " for character in text)
    return digits.split()[-1]
