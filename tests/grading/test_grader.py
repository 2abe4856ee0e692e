import json
import re
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy
import pytest

from benchmarks.hostile_data import answers
from tasks.core.errors import LimoError
from tasks.grading import grader
from tasks.grading.grader import (
    GRADER,
    Pair,
    Verdict,
    VerdictCache,
    VerdictKey,
    grade,
    grade_answer,
    grade_many,
)
from tasks.grading.rules import Rules
from tasks.grading.symbolic import Limits

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


@pytest.mark.slow
def test_hostile_answers_do_not_run_hang_or_raise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile = answers()
    assert len(hostile) >= 200
    pairs = [Pair(gold, f"\\boxed{{{answer}}}") for answer in hostile for gold in ("7", "x^2+1")]
    found = grade_many([*pairs, Pair("3\\sqrt{13}", "\\boxed{\\sqrt{117}}")], Limits(seconds=1.0))
    assert not list(tmp_path.iterdir()), "no input ran"
    right = {pair.response for pair, verdict in zip(pairs, found, strict=False) if verdict.verdict == "correct"}
    assert right == set()
    assert all(verdict.reason or verdict.rule != "none" for verdict in found)
    ungraded = Counter(verdict.reason for verdict in found if verdict.verdict == "ungraded")
    assert ungraded["refused_hostile"] > 50, "what may run for ever is not even tried"
    assert ungraded["timeout"] < 30, "each is killed after 1 s of CPU"
    assert not ungraded["grader_failed"], "our own parser must not fail either"
    assert sum(verdict.verdict == "incorrect" for verdict in found) > 100, "most of it is plainly no 7"
    assert found[-1].verdict == "correct", "the batch must continue after a killed check"


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
    """All that `grader` imports, directly or not, is in the digest."""
    folder, found, new = Path(grader.__file__).parent, set(), {"grader"}
    while new:
        found |= new
        sources = [(folder / f"{name}.py").read_text(encoding="utf-8") for name in new]
        imported = {name for source in sources for name in IMPORT.findall(source)}
        new = imported - found
    assert not found & set(grader.NOT_DECIDING)


def test_the_last_words_of_a_response_that_was_cut_off_are_no_answer():
    cut = "We still have to multiply, so the partial sum is 12"
    assert grade_many([Pair("12", cut)])[0].verdict == "correct"
    assert grade_many([Pair("12", cut, cut_off=True)])[0][:4] == ("incorrect", None, "none", "no_answer")
    assert grade_many([Pair("12", "\\boxed{12} and then", cut_off=True)])[0].verdict == "correct"


@pytest.mark.parametrize("response", ["", "no idea", "\\boxed{5}"])
def test_without_a_gold_nothing_is_graded(response):
    assert grade(" ", response)[::3] == ("ungraded", "no_gold")


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        ("4.5", "4.52 \\text{ erg}", "correct"),
        ("4.5e33", "4.52 \\times 10^{33} \\mathrm{~erg}", "correct"),
        ("1.414", "\\sqrt{2.01}", "correct"),
        ("1.414", "\\sqrt{2.1}", "incorrect"),
        ("(1,2)", "(1.001,2.001)", "correct"),
        ("(1,2)", "(1.001,2.1)", "incorrect"),
        ("0.5", "0.5\\%", "incorrect"),
        ("2 \\text{ m}", "2.01 \\text{ m}", "correct"),
        ("2 \\text{ m}", "201 \\text{ cm}", "correct"),
        ("2 \\text{ m}", "2 \\text{ s}", "incorrect"),
        ("50\\%", "0.503", "correct"),
        ("0.5", "50.3\\%", "correct"),
        ("50", "50.3\\%", "correct"),
        ("0.5", "52\\%", "incorrect"),
    ],
)
def test_a_tolerance_is_of_the_value_whatever_it_is_written_in(gold, answer, verdict):
    assert grade_answer(gold, answer, Rules(tolerance=0.01)).verdict == verdict


@pytest.mark.parametrize("rules", ['{"kind":["a"]}', '{"kind":{"a":1}}', '{"extraction":[]}'])
def test_invalid_rules_are_a_one_line_error(rules):
    with pytest.raises(LimoError, match="^grading rules"):
        grade("5", "5", rules)


@pytest.mark.parametrize(
    ("gold", "answer", "verdict"),
    [
        ("n=8", "the smallest such n is 8", "correct"),
        ("n=8", "the smallest such n is 9", "incorrect"),
        ("9 m^2", "the area is 9m²", "correct"),
        ("9 m", "the area is 9m²", "incorrect"),
        ("5", "the roots are 5 and 6", "incorrect"),
    ],
)
def test_a_bare_answer_may_be_a_sentence(gold, answer, verdict):
    assert grade_answer(gold, answer).verdict == verdict


@pytest.mark.parametrize(
    ("gold", "answer", "rules", "verdict"),
    [
        ("5", "5.0", {"kind": "text"}, "correct"),
        ("5", "6", {"kind": "text"}, "incorrect"),
        ("5 kg", "5000 g", {"required": ["unit"]}, "correct"),
        ("5 kg", "5", {"required": ["unit"]}, "incorrect"),
    ],
)
def test_texts_and_units_go_by_value_too(gold, answer, rules, verdict):
    assert grade_answer(gold, answer, Rules(**rules)).verdict == verdict


@pytest.mark.parametrize(
    ("gold", "answer", "verdict", "reason"),
    [
        (5, "5", "correct", None),
        ("5", 5.0, "correct", None),
        (numpy.int64(5), numpy.float64(5), "correct", None),
        (Decimal("2.50"), 2.5, "correct", None),
        ([1, 2], "2, 1", "correct", None),
        ([[1, 2], [3, 4]], [[1, 3], [2, 4]], "incorrect", None),
        ("5", None, "incorrect", "no_answer"),
        (None, "5", "ungraded", "no_gold"),
        (float("nan"), "5", "ungraded", "no_gold"),
        (b"5", "5", "ungraded", "no_gold"),
        ("(1,2)", (1, 2), "correct", None),
        ((1, 2), "(2,1)", "incorrect", None),
        (numpy.array([1, 2]), "2, 1", "correct", None),
        ("1/2", Fraction(1, 2), "correct", None),
        ("5", object(), "incorrect", "no_answer"),
    ],
)
def test_a_value_that_is_no_text_is_read_as_a_cell(gold, answer, verdict, reason):
    found = grade_answer(gold, answer)
    assert (found.verdict, found.reason) == (verdict, reason)


def test_without_a_response_there_is_no_answer():
    assert grade("5", None)[:4] == ("incorrect", None, "none", "no_answer")
    assert grade(5, "So it is \\boxed{5}.").verdict == "correct"
    assert grade(None, None)[:4] == ("ungraded", None, "none", "no_gold")


SYMBOLIC = Pair("\\int x", "\\boxed{\\int x dx}")
ONE, TWO = VerdictKey("a", "b", "auto"), VerdictKey("\ud800", "\n{", '{"kind":"set"}')


def test_the_next_run_finds_the_cached_verdicts(tmp_path):
    cache = VerdictCache(tmp_path / "verdicts", "g1")
    assert cache.get(ONE) is None
    cache.add({})
    assert not (tmp_path / "verdicts").exists()
    cache.add({ONE: "correct"})
    cache.add({ONE: "correct", TWO: "incorrect"})
    reopened = VerdictCache(tmp_path / "verdicts", "g1")
    assert (reopened.get(ONE), reopened.get(TWO)) == ("correct", "incorrect")
    assert VerdictCache(tmp_path / "verdicts", "g2").get(ONE) is None


@pytest.mark.parametrize("damage", [b'["a", "c", "au', b"\xff\xfe", b'["a"]', b"7"])
def test_a_damaged_line_of_the_cache_costs_only_itself(tmp_path, damage):
    cache = VerdictCache(tmp_path, "g1")
    cache.add({ONE: "correct"})
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes() + damage)
    cache.add({TWO: "incorrect"})
    reopened = VerdictCache(tmp_path, "g1")
    assert (reopened.get(ONE), reopened.get(TWO)) == ("correct", "incorrect")


def test_a_cached_verdict_needs_no_symbolic_check(tmp_path, monkeypatch):
    first = grade_many([SYMBOLIC], cache=VerdictCache(tmp_path, GRADER))
    assert first[0].rule == "symbolic"
    monkeypatch.setattr(grader, "check_many", lambda *_: pytest.fail("checked twice"))
    monkeypatch.setattr(grader, "_graded", {})
    assert grade_many([SYMBOLIC], cache=VerdictCache(tmp_path, GRADER)) == first


def test_an_answer_with_two_plus_minus_signs_is_open_and_no_failure():
    assert grade_answer("\\pm 1 \\pm \\sqrt{2}", "\\pm\\sqrt{2} \\pm 1")[:4:3] == ("ungraded", "gold_unparsed")
