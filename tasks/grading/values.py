"""Numbers read exactly: integers, decimals, fractions, mixed numbers, powers of ten and percentages.

Nothing is ever evaluated: a string either has one of these few shapes or is not a number here. Digits and exponents are
capped, so that no number costs more than microseconds.
"""

import re
from fractions import Fraction
from typing import NamedTuple

MAX_DIGITS = 400
"""Longest run of digits, and largest exponent, that is read as a number."""

PLAIN = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
RATIO = rf"(?:\\frac\{{(?P<top>[+-]?{PLAIN})\}}\{{(?P<bottom>[+-]?{PLAIN})\}}|(?P<over>{PLAIN})/(?P<under>{PLAIN}))"
NUMBER = re.compile(
    rf"(?P<sign>[+-]?)[£€¥]?(?:(?P<whole>[0-9]+)(?: ?(?=\\frac)| (?=[0-9]+/)))?(?:{RATIO}"
    rf"|(?P<plain>{PLAIN})(?:[eE](?P<e>[+-]?[0-9]+)|(?:\\times|\\cdot|\*)10\^\{{?(?P<ten>[+-]?[0-9]+)\}}?)?"
    r"|10\^\{?(?P<power>[+-]?[0-9]+)\}?)(?P<percent>%?)(?:\^\\circ)?"
)

BASED = re.compile(r"(?P<digits>[0-9A-Z]+)_(?P<base>[0-9]+|\{[0-9]+\})")


class Value(NamedTuple):
    """A number, as far as it was written."""

    value: Fraction
    exact: bool
    """An integer or a ratio of integers; a decimal with a fractional part may have been rounded."""
    percent: bool
    decimals: int
    """Digits after the point, less the exponent: the place it is written to."""
    grouped: bool
    """Written with commas, so it might have been meant as a list."""


def read_number(text: str) -> Value | None:
    """The number that `text` (squeezed) is, or None."""
    match = NUMBER.fullmatch(text) if len(text) <= MAX_DIGITS else None
    if match is None:
        return None
    sign = -1 if match["sign"] == "-" else 1
    ratio = _ratio(match)
    if ratio is not None:
        top, bottom = ratio
        if not bottom.value or (match["whole"] and (top.value < 0 or bottom.value < 0)):
            return None
        value = sign * (int(match["whole"] or 0) + top.value / bottom.value)
        return _percent(Value(value, top.exact and bottom.exact, False, 0, top.grouped or bottom.grouped), match)
    power = int(match["e"] or match["ten"] or match["power"] or 0)
    if abs(power) > MAX_DIGITS:
        return None
    plain = _plain(match["plain"] or "1")
    value = sign * plain.value * Fraction(10) ** power
    exact = value.denominator == 1 and (power == 0 or match["plain"] is None) and plain.exact
    return _percent(Value(value, exact, False, plain.decimals - power, plain.grouped), match)


def _ratio(match: re.Match[str]) -> tuple[Value, Value] | None:
    top, bottom = match["top"] or match["over"], match["bottom"] or match["under"]
    return (_plain(top), _plain(bottom)) if top else None


def _plain(text: str) -> Value:
    _, _, fraction = text.partition(".")
    value = Fraction(text.replace(",", ""))
    return Value(value, value.denominator == 1, False, len(fraction), "," in text)


def _percent(number: Value, match: re.Match[str]) -> Value:
    return number._replace(percent=bool(match["percent"]))


def agrees_rounded(gold: Value, answer: Value) -> bool:
    """Whether two unequal numbers are the same one, written to different places.

    One is the other rounded (half away from zero or to even) to its own last place, with at least three significant
    digits when the gold is the shorter one, four when the answer is. So the tolerance is relative, and an exact integer
    never equals a decimal beside it.
    """
    if gold.percent != answer.percent or (gold.exact and answer.exact):
        return False
    if not gold.exact and (answer.exact or gold.decimals < answer.decimals):
        return is_rounding(gold, answer.value, least_digits=3)
    return is_rounding(answer, gold.value, least_digits=4)


def is_rounding(short: Value, long: Fraction, least_digits: int) -> bool:
    """Whether a number is another one, rounded to its last place, with enough significant digits."""
    scaled = abs(short.value) * Fraction(10) ** short.decimals
    if scaled.denominator != 1 or len(str(scaled.numerator)) < least_digits:
        return False
    return abs(short.value - long) * 2 <= Fraction(1, 10) ** short.decimals


def in_base(match: re.Match[str]) -> Fraction | None:
    """The value of a number with a base, such as `52_8`; None where its digits are not of that base."""
    base = int(match["base"].strip("{}"))
    digits = [int(digit, 36) for digit in match["digits"]]
    if len(digits) > MAX_DIGITS or not 2 <= base <= 36 or max(digits) >= base:
        return None
    value = 0
    for digit in digits:
        value = value * base + digit
    return Fraction(value)
