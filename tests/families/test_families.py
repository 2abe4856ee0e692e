"""The generators: right answers, disjoint splits, determinism, one-line errors."""

import re
from itertools import islice

import pytest

from tasks.core.errors import LimoError
from tasks.families import Problem, apply, families, problems, split_of
from tasks.families.problem import Step, program

SPLITS = ("pretrain", "pool", "eval")


@pytest.mark.parametrize(
    ("sign", "operand", "value", "expected"),
    [("+", 8, 47, 55), ("+", 9, 95, 4), ("-", 5, 3, 98), ("*", 7, 47, 29), ("*", 9, 0, 0)],
)
def test_apply(sign: str, operand: int, value: int, expected: int) -> None:
    assert apply(sign, operand, value) == expected


@pytest.mark.parametrize("name", families())
def test_answers_follow_from_the_steps(name: str) -> None:
    for problem in problems(name, 100, 1, range(1, 13), "pool"):
        value = problem.steps[0].before
        for step in problem.steps:
            assert step.before == value
            value = apply(step.sign, step.operand, value)
            assert step.after == value
        assert problem.answer == f"{value:02d}"
        assert problem.level == len(problem.steps)


@pytest.mark.parametrize("name", families())
def test_a_question_says_all_that_its_answer_needs(name: str) -> None:
    for problem in problems(name, 100, 2, [2, 7, 12], "eval"):
        numbers = [number for number in re.findall(r"\d+", problem.question) if number != "100"]
        assert numbers == [f"{problem.steps[0].before:02d}", *(str(step.operand) for step in problem.steps)]
        assert all(re.search(rf"\b{step.label}\b", problem.question) for step in problem.steps)
        assert len({step.label for step in problem.steps}) == problem.level


@pytest.mark.parametrize("name", families())
def test_questions_are_distinct_and_deterministic(name: str) -> None:
    first = list(problems(name, 300, 3, [3, 6], "pool"))
    assert first == list(problems(name, 300, 3, [3, 6], "pool"))
    assert len({problem.question for problem in first}) == 300
    assert first != list(problems(name, 300, 4, [3, 6], "pool"))
    assert first[:20] == list(islice(problems(name, 1000, 3, [3, 6], "pool"), 20))


def test_levels_are_spread_evenly() -> None:
    levels = [problem.level for problem in problems("buttons", 90, 1, [4, 6, 8], "pool")]
    assert [levels.count(level) for level in (4, 6, 8)] == [30, 30, 30]


def test_splits_share_no_program_whatever_the_family_seed_or_wording() -> None:
    seen: dict[str, set[str]] = {split: set() for split in SPLITS}
    for split in SPLITS:
        for name in families():
            for seed in range(5):
                seen[split] |= {_program(problem) for problem in problems(name, 200, seed, [1, 2, 5], split)}  # type: ignore[arg-type]
    assert not seen["pretrain"] & seen["pool"]
    assert not seen["pretrain"] & seen["eval"]
    assert not seen["pool"] & seen["eval"]


def test_the_split_does_not_depend_on_labels() -> None:
    steps = (Step("K", "+", 8, 47, 55), Step("C", "*", 3, 55, 65))
    assert program(steps) == "47 +8 *3"
    assert split_of(steps) == split_of(tuple(step._replace(label="two") for step in steps))


def test_answers_are_near_uniform() -> None:
    answers = [problem.answer for problem in problems("days", 4000, 1, [8], "pretrain")]
    assert max(answers.count(answer) for answer in set(answers)) < 100
    assert len(set(answers)) == 100


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (("riddles", 1, 1, [2], "pool"), "unknown question family 'riddles'"),
        (("buttons", 1, 1, [2], "train"), "unknown split 'train'"),
        (("buttons", -1, 1, [2], "pool"), "cannot make -1"),
        (("buttons", 1, 1, [], "pool"), "levels must be from 1"),
        (("buttons", 1, 1, [13], "pool"), "from 1 to 12"),
        (("buttons", 5000, 1, [1], "pool"), "ask for fewer"),
    ],
)
def test_bad_requests_are_one_clear_line(call: tuple[str, int, int, list[int], str], message: str) -> None:
    with pytest.raises(LimoError, match=message) as caught:
        list(problems(*call))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def _program(problem: Problem) -> str:
    return program(problem.steps)
