r"""Golds in the forms of the seven benchmarks, made for this test: each is correct against itself, however it is set.

The benchmarks' own 1,564 golds are checked so by `python -m benchmarks.grading --golds FILE.jsonl ...`.
"""

import pytest

from benchmarks.grading import TYPESETTINGS, gold_of
from tasks.grading.grader import Pair, grade_many

GOLDS = {
    "AIME24": ["073", "902", "17", "540"],
    "AMC23": ["27.0", "1625.0", "3.0", "-4.0"],
    "CHMath": ["\\frac{3\\sqrt{5}}{4}", "\\sqrt{6}-1", "\\frac{7}{19}", "\\sqrt{91}", "10"],
    "Gaokao": [
        *("-\\frac{2\\sqrt{3}}{5}", "(1)(4)", "{1,3,5}", "9-\\sqrt{7 \\mathrm{i}}", "\\frac{1}{3}, -\\frac{1}{3}"),
        *("\\frac{x^{2}}{20}+\\frac{y^{2}}{5}=1 (y>0)", "-5 m", "C. {x \\mid-2<x<6}", "b>c>a", "f(30)>500", "\\ln 3"),
        *("充要条件", "50 名学生成绩的极差介于 20 kg 至 30kg 之间", "24 ,61.5", "B", "BD", "M_{2}^{3}=M_{1}^{2}"),
        *(
            "x=1 是 \\vec{a} \\perp \\vec{b} 的必要条件",
            "(-\\frac{1}{3}, -0.5)",
            "\\log _{3} \\frac{a+b}{2}>\\frac{c}{2}",
        ),
    ],
    "GradeSchool": [
        *("$\\frac{4}{9} < \\frac{7}{15}$.", "a = 2, n = 1999", "3/99, 41/99", "丙", "0。4125", "3, 17 or 7, 13", 42),
        *("720 = 2^4 * 3^2 * 5", {"integer": 36, "square_of": 72}, [198, 864, 17], "1\\frac{1}{2024}", "60!", "2 * 17"),
        *(
            "112 \\frac{5}{12}",
            "使个位与十位的和为 10",
            "12345, 67890, 24680",
            "373 = 373",
            "\\frac{3}{7} = \\frac{9}{21}",
        ),
    ],
    "MATH500": [
        *(
            "(5,\\infty)",
            "1 \\pm \\sqrt{23}",
            "\\left( \\frac{5}{2}, -11 \\right)",
            "\\$43,\\!215",
            "10,\\!081",
            "8 \\pi",
        ),
        *(
            "\\begin{pmatrix} 1/7 \\\\ -12/7 \\end{pmatrix}",
            "x \\in [-3,8]",
            "18\\mbox{ cm}^2",
            "\\text{Agnes}",
            "\\frac37",
        ),
        *("\\text{(D)}", "4310_{5}", "y = -3x", "6+11i", "91^\\circ", "x^3+5x-7", "2,-3", "\\frac{13+4a}{21}", "x=6"),
        *(
            "5.4 \\text{ cents}",
            "(-\\infty, 0) \\cup (2,\\infty)",
            "12\\%",
            "\\frac{\\pi}{5}",
            "p^2 - 2q",
            "6 - 5i",
            "3\\sqrt{11}",
        ),
    ],
    "OlympiadBench": [
        *(
            "$\\left\\lfloor\\log _{2} m\\right\\rfloor+2$",
            "$(\\frac{1}{5}, \\frac{1}{32})$",
            "$81,\\frac{1}{3}$",
            "$10^{4},10$",
        ),
        *("$(6,5),(9,2),(9,7)$", "$\\frac{1}{6} n(n+1)$", "$n=k+7$", "$f(x)=\\frac{2}{x}$", "$(1,9,20), (2,8,15)$"),
        *(
            "$x=\\frac{1}{5} \\pi+\\pi k, \\frac{2}{5} \\pi+\\pi k$",
            "$\\angle C E B_{1}=90$,$\\angle B E C_{1}=90$",
            "$[\\frac{1}{9}, 3]$",
        ),
        *(
            "$2^{k+1}-1$",
            "$\\frac{\\pi^{2}-7}{9}$",
            "(1,5,77, 79), (3, 9, 71, 73)",
            "$\\sqrt{2 n+3}$",
            "8.4",
            "$3024$ cubic units",
        ),
    ],
}


@pytest.mark.parametrize("benchmark", GOLDS)
def test_a_gold_is_correct_against_itself(benchmark):
    golds = [gold_of({"answer": gold}) for gold in GOLDS[benchmark]]
    pairs = [Pair(gold, typeset(gold), bare=True) for gold in golds for typeset in (str, *TYPESETTINGS)]
    verdicts = grade_many(pairs)
    missed = [(pair.gold, pair.response, *verdict[:4]) for pair, verdict in zip(pairs, verdicts, strict=True)]
    assert [each for each in missed if each[2] != "correct"] == []


@pytest.mark.parametrize("benchmark", GOLDS)
def test_a_gold_is_not_correct_against_the_next(benchmark):
    golds = [gold_of({"answer": gold}) for gold in GOLDS[benchmark]]
    pairs = [Pair(gold, other, bare=True) for gold, other in zip(golds, [*golds[1:], golds[0]], strict=True)]
    assert [pair for pair, verdict in zip(pairs, grade_many(pairs), strict=True) if verdict.verdict == "correct"] == []
