"""Single values: exact numbers, and the comparison of expressions, infinities, degrees, bases and rounded decimals.

A number is an integer, decimal, fraction, mixed number, power of ten or percentage; nothing is evaluated to read it.
Digits and exponents are capped, so that no number costs more than microseconds.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from tasks.grading.expression import (
    EQUAL,
    POINTS,
    Expression,
    Value,
    differ_by_constant,
    equal_values,
    evaluate,
    parse,
    same_up_to_constants,
    same_value,
    strip_integration_constants,
)
from tasks.grading.latex import SPACE_AROUND, squeeze

MAX_DIGITS = 400
"""Longest run of digits, and largest exponent, of a number."""

PLAIN = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
RATIO = rf"(?:\\frac\{{(?P<top>[+-]?{PLAIN})\}}\{{(?P<bottom>[+-]?{PLAIN})\}}|(?P<over>{PLAIN})/(?P<under>{PLAIN}))"
NUMBER = re.compile(
    rf"(?P<sign>[+-]?)[£€¥]?(?:(?P<whole>[0-9]+)(?: ?(?=\\frac)| (?=[0-9]+/)))?(?:{RATIO}"
    rf"|(?P<plain>{PLAIN})(?:[eE](?P<e>[+-]?[0-9]+)|(?:\\times|\\cdot|\*)10\^\{{?(?P<ten>[+-]?[0-9]+)\}}?)?"
    r"|10\^\{?(?P<power>[+-]?[0-9]+)\}?)(?P<percent>%?)(?:\^\\circ)?"
)

BASED = re.compile(r"(?P<digits>[0-9A-Z]+)_(?P<base>[0-9]+|\{[0-9]+\})")


class Number(NamedTuple):
    """A number, as far as it was written."""

    value: Fraction
    exact: bool
    """An integer or a ratio of integers; a decimal with a fractional part may have been rounded."""
    percent: bool
    decimals: int
    """Digits after the point, less the exponent: the place it is written to."""
    grouped: bool
    """Written with commas, so it might have been meant as a list."""


def read_number(text: str) -> Number | None:
    """The number that `text` (squeezed) is, or None."""
    match = NUMBER.fullmatch(text) if len(text) <= MAX_DIGITS else None
    if match is None:
        return None
    sign = -1 if match["sign"] == "-" else 1
    if match["top"] or match["over"]:
        top, bottom = _plain(match["top"] or match["over"]), _plain(match["bottom"] or match["under"])
        if not bottom.value or (match["whole"] and (top.value < 0 or bottom.value < 0)):
            return None
        value = sign * (int(match["whole"] or 0) + top.value / bottom.value)
        return _percent(Number(value, top.exact and bottom.exact, False, 0, top.grouped or bottom.grouped), match)
    power = int(match["e"] or match["ten"] or match["power"] or 0)
    if abs(power) > MAX_DIGITS:
        return None
    plain = _plain(match["plain"] or "1")
    value = sign * plain.value * Fraction(10) ** power
    exact = value.denominator == 1 and (power == 0 or match["plain"] is None) and plain.exact
    return _percent(Number(value, exact, False, plain.decimals - power, plain.grouped), match)


def _plain(text: str) -> Number:
    _, _, fraction = text.partition(".")
    value = Fraction(text.replace(",", ""))
    return Number(value, value.denominator == 1, False, len(fraction), "," in text)


def _percent(number: Number, match: re.Match[str]) -> Number:
    return number._replace(percent=bool(match["percent"]))


def equal_when_rounded(gold: Number, answer: Number) -> bool:
    """Whether two unequal numbers are the same one, written to different places.

    One is the other rounded (half away from zero or to even) to its own last place, with at least three significant
    digits when the gold is the shorter one, four when the answer is. So the tolerance is relative, and an exact integer
    never equals a decimal near it.
    """
    if gold.percent != answer.percent or (gold.exact and answer.exact):
        return False
    if not gold.exact and (answer.exact or gold.decimals < answer.decimals):
        return is_rounding(gold, answer.value, least_digits=3)
    return is_rounding(answer, gold.value, least_digits=4)


def is_rounding(short: Number, long: Fraction, least_digits: int) -> bool:
    """Whether a number is another one, rounded to its last place, with enough significant digits."""
    scaled = abs(short.value) * Fraction(10) ** short.decimals
    if scaled.denominator != 1 or len(str(scaled.numerator)) < least_digits:
        return False
    return abs(short.value - long) * 2 <= Fraction(1, 10) ** short.decimals


def value_in_base(match: re.Match[str]) -> Fraction | None:
    """The value of a number with a base, such as `52_8`; None where its digits are not of that base."""
    base = int(match["base"].strip("{}"))
    digits = [int(digit, 36) for digit in match["digits"]]
    if len(digits) > MAX_DIGITS or not 2 <= base <= 36 or max(digits) >= base:
        return None
    value = 0
    for digit in digits:
        value = value * base + digit
    return Fraction(value)


INFINITY = re.compile(r"([+-]?) ?\\infty")
NEAR = 0.05
"""Relative difference past which one measure is not the other, rounded."""
LEAST_CONVERTED = 2
"""Digits of a number that may be another one, converted and rounded."""
INTEGERS = frozenset("kmn")
DECIMAL = re.compile(r"[0-9]*\.[0-9]+")
LONG_DECIMAL = 5
"""Digits of a decimal that was calculated and rounded; a shorter one may be exact."""
LEAST_OF_A_POWER = 6
"""Digits at which a number such as `1.0995e12` may be an integer, rounded."""


def compare_scalars(gold: str, answer: str) -> bool | None:
    """Whether two expressions have the same value; a decimal may be the other one rounded."""
    if SPACE_AROUND.sub("", gold) == SPACE_AROUND.sub("", answer) or _same_degrees(gold, answer):
        return True
    integrated = gold.endswith("C")
    antiderivatives = strip_integration_constants(gold, answer)
    gold, answer = antiderivatives or (gold, answer)
    infinite = INFINITY.fullmatch(gold), INFINITY.fullmatch(answer)
    if infinite[0] and infinite[1]:
        return (infinite[0][1] == "-") == (infinite[1][1] == "-")
    if _value_in_base(gold) is not None or _value_in_base(answer) is not None:
        return _bases(gold, answer)
    left, right = parse(gold), parse(answer)
    if left is None or right is None:
        # Infinity is no number.
        return False if (infinite[0] and right) or (infinite[1] and left) else None
    equal = same_value(left, right)
    alike = equal or any(rule(gold, answer, left, right) for rule in (_rounded, _same_multiples, _equal_long_decimals))
    if alike or (antiderivatives and integrated and differ_by_constant(left, right)):
        return True
    return same_up_to_constants(left, right, fewest=2) or equal


def _same_multiples(gold: str, answer: str, left: Expression, right: Expression) -> bool:
    r"""`2k\pi` against `2n\pi`: all multiples of a period, whatever the integer is called."""
    names = left.names - right.names, right.names - left.names
    if (
        "\\pi" not in gold
        or "\\pi" not in answer
        or len(left.names | right.names) != 2
        or not all(len(each) == 1 and each <= INTEGERS for each in names)
    ):
        return False
    answer_renamed = parse(re.sub(rf"(?<![A-Za-z\\]){min(names[1])}(?![A-Za-z])", min(names[0]), answer))
    return answer_renamed is not None and same_value(left, answer_renamed) is True


def _equal_long_decimals(gold: str, answer: str, left: Expression, right: Expression) -> bool:
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


def _value_in_base(text: str) -> Fraction | None:
    match = BASED.fullmatch(text.replace(" ", ""))
    return value_in_base(match) if match else None


def _bases(gold: str, answer: str) -> bool | None:
    """Numbers written in another base: different where their values are; the question may want one base."""
    values: list[Value | None] = []
    for text in (gold, answer):
        parsed = parse(text)
        plain = evaluate(parsed) if parsed and not parsed.names else None
        values.append(plain if _value_in_base(text) is None else _value_in_base(text))
    left, right = values
    if left is None or right is None:
        return None
    return False if equal_values(left, right) is False else None


def _rounded(gold: str, answer: str, left: Expression, right: Expression) -> bool:
    """A value and its decimal of four significant digits or more (three where the gold is the decimal)."""
    numbers = [read_number(squeeze(text)) for text in (gold, answer)]
    decimals = [None if number is None or number.exact or number.percent else number for number in numbers]
    if left.names or right.names or (decimals[0] is None) == (decimals[1] is None):
        return False
    decimal, other, least = (decimals[0], right, 3) if decimals[0] else (decimals[1], left, 4)
    value = evaluate(other)
    assert decimal is not None
    if isinstance(value, Fraction) and value.denominator == 1:
        # An integer equals no decimal near it, but may be a long power of ten.
        return decimal.decimals <= 0 and is_rounding(decimal, value, LEAST_OF_A_POWER)
    if isinstance(value, complex):
        return abs(value.imag) <= 1e-12 and is_rounding(decimal, Fraction(value.real), least)
    return value is not None and is_rounding(decimal, value, least)


def compare_measures(gold: str, gold_size: Fraction, answer: str, answer_size: Fraction) -> bool | None:
    """Whether two numbers of units of these sizes are the same; None where one may be rounded."""
    left, right = parse(gold), parse(answer)
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
    parsed = parse(text)
    return parsed is not None and not parsed.names
