"""Whether two single values are the same: expressions, infinities, degrees, numbers in a base, rounded decimals."""

import re
from fractions import Fraction

from tasks.grading.constants import by_a_constant, renamed, without_constant
from tasks.grading.expression import EQUAL, POINTS, Value, equal_values, evaluate, same
from tasks.grading.normalise import SPACE_AROUND, squeeze
from tasks.grading.reader import Parsed, read
from tasks.grading.values import BASED, in_base, is_rounding, read_number

INFINITY = re.compile(r"([+-]?) ?\\infty")
NEAR = 0.05
"""Relative difference past which two measures are not one, rounded."""
LEAST_CONVERTED = 2
"""Digits of a number that may be another one, converted and rounded."""
INTEGERS = frozenset("kmn")
DECIMAL = re.compile(r"[0-9]*\.[0-9]+")
LONG_DECIMAL = 5
"""Digits of a decimal that was calculated and rounded; a shorter one may be meant as it stands."""
LEAST_OF_A_POWER = 6
"""Digits at which a number such as `1.0995e12` may be an integer, rounded."""


def scalars(gold: str, answer: str) -> bool | None:
    """Whether two expressions have the same value; a decimal may be the other one rounded."""
    if SPACE_AROUND.sub("", gold) == SPACE_AROUND.sub("", answer) or _same_degrees(gold, answer):
        return True
    integrated = gold.endswith("C")
    antiderivatives = without_constant(gold, answer)
    gold, answer = antiderivatives or (gold, answer)
    infinite = INFINITY.fullmatch(gold), INFINITY.fullmatch(answer)
    if infinite[0] and infinite[1]:
        return (infinite[0][1] == "-") == (infinite[1][1] == "-")
    if _based(gold) is not None or _based(answer) is not None:
        return _bases(gold, answer)
    left, right = read(gold), read(answer)
    if left is None or right is None:
        # Infinity is no number.
        return False if (infinite[0] and right) or (infinite[1] and left) else None
    equal = same(left, right)
    alike = equal or any(rule(gold, answer, left, right) for rule in (_rounded, _other_integer, _written_out))
    if alike or (antiderivatives and integrated and by_a_constant(left, right)):
        return True
    return renamed(left, right, fewest=2) or equal


def _other_integer(gold: str, answer: str, left: Parsed, right: Parsed) -> bool:
    r"""`2k\pi` against `2n\pi`: all multiples of a period, whatever the integer is called."""
    names = left.names - right.names, right.names - left.names
    if (
        "\\pi" not in gold
        or "\\pi" not in answer
        or len(left.names | right.names) != 2
        or not all(len(each) == 1 and each <= INTEGERS for each in names)
    ):
        return False
    renamed = read(re.sub(rf"(?<![A-Za-z\\]){min(names[1])}(?![A-Za-z])", min(names[0]), answer))
    return renamed is not None and same(left, renamed) is True


def _written_out(gold: str, answer: str, left: Parsed, right: Parsed) -> bool:
    """An expression of variables in which one side alone has long decimals: equal but for their last places."""
    digits = [[len(number.replace(".", "").lstrip("0")) for number in DECIMAL.findall(text)] for text in (gold, answer)]
    long = [[count for count in each if count >= LONG_DECIMAL] for each in digits]
    if left.names != right.names or not left.names or bool(long[0]) == bool(long[1]):
        return False
    tolerance = 10.0 ** (1 - min(long[0] or long[1]))
    for point in range(POINTS):
        values = evaluate(left, point), evaluate(right, point)
        if values[0] is None or values[1] is None:
            return False
        one, other = complex(values[0]), complex(values[1])
        if abs(one - other) > tolerance * max(abs(one), abs(other)):
            return False
    return True


def _same_degrees(gold: str, answer: str) -> bool:
    """Whether two numbers are equal where one leaves out that it is of degrees."""
    if "\\circ" not in gold + answer:
        return False
    left, right = read_number(squeeze(gold)), read_number(squeeze(answer))
    return left is not None and right is not None and left.value == right.value


def _based(text: str) -> Fraction | None:
    match = BASED.fullmatch(text.replace(" ", ""))
    return in_base(match) if match else None


def _bases(gold: str, answer: str) -> bool | None:
    """Numbers written in another base: different where their values are; the same value may be asked for in one."""
    values: list[Value | None] = []
    for text in (gold, answer):
        parsed = read(text)
        plain = evaluate(parsed) if parsed and not parsed.names else None
        values.append(plain if _based(text) is None else _based(text))
    left, right = values
    if left is None or right is None:
        return None
    return False if equal_values(left, right) is False else None


def _rounded(gold: str, answer: str, left: Parsed, right: Parsed) -> bool:
    """A value and its decimal of four significant digits or more (three where the gold is the decimal)."""
    numbers = [read_number(squeeze(text)) for text in (gold, answer)]
    decimals = [None if number is None or number.exact or number.percent else number for number in numbers]
    if left.names or right.names or (decimals[0] is None) == (decimals[1] is None):
        return False
    decimal, other, least = (decimals[0], right, 3) if decimals[0] else (decimals[1], left, 4)
    value = evaluate(other)
    assert decimal is not None
    if isinstance(value, Fraction) and value.denominator == 1:
        # An integer is no decimal beside it, but may be a long power of ten.
        return decimal.decimals <= 0 and is_rounding(decimal, value, LEAST_OF_A_POWER)
    if isinstance(value, complex):
        return abs(value.imag) <= 1e-12 and is_rounding(decimal, Fraction(value.real), least)
    return value is not None and is_rounding(decimal, value, least)


def multiples(gold: str, gold_size: Fraction, answer: str, answer_size: Fraction) -> bool | None:
    """Whether two numbers of units of these sizes are the same; None where one may be rounded."""
    left, right = read(gold), read(answer)
    if left is None or right is None or left.names or right.names:
        return None
    values = evaluate(left), evaluate(right)
    if values[0] is None or values[1] is None:
        return None
    one, other = complex(values[0]) * float(gold_size), complex(values[1]) * float(answer_size)
    difference = abs(one - other) / max(abs(one), abs(other), 1e-300)
    if EQUAL <= difference <= NEAR:
        return _converted(gold, gold_size, answer, answer_size)
    return difference < EQUAL


def _converted(gold: str, gold_size: Fraction, answer: str, answer_size: Fraction) -> bool | None:
    """Whether one number, converted, is the other, rounded to its last place."""
    left, right = read_number(squeeze(gold)), read_number(squeeze(answer))
    if left is None or right is None:
        return None
    ratio = gold_size / answer_size
    return is_rounding(right, left.value * ratio, LEAST_CONVERTED) or is_rounding(
        left, right.value / ratio, LEAST_CONVERTED
    )


def is_constant(text: str) -> bool:
    """Whether it is an expression without variables."""
    parsed = read(text)
    return parsed is not None and not parsed.names
