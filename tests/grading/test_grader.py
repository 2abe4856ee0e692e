import json
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.hostile_data import answers
from tasks.grading import version
from tasks.grading.extract import extract
from tasks.grading.grader import Key, Pair, Verdict, grade, grade_many, in_process
from tasks.grading.rules import Rules
from tasks.grading.version import GRADER

IMPORT = re.compile(r"^from tasks\.grading\.(\w+) import", re.MULTILINE)
HERE = Path(__file__).parent
CASES = json.loads((HERE / "cases.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def verdicts():
    """All cases in one call, as a stage would grade them."""
    pairs = [Pair(case["gold"], f"\\boxed{{{case['answer']}}}", case.get("kind", "auto")) for case in CASES]
    return grade_many(pairs)


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda n: f"{CASES[n]['gold']} | {CASES[n]['answer']}")
def test_case(number, verdicts):
    case = CASES[number]
    assert verdicts[number].verdict == case["verdict"], f"{case['why']}: {verdicts[number]}"


def test_hostile_answers_do_not_run_hang_or_raise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile = answers()
    assert len(hostile) >= 200
    pairs = [Pair(gold, f"\\boxed{{{answer}}}") for answer in hostile for gold in ("7", "x^2+1")]
    started = time.monotonic()
    found = grade_many([*pairs, Pair("3\\sqrt{13}", "\\boxed{\\sqrt{117}}")])
    assert time.monotonic() - started < 120, "8 checks are killed, each after 3 s of CPU"
    assert not list(tmp_path.iterdir()), "no input ran"
    right = {pair.response for pair, verdict in zip(pairs, found, strict=False) if verdict.verdict == "correct"}
    assert right == set()
    assert all(verdict.reason or verdict.rule != "none" for verdict in found)
    assert found[-1].verdict == "correct", "the batch must go on after a killed check"


def test_each_different_answer_is_graded_once_and_in_order():
    pairs = [Pair("7", "\\boxed{7}"), Pair("7", "\\boxed{8}"), Pair("7", "so \\boxed{7}"), Pair("7", "none")]
    assert [verdict.verdict for verdict in grade_many(pairs)] == ["correct", "incorrect", "correct", "incorrect"]
    assert grade_many([]) == []


def test_a_missing_answer_is_incorrect_and_says_why():
    assert grade("7", "no idea") == Verdict("incorrect", None, "none", "no_answer")
    assert grade("7", "\\boxed{6} \\boxed{7") == Verdict("incorrect", None, "none", "unterminated_box")


def test_the_verdict_names_answer_rule_and_grader():
    assert grade("\\frac{1}{2}", "\\boxed{0.5}") == Verdict("correct", "0.5", "number", None)
    assert GRADER.startswith("limo-grader ")
    assert "math-verify 0.9" in GRADER


# What a model writes, in pieces that the rules look at.
BRACKETS = ["\\boxed{", "\\frac", "\\text{", "\\sqrt", "\\{", "\\}", "}", "{", "(", ")", "[", "]", "</think>"]
SIGNS = [
    "1",
    "23",
    ".",
    ",",
    "%",
    "$",
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
]
PIECES = st.sampled_from([*BRACKETS, *SIGNS, "answer is", "####"])


@settings(max_examples=200, deadline=None)
@given(gold=st.sampled_from(["7", "1,2", "C. 5", "\\frac{1}{2}", "5 cm"]), pieces=st.lists(PIECES, max_size=25))
def test_grade_never_raises_on_pieces(gold, pieces):
    exact_only("".join(pieces), gold)


@settings(max_examples=150, deadline=None)
@given(gold=st.text(max_size=30), response=st.text(max_size=80))
def test_grade_never_raises_on_any_text(gold, response):
    exact_only(response, gold)


def exact_only(response, gold):
    """Everything up to the workers, which see no more than the two strings, and with no guard around it."""
    for kind in ("auto", "choice", "text"):
        answer = extract(response, Rules(kind=kind)).answer
        for text in (answer, response):
            if text is not None:
                in_process(Key(gold, text, kind))


NUMBERS = st.one_of(
    st.integers(-10_000, 10_000).map(str),
    st.tuples(st.integers(-99, 99), st.integers(1, 99)).map(lambda pair: f"\\frac{{{pair[0]}}}{{{pair[1]}}}"),
    st.tuples(st.integers(0, 99), st.integers(0, 999)).map(lambda pair: f"{pair[0]}.{pair[1]}"),
)
STYLES = (
    lambda text: f"${text}$",
    lambda text: f" {text} ",
    lambda text: f"\\({text}\\)",
    lambda text: text.replace("\\frac", "\\dfrac"),
    lambda text: f"\\text{{{text}}}",
    lambda text: f"{text}.",
    lambda text: f"x = {text}",
    lambda text: text.replace("-", "−"),
    lambda text: f"{text}^\\circ",
)


@settings(max_examples=150, deadline=None)
@given(gold=NUMBERS, answer=NUMBERS, style=st.sampled_from(STYLES))
def test_typesetting_never_changes_a_verdict_on_numbers(gold, answer, style):
    plain = grade(gold, f"\\boxed{{{answer}}}").verdict
    assert plain != "ungraded"
    assert grade(gold, f"\\boxed{{{style(answer)}}}").verdict == plain
    assert grade(style(gold), f"\\boxed{{{answer}}}").verdict == plain
    assert grade(gold, f"\\boxed{{{style(gold)}}}").verdict == "correct"


def test_a_module_that_decides_is_in_the_version():
    """What `grader` imports, directly or not, and nothing of it is left out of the digest."""
    folder, found, new = Path(version.__file__).parent, set(), {"grader"}
    while new:
        found |= new
        sources = [(folder / f"{name}.py").read_text(encoding="utf-8") for name in new]
        imported = {name for source in sources for name in IMPORT.findall(source)}
        new = imported - found
    assert not found & set(version.BESIDE)
