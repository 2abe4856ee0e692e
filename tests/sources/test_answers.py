import json
from decimal import Decimal

import pytest

from tasks.core.cells import as_text
from tasks.sources.answers import final_answer, last_boxed, option_letter, tidy


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (27.0, "27"),
        (0.5, "0.5"),
        (1e-5, "1e-05"),
        (-3, "-3"),
        (float("nan"), None),
        (None, None),
        ("  ", None),
        (["3"], "3"),
        ([3568, 864], "3568, 864"),
        ([], None),
        ([[1, 2], [3, 4.0]], "[[1, 2], [3, 4]]"),
        ([[[1], [2]], [[3], [4]]], "[[[1], [2]], [[3], [4]]]"),
        ([[1, 2], 3], "[[1, 2], 3]"),
        ([["x", "y"]], "[[x, y]]"),
        ([[1, None], [3, 4]], None),
        ([[1], []], None),
        (json.loads("[" * 300 + "1" + "]" * 300), None),
        ({"integer": 42, "square_of": 84}, "42, 84"),
        ({"value": "3", "unit": "cm"}, None),
        ({"right": True}, None),
        ({"a": 1, "b": None}, None),
        ({}, None),
        (Decimal("12.50"), "12.5"),
        (Decimal("NaN"), None),
        ('["\\\\frac{1}{2}"]', r"\frac{1}{2}"),
        ("[-1,0]", "[-1,0]"),
        ("07", "07"),
    ],
)
def test_a_cell_as_text(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize(
    ("value", "how", "worked", "answer"),
    [
        ("She has 48/2 = <<48/2=24>>24.\n#### 72", "auto", False, "72"),
        ("That is\n#### 1,080", "auto", False, "1080"),
        (r"so $x=\boxed{60}$. Also \boxed{\frac{1}{2}}.", "auto", True, r"\frac{1}{2}"),
        ("It follows from symmetry.", "auto", True, None),
        (r"\frac{5}{17}", "auto", False, r"\frac{5}{17}"),
        (r"\boxed{7}", "as_is", False, "7"),
        ("72", "hash", False, None),
        (r"the answer is \boxed{3", "boxed", False, None),
        ("The answer is B.", "letter", True, "B"),
        ("The answer is 12.", "letter", True, None),
    ],
)
def test_the_final_answer(value, how, worked, answer):
    assert final_answer(value, how, worked) == answer


def test_the_last_closed_box_counts_and_escaped_braces_do_not():
    assert last_boxed(r"\boxed{1} and \boxed{\{2,3\}} and \boxed{4") == r"\{2,3\}"


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("$\\frac{89}{200}$", r"\frac{89}{200}"),
        ("$221,$8$", "221,8"),
        ("$(1,2)$, $(3,4)$", "(1,2), (3,4)"),
        ("$x$ is even", "$x$ is even"),
        (r"\$18.90", r"\$18.90"),
        ("27.0", "27"),
        ("12.", "12"),
        ("110。", "110"),
        (r"\boxed{\$5}", r"\$5"),
    ],
)
def test_typing_accidents_are_removed(raw, clean):
    assert tidy(raw) == clean


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("C", "C"),
        ("(B)", "B"),
        ("B.", "B"),
        ("D. 12", "D"),
        ("(E) none of these", "E"),
        ("The answer is B", "B"),
        ("so we get 7.\nANSWER: C", "C"),
        ("**Answer:** (J)", "J"),
        ("The correct choice is option B.", "B"),
        ("All in all (C).", "C"),
        ("故选D。", "D"),
        ("答案是 C", "C"),
        (r"\boxed{\text{(B)}}", "B"),
        (r"so it is $\boxed{\textbf{(D)}\ 12}$.", "D"),
        (r"$\mathrm{(A)}$", "A"),
        (r"\boxed{12}. Answer: A", "A"),
        ("x" * 5000 + " The answer is F", "F"),
        ("A. " + "x" * 5000, None),
        ("K", None),
        ("b", None),
        ("B and C", None),
        ("12", None),
        ("which is P(A)", None),
        ("A dog", None),
        ("the answer is DNA", None),
        ("", None),
    ],
)
def test_the_letter_of_an_option(text, letter):
    assert option_letter(text) == letter
