"""What is not handed to the symbolic check: forms made, or fit, to run for ever, fill memory or reach an interpreter.

A refusal costs a verdict of `ungraded`, never a wrong one. What slips through meets the workers' memory limit and kill.
"""

import math
import re

MAX_CHARS = 1_000
MAX_DEPTH = 30
MAX_DIGIT_RUN = 120
MAX_EXPONENT = 5_000
LARGE_EXPONENT = 30
MAX_PRODUCT = 10**7
MAX_FACTORIALS = 6
MAX_OPERAND = 200
"""Largest number under a factorial, a binomial, or as the bound of a sum or product."""

DIGIT_RUN = re.compile(rf"[0-9]{{{MAX_DIGIT_RUN + 1},}}")
CODE = re.compile(r"__|\b(?:import|exec|eval|lambda|globals|getattr|subprocess|system|breakpoint|compile)\b")
PROGRAM = re.compile(r"__[a-z]+__|\b(?:eval|exec|open|print|input|getattr|compile)\(|\blambda\b[^:]*:|\bimport [a-z]")
EXPONENT = re.compile(r"(?:\^|\*\*)[ ({]*-?([0-9]+)")
TOWER = re.compile(r"(?=(?:\^|\*\*)[ ({]*-?([0-9]+)[ )}]*(?:\^|\*\*)[ ({]*-?([0-9]+))")
TALL_TOWER = re.compile(r"(?:(?:\^|\*\*)[ ({]*-?[0-9]+[ )}]*){4}")
FACTORIAL = re.compile(r"([^ ]?) ?!(?!=)")
POWERED = re.compile(r"(?:\^|\*\*)[ ({]*\w+ ?!|\\[dt]?binom ?\{[^{}]*\^|\\[dt]?binom ?\{[^{}]*\} ?\{[^{}]*\^")
OPERATED = re.compile(r"[\^*]|\\times|\\cdot|![ )}]*!")
CHOOSING = re.compile(r"\\[dt]?binom|\\choose|\\sum|\\prod|[0-9}] ?C_?[0-9{]|C[_^]|\\i*int|\\lim")
NUMBER = re.compile(r"[0-9]+")


def refusal(text: str) -> str | None:
    """Why `text` must not be handed to the symbolic check, or None."""
    if len(text) > MAX_CHARS:
        return "too_long"
    bad = any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in text)
    if bad or CODE.search(text) or DIGIT_RUN.search(text) or depth(text) > MAX_DEPTH:
        return "refused_hostile"
    return "refused_hostile" if _towers(text) or _counts(text) else None


def is_code(text: str) -> bool:
    """Whether it is a program, which answers nothing."""
    return PROGRAM.search(text) is not None


def _towers(text: str) -> bool:
    """Powers of powers; two levels pass when the upper power is small, as in `2^{3^2}`."""
    exponents = [int(exponent) for exponent in EXPONENT.findall(text)]
    if max(exponents, default=0) > MAX_EXPONENT or TALL_TOWER.search(text):
        return True
    # Small exponents are what polynomials are made of; large ones may be stacked: ((9^{999})^{999})^{999}.
    if math.prod(exponent for exponent in exponents if exponent >= LARGE_EXPONENT) > MAX_PRODUCT:
        return True
    return any(int(low) ** int(high) > MAX_EXPONENT for low, high in TOWER.findall(text))


def _counts(text: str) -> bool:
    """Factorials, binomials, sums and products over more than a few hundred."""
    factorials = FACTORIAL.findall(text)
    of_an_operation = any(before in (")", "}", "!", "") for before in factorials) and OPERATED.search(text)
    if len(factorials) > MAX_FACTORIALS or of_an_operation or POWERED.search(text):
        return True
    counted = bool(factorials) or CHOOSING.search(text) is not None
    return counted and any(int(number) > MAX_OPERAND for number in NUMBER.findall(text))


def depth(text: str) -> int:
    """The deepest nesting of brackets."""
    open_now = deepest = 0
    for character in text:
        open_now += (character in "([{") - (character in ")]}")
        deepest = max(deepest, open_now)
    return deepest
