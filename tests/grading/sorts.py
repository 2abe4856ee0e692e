"""The sorts of answers, for fuzzing: what their values are, how one is written, and when two are the same."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.grading import typesetting as ts
from tests.grading.typesetting import Scalar, pick


def near(draw, value):
    """The value with one thing changed: a sign, an order, a factor, a part left out."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return pick(draw, value + 1, value * 10, value * 100)
    if isinstance(value, Fraction):
        return pick(draw, -value, value + 1, value * 10, 1 / value if value else value)
    if isinstance(value, Scalar):
        plain = value._replace(plain=near(draw, value.plain))
        return pick(draw, plain, value._replace(factor=-value.factor)) if value.root else plain
    if isinstance(value, frozenset):
        parts = draw(st.permutations(sorted(value, key=repr)))
        return frozenset(parts[1:] if len(parts) > 2 and draw(st.booleans()) else [near(draw, parts[0]), *parts[1:]])
    if isinstance(value, tuple):
        place = draw(st.integers(0, len(value) - 1))
        other = draw(st.integers(0, len(value) - 1))
        parts = list(value)
        if type(value[place]) is type(value[other]) and place != other and draw(st.booleans()):
            parts[place], parts[other] = parts[other], parts[place]
        else:
            parts[place] = near(draw, value[place])
        return tuple(parts)
    return value


def flipped(draw, value):
    """An interval with another end closed."""
    ends = len(value) // 2
    place = draw(st.sampled_from([ends + place for place in range(ends) if value[place] is not None]))
    return (*value[:place], not value[place], *value[place + 1 :])


class Sort(NamedTuple):
    """A sort of answers."""

    values: st.SearchStrategy
    write: Callable[[Any, Any], str]
    """In one of the value's forms."""
    kind: str
    """What a benchmark would state; `auto` must do as well, but for choices of several letters."""
    differ: Callable[[Any, Any], bool] = lambda a, b: a != b
    spaced: bool = True
    """Whether spaces may stand between its tokens."""
    near: Callable[[Any, Any], Any] = near
    """A value that is easily taken for another."""


SMALL = st.integers(-40, 40)
FRACTIONS = st.builds(Fraction, SMALL, st.integers(1, 12))
ROOTS = st.sampled_from(["2", "3", "5", "7", "11", "13", "\\pi"])
NONZERO = st.builds(Fraction, SMALL.filter(bool), st.integers(1, 6))
SURDS = st.builds(Scalar, FRACTIONS, NONZERO, ROOTS)
SCALARS = st.one_of(SMALL.map(lambda n: Scalar(Fraction(n))), FRACTIONS.map(Scalar), SURDS)
WORDS = ["even", "odd", "Monday", "Friday", "ellipse", "hyperbola", "Evelyn", "Angela", "north", "red", "yes", "no"]
CHINESE = [
    "充要条件",
    "必要不充分条件",
    "充分不必要条件",
    "第一象限",
    "第二象限",
    "相交",
    "平行",
    "垂直",
    "甲",
    "乙",
    "是",
    "否",
]
UNITS = [
    ["", "\\text{ cm}", " \\text{cm}", "\\mathrm{cm}", " cm", "厘米", " \\mbox{ cm}", "\\,\\text{cm}", " centimeters"],
    ["", "^\\circ", "^{\\circ}", "°", "\\degree", "度", " degrees", "\\text{ degrees}", "\\text{°}"],
    ["", " \\text{apples}", " apples", "\\text{ apples}", "\\textrm{ apples}"],
    ["", "元", " \\text{元}", "\\,元"],
]


def apart(a, b):
    """Further apart than any rounding."""
    return abs(float(a) - float(b)) > 0.02 * max(abs(float(a)), abs(float(b)))


def in_list(draw, value):
    return ts.scalar(draw, value)


def _decimal(draw, value):
    number, places = value
    text = f"{number / 10**places:.{places}f}"
    short = [text.replace("0.", ".", 1)] if text.lstrip("-").startswith("0.") else []
    return pick(draw, text, text + "0", *short)


def _scientific(draw, value):
    mantissa, power = value
    short = f"{mantissa / 10:.1f}"
    sign = pick(draw, "\\times ", "\\cdot ", "\\times")
    long = f"{short}{sign}10^{{{power}}}".replace("times10", "times 10")
    return pick(draw, f"{short}e{power}", f"{short}E{power:+d}", long, long)


def _percent(draw, value):
    number = f"{value / 10:g}"
    return number + pick(draw, "\\%", "%", " \\%", " %", "％", "\\text{\\%}")


def _quantity(draw, value):
    number, unit = value
    return ts.rational(draw, number) + pick(draw, *UNITS[unit])


def _currency(draw, value):
    text = f"{value / 100:.2f}"
    return pick(draw, f"\\${text}", text, f"${text}", f"\\$ {text}", f"{text} \\text{{ dollars}}", f"{text} dollars")


def _set(draw, value):
    return ts.as_set(draw, [in_list(draw, each) for each in value])


def _tuple(draw, value):
    return ts.listed(draw, [in_list(draw, each) for each in value], "(", ")")


def _points(draw, value):
    return ts.as_set(draw, [_tuple(draw, each) for each in value])


def _interval(draw, value):
    low, high, *closed = value
    ends = [None if end is None else in_list(draw, end) for end in (low, high)]
    return ts.interval(draw, *ends, *closed)


def _ends(draw):
    ends = sorted(draw(st.lists(SCALARS, min_size=2, max_size=2, unique_by=float)), key=float)
    open_end = draw(st.sampled_from(["none", "low", "high"]))
    low, high = (None if open_end == "low" else ends[0]), (None if open_end == "high" else ends[1])
    return low, high, low is not None and draw(st.booleans()), high is not None and draw(st.booleans())


def _union(draw, value):
    first, second, third, fourth, *closed = value
    one = ts.plain_interval(draw, in_list(draw, first), in_list(draw, second), *closed[:2])
    two = ts.plain_interval(draw, in_list(draw, third), in_list(draw, fourth), *closed[2:])
    return " \\cup ".join(draw(st.permutations([one, two])))


def _line(draw, value):
    slope, offset = value
    right = ts.total(draw, [ts.times(draw, slope, "x"), ts.rational(draw, offset, mixed=False)])
    bottom = slope.denominator * offset.denominator
    whole = [ts.times(draw, slope * bottom, "x"), ts.times(draw, Fraction(-bottom), "y"), str(int(offset * bottom))]
    return pick(draw, f"y = {right}", f"{right} = y", f"{ts.total(draw, whole)} = 0")


def _assigned(draw, value):
    text = ts.scalar(draw, value, alone=True)
    return pick(draw, text, f"x = {text}", f"x={text}")


def _polynomial(draw, value):
    powers = [(c, n) for n, c in enumerate(value) if c]
    terms = [ts.times(draw, Fraction(c), ts.power(draw, "x", n)) if n else str(c) for c, n in powers]
    return ts.total(draw, terms)


def _complex(draw, value):
    real, imaginary = value
    letter = pick(draw, "i", "i", "\\mathrm{i}")
    return ts.total(draw, [ts.rational(draw, real, mixed=False), ts.times(draw, imaginary, letter)])


def _power(draw, value):
    base, exponent, factor = value
    power = ts.power(draw, str(base), exponent) if base != "e" else ts.power(draw, "e", exponent)
    return power if factor == 1 else ts.factor_of(draw, power, f"\\sqrt{{{factor}}}")


def _size(value):
    base, exponent, factor = value
    return math.log(math.e if base == "e" else base) * exponent + math.log(factor) / 2


def _function(draw, value):
    name, argument, factor = value
    thing = pick(draw, f"\\{name}({argument})", f"\\{name} {argument}", f"\\{name}{{{argument}}}")
    return ts.times(draw, Fraction(factor), thing)


def _matrix(draw, value):
    return ts.matrix(draw, [[in_list(draw, cell) for cell in row] for row in value])


def _word(draw, value):
    return pick(draw, value, value.casefold(), f"\\text{{{value}}}", f"\\textbf{{{value}}}", f"\\mathrm{{{value}}}")


def _chinese(draw, value):
    return pick(draw, value, value, f"\\text{{{value}}}", f"{value}。", f"\\mathrm{{{value}}}", f"\\mbox{{{value}}}")


def _ratio(draw, value):
    return pick(draw, ":", " : ", "：").join(map(str, value))


def _based(draw, value):
    digits, base = value
    return digits + pick(draw, f"_{base}", f"_{{{base}}}") if base < 10 else f"{digits}_{{{base}}}"


def coprime(pair):
    return math.gcd(*pair) == 1


CELLS = FRACTIONS.map(Scalar)
DISTINCT = st.lists(SCALARS, min_size=2, max_size=4, unique_by=lambda value: round(float(value), 9))
FOUR = st.lists(SCALARS, min_size=4, max_size=4, unique_by=lambda value: round(float(value), 9))
PAIRS = st.tuples(SCALARS, SCALARS)
MATRICES = st.sampled_from([(1, 2), (2, 1), (3, 1), (2, 2), (2, 3)]).flatmap(
    lambda size: st.tuples(*[st.tuples(*[CELLS] * size[1])] * size[0])
)
TERNARY = st.tuples(*[st.integers(-9, 9)] * 4).filter(lambda value: sum(map(bool, value[1:])) > 0)

SORTS = {
    "integer": Sort(st.integers(-(10**7), 10**7), lambda draw, value: ts.integer(draw, value, alone=True), "integer"),
    "decimal": Sort(
        st.tuples(st.integers(-9999, 9999), st.integers(1, 3)),
        _decimal,
        "decimal",
        lambda a, b: apart(a[0] / 10 ** a[1], b[0] / 10 ** b[1]),
        near=lambda draw, value: (near(draw, value[0]), value[1]),
    ),
    "scientific": Sort(
        st.tuples(st.integers(11, 99).filter(lambda n: n % 10), st.integers(3, 30)),
        _scientific,
        "decimal",
        lambda a, b: a[1] != b[1] or apart(a[0], b[0]),
    ),
    "fraction": Sort(FRACTIONS, ts.rational, "rational"),
    "percent": Sort(st.integers(1, 999), _percent, "auto", apart),
    "quantity": Sort(st.tuples(FRACTIONS, st.integers(0, 3)), _quantity, "auto", lambda a, b: a[0] != b[0]),
    "currency": Sort(st.integers(100, 99_999), _currency, "auto", apart),
    "scalar": Sort(SCALARS, lambda draw, value: ts.scalar(draw, value, alone=True), "expression"),
    "set": Sort(DISTINCT.map(frozenset), _set, "set"),
    "tuple": Sort(st.lists(SCALARS, min_size=2, max_size=4).map(tuple), _tuple, "tuple"),
    "points": Sort(st.frozensets(PAIRS, min_size=2, max_size=3), _points, "set"),
    "interval": Sort(st.composite(_ends)(), _interval, "interval", near=flipped),
    "union": Sort(
        st.tuples(FOUR.map(lambda ends: sorted(ends, key=float)), st.tuples(*[st.booleans()] * 4)).map(
            lambda value: (*value[0], *value[1])
        ),
        _union,
        "interval",
        near=flipped,
    ),
    "line": Sort(st.tuples(NONZERO, NONZERO), _line, "equation"),
    "assigned": Sort(SCALARS, _assigned, "auto"),
    "polynomial": Sort(TERNARY, _polynomial, "expression"),
    "complex": Sort(st.tuples(NONZERO, NONZERO), _complex, "expression"),
    "power": Sort(
        st.tuples(st.sampled_from([2, 3, 5, 7, "e"]), st.integers(2, 30), st.sampled_from([1, 11, 13])),
        _power,
        "expression",
        lambda a, b: abs(_size(a) - _size(b)) > 1e-6,
    ),
    "function": Sort(
        st.tuples(
            st.sampled_from(["sin", "cos", "tan", "ln", "arctan"]), st.sampled_from(["2", "3", "5"]), st.integers(1, 9)
        ),
        _function,
        "expression",
    ),
    "matrix": Sort(MATRICES, _matrix, "matrix"),
    "choice": Sort(st.sampled_from("ABCDE").map(frozenset), ts.choice, "choice"),
    "choices": Sort(st.frozensets(st.sampled_from("ABCDE"), min_size=2, max_size=4), ts.choice, "choice"),
    "word": Sort(st.sampled_from(WORDS), _word, "text", spaced=False),
    "chinese": Sort(st.sampled_from(CHINESE), _chinese, "text", spaced=False),
    "ratio": Sort(st.tuples(st.integers(1, 30), st.integers(1, 30)).filter(coprime), _ratio, "auto"),
    "based": Sort(st.tuples(st.integers(8, 255).map("{:b}".format), st.sampled_from([2, 3, 8])), _based, "auto"),
}
