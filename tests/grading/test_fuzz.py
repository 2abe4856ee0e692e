"""Properties of the grader, on values that are built, written twice, and typeset at random.

Deterministic here; `FUZZ_EXAMPLES=5000 pytest tests/grading/test_fuzz.py` looks further, at other examples each time.
"""

import os

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tasks.grading.grader import Pair, Verdict, VerdictKey, decide_in_process, grade, grade_answer, grade_many
from tasks.grading.rules import KINDS
from tasks.grading.symbolic import Check
from tests.grading.sorts import SORTS
from tests.grading.typesetting import dress

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
VERDICTS = {"correct", "incorrect", "ungraded"}
each_sort = pytest.mark.parametrize("name", SORTS)


def examples(count):
    return settings(
        max_examples=EXAMPLES or count,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def kind_of(draw, name):
    """The stated kind, or none: several letters are a choice only where that is stated."""
    return "choice" if name == "choices" else draw(st.sampled_from(["auto", SORTS[name].kind]))


def written(draw, sort, value):
    return dress(draw, sort.write(draw, value), spaced=sort.spaced)


@each_sort
@examples(25)
@given(data=st.data())
def test_one_value_written_twice_is_correct(name, data):
    sort, kind = SORTS[name], kind_of(data.draw, name)
    value = data.draw(sort.values)
    gold, answer = (written(data.draw, sort, value) for _ in range(2))
    assert grade_answer(gold, answer, kind).verdict == "correct", (gold, answer, kind)


@each_sort
@examples(25)
@given(data=st.data())
def test_another_value_is_never_correct(name, data):
    sort, kind = SORTS[name], kind_of(data.draw, name)
    value = data.draw(sort.values)
    other = data.draw(sort.values) if data.draw(st.booleans()) else sort.near(data.draw, value)
    assume(sort.differ(value, other))
    gold, answer = written(data.draw, sort, value), written(data.draw, sort, other)
    assert grade_answer(gold, answer, kind).verdict != "correct", (gold, answer, kind)


@each_sort
@examples(25)
@given(data=st.data())
def test_typesetting_never_changes_a_verdict(name, data):
    draw = data.draw
    kind, other = kind_of(draw, name), draw(st.sampled_from([name, *SORTS]))
    sides = [(SORTS[each], SORTS[each].write(draw, draw(SORTS[each].values))) for each in (name, other)]
    plain = [text for _, text in sides]
    dressed = [dress(draw, text, spaced=sort.spaced) for sort, text in sides]
    assert grade_answer(*dressed, kind).verdict == grade_answer(*plain, kind).verdict, (plain, dressed, kind)


PIECES = [
    *(
        "\\boxed{",
        "\\frac",
        "\\text{",
        "\\sqrt",
        "\\{",
        "\\}",
        "}",
        "{",
        "(",
        ")",
        "[",
        "]",
        "</think>",
        "<think>",
        "$",
    ),
    *(
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
        "&",
        "\\\\",
        "\\left",
        "\\right.",
        "\\cup",
        "\\le",
        "\\infty",
        "\\pm",
        "\\in",
    ),
    *(
        "1",
        "23",
        ".",
        ",",
        "%",
        "^",
        "_",
        "\\",
        "-",
        "/",
        "x",
        "=",
        "e",
        "C",
        "!",
        "或",
        " ",
        "\n",
        "\x00",
        "\\circ",
        "²",
    ),
    *("\ud800", "\u200b", "９", "½", "⅓", "answer is", "####", "**", "\\log", "\\binom", "|", ":", "<", "\\mid", "`"),
]
FRAGMENTS = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=60)
DEEP = st.sampled_from(["{", "(", "\\{", "[", "\\frac{", "\\sqrt{", "\\boxed{", "\\text{", "-", "^", "^{"]).map(
    lambda piece: piece * 1_000 + "1" + ("}" if "{" in piece else ")") * 1_000
)
HOSTILE = st.one_of(FRAGMENTS, ANYTHING, DEEP)


@examples(400)
@given(gold=st.one_of(st.sampled_from(["7", "1,2", "C. 5", "\\frac{1}{2}", "5 cm"]), HOSTILE), text=HOSTILE)
def test_no_rule_fails_on_any_text(gold, text):
    """Everything up to the workers, which see no more than the two strings, and with no guard around it."""
    for kind in ("auto", "choice", "text", "set"):
        assert isinstance(decide_in_process(VerdictKey(gold, text, kind)), Verdict | Check)


@examples(40)
@given(pairs=st.lists(st.tuples(HOSTILE, HOSTILE, st.sampled_from(KINDS), st.booleans()), min_size=1, max_size=5))
def test_grade_never_raises(pairs):
    found = grade_many([Pair(*pair) for pair in pairs])
    assert {each.verdict for each in found} <= VERDICTS
    assert not [each for each in found if each.reason == "grader_failed"]
    assert grade(*pairs[0][:3]).verdict in VERDICTS
