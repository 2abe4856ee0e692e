"""Whether two single values are the same: expressions, infinities, degrees, numbers in a base, rounded decimals."""

import re
from fractions import Fraction

from tasks.grading.expression import Value, equal_values, evaluate, same
from tasks.grading.normalise import squeeze
from tasks.grading.reader import Parsed, read
from tasks.grading.values import BASED, in_base, read_number

INFINITY = re.compile(r"([+-]?) ?\\infty")
DECIMAL = re.compile(r"-?[0-9]+\.[0-9]+")


def scalars(gold: str, answer: str) -> bool | None:
    """Whether two expressions have the same value; a decimal may be the other one rounded."""
    if gold.replace(" ", "") == answer.replace(" ", ""):
        return True
    infinite = INFINITY.fullmatch(gold), INFINITY.fullmatch(answer)
    if infinite[0] and infinite[1]:
        return (infinite[0][1] == "-") == (infinite[1][1] == "-")
    if "\\circ" in gold + answer and _same_degrees(gold, answer):
        return True
    if _based(gold) is not None or _based(answer) is not None:
        return _bases(gold, answer)
    left, right = read(gold), read(answer)
    if left is None or right is None:
        # Infinity is no number.
        return False if (infinite[0] and right) or (infinite[1] and left) else None
    equal = same(left, right)
    return True if equal is False and _rounded(gold, answer, left, right) else equal


def _same_degrees(gold: str, answer: str) -> bool:
    """Whether two numbers are equal where one leaves out that it is of degrees."""
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
    """An irrational value and its decimal of four significant digits or more (three where the gold is the decimal)."""
    if left.names or right.names or bool(DECIMAL.fullmatch(gold)) == bool(DECIMAL.fullmatch(answer)):
        return False
    decimal, exact, least = (gold, right, 3) if DECIMAL.fullmatch(gold) else (answer, left, 4)
    value = evaluate(exact)
    if value is None or isinstance(value, Fraction) or abs(value.imag) > 1e-12:
        return False
    places = len(decimal.partition(".")[2])
    digits = len(decimal.replace(".", "").lstrip("-0"))
    return digits >= least and abs(value.real - float(decimal)) <= 0.5 * 10.0**-places + 1e-12


def is_constant(text: str) -> bool:
    """Whether it is an expression without variables."""
    parsed = read(text)
    return parsed is not None and not parsed.names
