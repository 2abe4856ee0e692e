import pytest

from tasks.grading.grader import Pair, grade_many
from tasks.grading.options import read_options, replace_by_letters
from tasks.grading.symbolic import Limits
from tasks.sources.rows import with_options

QUESTION = "What is it?\nA. 10\nB. 12\nC. \\frac{3}{2}\nD. none of these"


@pytest.mark.parametrize(
    ("question", "found"),
    [
        ("How many? A. 10 B. 12 C. 14", {"A": "10", "B": "12", "C": "14"}),
        (
            "Pick\n(A) one\n(B) two; three\n(C) A. or B.\n\nAnswer now.",
            {"A": "one", "B": "two; three", "C": "A. or B."},
        ),
        ("Which? A) 1/2, B) 1/3, C) 1/4", {"A": "1/2", "B": "1/3", "C": "1/4"}),
        ("At point A. Find B. A. 10 B. 12", {"A": "10", "B": "12"}),
        (r"\textbf{(A)}\ 10 \qquad \textbf{(B)}\ 12", {"A": "10", "B": "12"}),
        ("**A.** x\n**B.** y", {"A": "x", "B": "y"}),
        ("速度（ ）\nA．增大B．减小\nC．不变 D．无法确定", {"A": "增大", "B": "减小", "C": "不变", "D": "无法确定"}),
        ("Events have P(A) = 1/2 and P(B) = 1/3. Find P(A and B).", {}),
        ("A. alone is no choice", {}),
        ("", {}),
    ],
)
def test_the_options_of_a_question(question, found):
    assert read_options(question) == found


def test_the_options_of_gpqa_are_found_as_they_are_written():
    shown = with_options("Which energy?", "3 eV", ["1 eV", "2 eV", "heat, and light"], seed=3)
    assert sorted(read_options(shown.question).values()) == ["1 eV", "2 eV", "3 eV", "heat, and light"]
    assert read_options(shown.question)[shown.answer] == "3 eV"


@pytest.mark.parametrize(
    "hostile", ["A. " * 40_000, "(A)(B)" * 20_000, "\\textbf{(A) " * 9_000, "A. x" + " \\" * 90_000]
)
def test_hostile_questions_end(hostile):
    assert len(read_options(hostile)) < 3


@pytest.mark.parametrize(
    ("pair", "question", "verdict"),
    [
        (Pair("B", "12", "choice", bare=True), QUESTION, ("correct", "B")),
        (Pair("B", "So it is $\\boxed{12.0}$", "choice"), QUESTION, ("correct", "B")),
        (Pair("(B)", "12", bare=True), QUESTION, ("correct", "B")),
        (Pair("B", "10", "choice", bare=True), QUESTION, ("incorrect", "A")),
        (Pair("C", "1.5", "choice", bare=True), QUESTION, ("correct", "C")),
        (Pair("D", "None of these.", "choice", bare=True), QUESTION, ("correct", "D")),
        # A letter is one already, and what is no option stays what it was.
        (Pair("B", "B", "choice", bare=True), QUESTION, ("correct", "B")),
        (Pair("B", "C. 12", "choice", bare=True), QUESTION, ("incorrect", "C. 12")),
        (Pair("B", "13", bare=True), QUESTION, ("incorrect", "13")),
        # Two options say the same: neither is meant.
        (Pair("B", "1/2", bare=True), "A. 0.5 B. \\frac{1}{2} C. 2", ("incorrect", "1/2")),
        # Not a choice: the answer is a number, or the gold none of the options.
        (Pair("12", "12", bare=True), QUESTION, ("correct", "12")),
        (Pair("E", "12", bare=True), QUESTION, ("incorrect", "12")),
        (Pair("B", "12", bare=True), None, ("incorrect", "12")),
    ],
)
def test_an_answer_in_the_words_of_an_option_is_its_letter(pair, question, verdict):
    (found,) = grade_many(replace_by_letters([pair], [question], Limits(workers=1)), Limits(workers=1))
    assert (found.verdict, found.extracted) == verdict
