import json
import re
import time
from pathlib import Path

import pytest

from benchmarks.hostile_data import answers
from tasks.grading import version
from tasks.grading.grader import Pair, Verdict, grade, grade_many
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


def test_a_module_that_decides_is_in_the_version():
    """What `grader` imports, directly or not, and nothing of it is left out of the digest."""
    folder, found, new = Path(version.__file__).parent, set(), {"grader"}
    while new:
        found |= new
        sources = [(folder / f"{name}.py").read_text(encoding="utf-8") for name in new]
        imported = {name for source in sources for name in IMPORT.findall(source)}
        new = imported - found
    assert not found & set(version.BESIDE)
