"""How many of the equations that a text writes out are right."""

import re

EQUATION = re.compile(r"(?<![\d.])(\d{1,12})\s*([-+*×])\s*(\d{1,12})\s*=\s*(\d{1,12})(?![\d.]*\d)")


def right_equations(text: str, modulus: int | None = None) -> int:
    """Equations `a + b = c` (also - and *) that hold, exactly or modulo `modulus`. A repeated one counts each time."""
    return sum(_holds(left, sign, right, result, modulus) for left, sign, right, result in EQUATION.findall(text))


def _holds(left: str, sign: str, right: str, result: str, modulus: int | None) -> bool:
    a, b, c = int(left), int(right), int(result)
    difference = {"+": a + b, "-": a - b}.get(sign, a * b) - c
    return difference % modulus == 0 if modulus else difference == 0
