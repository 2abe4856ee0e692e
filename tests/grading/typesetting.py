r"""Ways to write one answer: `dress` changes typesetting only, the rest write a value in any of its usual forms.

Every function takes hypothesis's `draw`, which picks the way.
"""

import itertools
import re
import string
from fractions import Fraction
from typing import NamedTuple

from hypothesis import strategies as st

TOKEN = re.compile(
    r"\\(?:text|mbox|mathrm|textbf|begin|end|operatorname|mathbb|mathbf)\{[^{}]*\}(?:\{c+\})?|\\(?:left|right).|\\[A-Za-z]+"
    r"|\\."
    r"|[0-9]+(?:(?:\{,\}|,|\\,)[0-9]{3})*(?:\.[0-9]+)?|\.[0-9]+|[A-Za-z]{2,}(?: [A-Za-z]+)*|.",
    re.DOTALL,
)
WIDE = {"digits": "0123456789", "letters": string.ascii_letters, "brackets": "()[]", "signs": "+-=<>,"}
COMMAS = str.maketrans("，、或", ",,,")
SPACES = [
    "",
    "",
    " ",
    "\\,",
    "\\;",
    "~",
    "\\ ",
    "\u2009",
    "\u00a0",
    "\u3000",
    "  ",
    "\n",
    "\\:",
    "\\>",
    "\\enspace ",
    "\u200b",
]
WRAPS = [
    "{}",
    "${}$",
    "$${}$$",
    "\\({}\\)",
    "\\[{}\\]",
    " {} ",
    "{}.",
    "${}$.",
    "\\boxed{{{}}}",
    "$\\boxed{{{}}}$",
    "**{}**",
    "{{{}}}",
    "\\displaystyle {}",
    "$\\displaystyle{{{}}}$",
    "\\mathbf{{{}}}",
    "{}。",
    "\\[\\boxed{{{}}}\\]",
]
SWAPS = {
    "\\frac": ["\\frac", "\\dfrac", "\\tfrac", "\\cfrac"],
    "\\le": ["\\le", "\\leq", "\\leqslant", "≤"],
    "\\ge": ["\\ge", "\\geq", "\\geqslant", "≥"],
    "\\pi": ["\\pi", "π"],
    "\\infty": ["\\infty", "∞"],
    "\\cup": ["\\cup", "∪"],
    "\\cdot": ["\\cdot", "·", "\\cdot"],
    "\\times": ["\\times", "×"],
    "\\in": ["\\in", "∈"],
    "-": ["-", "-", "−", "–"],
    "\\{": ["\\{", "\\lbrace"],
    "\\}": ["\\}", "\\rbrace"],
}
SIZES = [
    ("", ""),
    ("", ""),
    ("\\left", "\\right"),
    ("\\bigl", "\\bigr"),
    ("\\Big", "\\Big"),
    ("\\big", "\\big"),
    ("\\biggl", "\\biggr"),
    ("\\Bigg", "\\Bigg"),
]


def pick(draw, *options):
    return draw(st.sampled_from(options))


def dress(draw, text, *, spaced=True):
    """The same answer, set otherwise: no change of value, form or order."""
    wide = "".join(WIDE[name] for name in draw(st.sets(st.sampled_from(sorted(WIDE)), max_size=2)))
    size = pick(draw, *SIZES)
    space = SPACES if spaced and draw(st.booleans()) else [""]
    tokens = [_token(draw, token, wide, size) for token in TOKEN.findall(text)]
    out = tokens[0]
    for before, after in itertools.pairwise(tokens):
        between = pick(draw, *space)
        if before[-1].isascii() and before[-1].isalpha() and before.startswith("\\") and after[0].isalpha():
            between = between.strip("\u200b") or " "
        elif before[-1] == " " or after == " " or before in "^_" or after in "^_!" or before == "\\sqrt":
            between = ""
        out += between + after
    if not draw(st.booleans()):
        return out
    # In bare braces commas make a set.
    wraps = [wrap for wrap in WRAPS if "{{{}}}" not in wrap or "," not in text.translate(COMMAS)]
    return pick(draw, *wraps).format(out)


def _token(draw, token, wide, size):
    if token in SWAPS:
        token = pick(draw, *SWAPS[token])
    side = 0 if token in ("\\{", "\\lbrace", "(", "[") else 1 if token in ("\\}", "\\rbrace", ")", "]") else None
    if side is not None and size[side]:
        # A sized bracket is never a full-width one.
        return size[side] + token
    return token if token.startswith("\\") else token.translate(_wide(wide))


def _wide(characters):
    return {ord(each): chr(ord(each) + 0xFEE0) for each in characters}


class Scalar(NamedTuple):
    """`plain + factor * root`, root one of sqrt(2), sqrt(3), ..., pi or nothing: equal only if all three parts are."""

    plain: Fraction
    factor: Fraction = Fraction(0)
    root: str = ""

    def __float__(self):
        roots = {"": 0.0, "\\pi": 3.141592653589793}
        root = roots[self.root] if self.root in roots else float(self.root) ** 0.5
        return float(self.plain) + float(self.factor) * root


def scalar(draw, value, *, alone=False):
    """A number in one of its forms; `alone`: not in a list, where a comma separates thousands."""
    if not value.root:
        return rational(draw, value.plain, alone=alone)
    root = _root(draw, value.root)
    if not value.plain:
        return times(draw, value.factor, root)
    bottom = (value.plain.denominator * value.factor.denominator) if draw(st.booleans()) else 1
    plain, factor = value.plain * bottom, value.factor * bottom
    text = total(draw, [rational(draw, plain, mixed=False), times(draw, factor, root)])
    return text if bottom == 1 else pick(draw, f"\\frac{{{text}}}{{{bottom}}}", f"({text})/{bottom}")


def total(draw, terms):
    """A sum, its terms in any order."""
    first, *rest = draw(st.permutations([term for term in terms if term not in ("0", "")] or ["0"]))
    return first + "".join(term if term.startswith("-") else f"+{term}" for term in rest)


def power(draw, base, exponent):
    if exponent == 1:
        return base
    return pick(draw, f"{base}^{{{exponent}}}", f"{base}^{exponent}" if exponent < 10 else f"{base}^{{{exponent}}}")


def _root(draw, root):
    if root == "\\pi":
        return root
    short = [f"\\sqrt {root}", f"\\sqrt{root}"] if len(root) == 1 else []
    return pick(draw, f"\\sqrt{{{root}}}", f"√{{{root}}}", f"\\sqrt{{{root}}}", *short)


def times(draw, factor, thing):
    """`factor * thing`."""
    sign, factor = ("-" if factor < 0 else ""), abs(factor)
    top = thing if factor.numerator == 1 else factor_of(draw, factor.numerator, thing)
    if factor.denominator == 1:
        return sign + top
    over = [f"\\frac{{{top}}}{{{factor.denominator}}}", f"{top}/{factor.denominator}"]
    return sign + pick(draw, *over, factor_of(draw, f"\\frac{{{factor.numerator}}}{{{factor.denominator}}}", thing))


def factor_of(draw, number, thing):
    return pick(draw, f"{number}{thing}", f"{number}{thing}", f"{number}\\cdot {thing}", f"{number} \\times {thing}")


def rational(draw, value, *, alone=False, mixed=True):
    if value.denominator == 1:
        return integer(draw, value.numerator, alone=alone)
    sign, top, bottom = ("-" if value < 0 else ""), abs(value.numerator), value.denominator
    ways = [f"{sign}\\frac{{{top}}}{{{bottom}}}", f"\\frac{{{sign}{top}}}{{{bottom}}}", f"{sign}{top}/{bottom}"]
    if top < 10 and bottom < 10:
        ways.append(f"{sign}\\frac{top}{bottom}")
    if mixed and top > bottom:
        ways.append(f"{sign}{top // bottom}\\frac{{{top % bottom}}}{{{bottom}}}")
    if sign:
        ways.append(f"\\frac{{{top}}}{{-{bottom}}}")
    if mixed:
        ways.append(f"\\frac{{{sign}{2 * top}}}{{{2 * bottom}}}")
    return pick(draw, *ways)


def integer(draw, value, *, alone=False):
    if not alone:
        return str(value)
    return pick(draw, str(value), f"{value:,}", f"{value:,}".replace(",", "{,}"), f"{value:,}".replace(",", "\\,"))


def listed(draw, parts, opening, closing):
    return opening + pick(draw, ",", ", ", "，", "、").join(parts) + closing


def as_set(draw, parts):
    parts = draw(st.permutations(parts))
    if draw(st.booleans()):
        return listed(draw, parts, *pick(draw, ("\\{", "\\}"), ("\\{", "\\}"), ("{", "}")))
    last = pick(draw, ", ", " and ", " or ", " \\text{ and } ", "\\text{ or }", "或", ",\\ ", ", \\quad ")
    return ", ".join(parts[:-1]) + last + parts[-1]


def plain_interval(draw, low, high, low_closed, high_closed):
    return f"{'(['[low_closed]}{low},{pick(draw, '', ' ')}{high}{')]'[high_closed]}"


def interval(draw, low, high, low_closed, high_closed):
    """Any writing of it, ends as texts; None is infinity."""
    infinite = "-\\infty" if low is None else low, pick(draw, "\\infty", "+\\infty") if high is None else high
    plain = plain_interval(draw, *infinite, low_closed, high_closed)
    less, more = ("<", "\\le "), (">", "\\ge ")
    if low is None:
        condition = pick(draw, f"x{less[high_closed]}{high}", f"{high}{more[high_closed]}x")
    elif high is None:
        condition = pick(draw, f"x{more[low_closed]}{low}", f"{low}{less[low_closed]}x")
    else:
        condition = f"{low}{less[low_closed]}x{less[high_closed]}{high}"
    such_that = pick(draw, "\\mid", "|", ":")
    of_set = f"\\{{x {such_that} {condition}\\}}"
    return pick(draw, plain, plain, f"x\\in {plain}", condition, of_set)


def matrix(draw, rows):
    kind = pick(draw, "pmatrix", "bmatrix", "pmatrix")
    between = pick(draw, "&", " & ")
    body = pick(draw, "\\\\", " \\\\ ", "\\\\\n").join(between.join(row) for row in rows)
    if draw(st.booleans()):
        return f"\\begin{{{kind}}}{body}\\end{{{kind}}}"
    columns = "c" * len(rows[0])
    return f"\\left(\\begin{{array}}{{{columns}}}{body}\\end{{array}}\\right)"


def choice(draw, letters):
    letters = draw(st.permutations(sorted(letters)))
    if len(letters) == 1:
        letter = letters[0]
        ways = [
            f"({letter})",
            f"{letter}.",
            f"\\text{{({letter})}}",
            f"\\mathbf{{{letter}}}",
            f"\\textbf{{({letter})}}",
        ]
        return pick(
            draw, letter, f"\\text{{{letter}}}", f"\\mathrm{{{letter}}}", f"Option {letter}", f"选{letter}", *ways
        )
    joined = pick(draw, "", ",", ", ", "、", " ", " and ").join(letters)
    return pick(draw, joined, f"\\text{{{joined}}}", f"({joined})", "(" + ")(".join(letters) + ")")
