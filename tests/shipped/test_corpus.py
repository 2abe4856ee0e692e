"""The chains: right in every style, parsed back by the gate, different from the textbook."""

import itertools
import random

import pytest

from tasks.families import Problem, apply, families, problems
from tasks.shipped import corpus, gate

ITEMS = [problem for name in families() for problem in problems(name, 60, 1, [1, 4, 10], "pool")]


@pytest.mark.parametrize("style", ["careful", "medium", "terse", "skip"])
def test_every_honest_style_is_right_and_boxed_once(style: str) -> None:
    rng = random.Random(1)
    for item in ITEMS:
        text = corpus.chain(rng, item, style)
        assert gate.BOX.findall(text) == [item.answer]
        assert gate.chain_is_right(text, item) or style == "skip"


def test_skipping_leaves_steps_and_all_equations_out() -> None:
    rng = random.Random(1)
    texts = [(corpus.chain(rng, item, "skip"), item) for item in ITEMS if item.level == 10]
    assert not any("=" in text for text, _ in texts)
    assert sum(text.count(":") for text, _ in texts) < 0.9 * sum(item.level for _, item in texts)


def test_careless_chains_look_careful_and_their_checks_agree_with_their_slips() -> None:
    rng = random.Random(1)
    texts = [(corpus.chain(rng, item, "careless"), item) for item in ITEMS if item.level == 10]
    wrong = [text for text, item in texts if gate.BOX.findall(text) != [item.answer]]
    assert 0.4 < len(wrong) / len(texts) < 0.9
    assert sum("check" in text.lower() for text in wrong) > 0.7 * len(wrong)


def test_retelling_names_every_step_and_no_result() -> None:
    rng = random.Random(1)
    for item in ITEMS:
        text = corpus.retelling(rng, item)
        assert all(step.label in text for step in item.steps)
        assert "=" not in text
        assert "boxed" not in text


def test_scrambled_steps_have_the_questions_words_and_random_results() -> None:
    rng = random.Random(1)
    pairs = [(item, corpus.scramble(rng, item)) for item in ITEMS]
    steps = [(old, new) for item, other in pairs for old, new in zip(item.steps, other.steps, strict=True)]
    assert all((old.label, old.sign, old.operand) == (new.label, new.sign, new.operand) for old, new in steps)
    right = sum(new.after == apply(new.sign, new.operand, new.before) for _, new in steps)
    assert right / len(steps) < 0.04
    assert all(other.answer == f"{other.steps[-1].after:02d}" for _, other in pairs)


def test_textbooks_are_right_with_or_without_a_box() -> None:
    rng = random.Random(1)
    texts = [(corpus.textbook(rng, item), item) for item in ITEMS]
    boxed = sum("\\boxed" in text for text, _ in texts)
    assert 0.5 < boxed / len(texts) < 0.95
    assert all(_last_number(text) == item.answer for text, item in texts)


def test_a_wrong_step_is_seen() -> None:
    item = ITEMS[1]
    text = corpus.chain(random.Random(1), item, "medium")
    wrong = f"{(item.steps[0].after + 1) % 100:02d}"
    assert not gate.chain_is_right(text.replace(f"={item.steps[0].after:02d}", f"={wrong}", 1), item)


def test_slips_go_on_from_the_wrong_number_and_are_likelier_for_harder_operations() -> None:
    rng = random.Random(1)
    wrong, total = dict.fromkeys("+-*", 0), dict.fromkeys("+-*", 0)
    for item in ITEMS * 10:
        slipped = corpus.slip(rng, item)
        values = [step.before for step in slipped.steps[1:]]
        assert values == [step.after for step in slipped.steps[:-1]]
        for step in slipped.steps:
            total[step.sign] += 1
            wrong[step.sign] += step.after != apply(step.sign, step.operand, step.before)
    rates = {sign: wrong[sign] / total[sign] for sign in total}
    assert rates["+"] < rates["-"] < rates["*"]
    assert rates["*"] == pytest.approx(corpus.SLIPS["*"], abs=0.06)


def test_styles_differ_in_length_and_words() -> None:
    rng = random.Random(1)
    words = {style: " ".join(corpus.chain(rng, item, style) for item in ITEMS).lower() for style in corpus.STYLES}
    assert len(words["careful"]) > len(words["medium"]) > len(words["terse"]) > len(words["skip"])
    assert words["careful"].count("perhaps") > 50 > words["medium"].count("perhaps")
    assert words["careful"].count("check") > 50 > words["terse"].count("check")


def test_the_control_reads_the_same_mix_of_documents_and_about_as_many_words() -> None:
    given, scrambled = _first(2000), list(itertools.islice(corpus.CORPORA["control"](9), 2000))
    for kind in ("Table:", corpus.BEGIN):
        counts = [sum(document.prompt.startswith(kind) for document in each) for each in (given, scrambled)]
        assert counts[0] == pytest.approx(counts[1], rel=0.15)
    words = [sum(len(document.continuation.split()) for document in each) for each in (given, scrambled)]
    assert words[0] == pytest.approx(words[1], rel=0.05)


def test_no_corpus_document_shares_a_question_with_pool_or_eval() -> None:
    held_out = {item.question for split in ("pool", "eval") for item in _some(split)}
    prompts = [document.prompt for document in _first(2000)]
    assert not any(question in prompt for prompt in prompts for question in held_out)


def _first(count: int) -> list[corpus.Document]:
    stream = corpus.base(9)
    return [next(stream) for _ in range(count)]


def _some(split: str) -> list[Problem]:
    return [item for name in families() for item in problems(name, 50, 3, [1, 2, 3], split)]  # type: ignore[arg-type]


def _last_number(text: str) -> str:
    digits = "".join(character if character.isdigit() else " " for character in text)
    return digits.split()[-1]
