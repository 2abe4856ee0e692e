import pytest

from tasks.grading.golds import Gold, misfit, read_gold
from tasks.grading.rules import KINDS, Rules


@pytest.mark.parametrize(
    ("gold", "kind", "value", "unit"),
    [
        ("27.0", "integer", "27", ""),
        ("1,234", "integer", "1234", ""),
        ("-\\dfrac{3}{4}", "rational", "-3/4", ""),
        ("1.25", "decimal", "5/4", ""),
        ("4.5e33", "integer", "45" + "0" * 32, ""),
        ("x=5", "integer", "5", ""),
        ("twelve", "integer", "12", ""),
        ("52_8", "integer", "52", "base 8"),
        ("62.5\\%", "decimal", "125/2", "%"),
        ("\\$ 18.90", "decimal", "189/10", "dollar"),
        ("30^\\circ", "integer", "30", "^\\circ"),
        ("6\\text{ cm}", "integer", "6", "cm"),
        ("\\frac{\\sqrt{6}}{4}", "expression", "\\frac{\\sqrt{6}}{4}", ""),
        ("(3,4]", "interval", "(3,4]", ""),
        ("(2,\\infty)", "interval", "(2,\\infty)", ""),
        ("$k \\geqslant 2$", "interval", "k\\ge2", ""),
        ("x \\in [-2,7]", "interval", "[-2,7]", ""),
        ("(-\\infty, 0) \\cup \\{1\\}", "interval", "(-\\infty,0)\\cup\\{1\\}", ""),
        ("1,-2", "set", "{-2, 1}", ""),
        ("\\{\\frac12, 3\\}", "set", "{1/2, 3}", ""),
        ("1 \\pm \\sqrt{19}", "set", "1\\pm\\sqrt{19}", ""),
        ("(6,31,-1)", "tuple", "(6, 31, -1)", ""),
        ("5x - 7y + 4 = 0", "equation", "5x-7y+4=0", ""),
        ("\\begin{pmatrix} -2 \\\\ 7 \\end{pmatrix}", "matrix", "\\begin{pmatrix}-2\\\\7\\end{pmatrix}", ""),
        ("\\text{(C)}", "choice", "C", ""),
        ("\\text{Evelyn}", "text", "evelyn", ""),
        ("丙", "text", "丙", ""),
        ("t(0,4]", "other", "t(0,4]", ""),
    ],
)
def test_a_gold_is_classified_by_its_form(gold, kind, value, unit):
    assert read_gold(gold) == Gold(kind, value, unit)


def test_rules_decide_what_the_form_leaves_open():
    assert read_gold("(1,2)").kind == "tuple"
    assert read_gold("(1,2)", Rules(kind="interval")).kind == "interval"
    assert read_gold("B", Rules(kind="choice")) == Gold("choice", "B", "")
    assert read_gold("The cat.", Rules(kind="text")).kind == "text"


@pytest.mark.parametrize(
    "text", ["", "\\", "}{", "\ud800", "\0", "(" * 1000, "{" * 5000 + "}" * 5000, "x" * 100_000, "$$", "_8", "%"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_no_gold_raises(text, kind):
    assert read_gold(text, Rules(kind=kind)).kind in {*KINDS, "other"} - {"auto"}


@pytest.mark.parametrize(
    ("gold", "kind", "fits"),
    [
        ("27.0", "integer", True),
        ("27.5", "integer", False),
        ("x+1", "integer", False),
        ("1/3", "decimal", True),
        ("\\sqrt2", "rational", False),
        ("5", "set", True),
        ("(1,2]", "set", False),
        ("(1,2)", "tuple", True),
        ("x>5", "equation", True),
        ("5", "matrix", False),
        ("five", "choice", False),
        ("anything", "auto", True),
        ("anything", "text", True),
    ],
)
def test_a_gold_of_another_kind_than_declared_is_a_misfit(gold, kind, fits):
    rules = Rules(kind=kind)
    assert misfit(read_gold(gold, rules), rules) is not fits
