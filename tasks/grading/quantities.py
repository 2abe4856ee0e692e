r"""Quantities written otherwise than as a number and one unit: `2 hours 30 minutes`, `9.8 \text{ m s}^{-2}`."""

import re
from fractions import Fraction

from tasks.grading.normalise import Quantity, split_short_unit, split_unit
from tasks.grading.units import measure, one_name, product
from tasks.grading.values import read_number

MAX_CHARS = 80
IN_FONT = re.compile(r"\\text ?\{((?:[^{}]|\{[^{}]*\})*)\}")
MICRO = re.compile(r"\\mu ?(?:\\text ?\{ ?|(?=[A-Za-z]))|\\text ?\{ ?\\mu ?(?:\})? ?")
QUOTIENT = re.compile(r"\\frac ?\{([^{}]+)\} ?\{([^{}]+)\}$")
PART = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+|[\u4e00-\u9fff]{1,2})[ ,]*")
TEMPERATURE = re.compile(r"(?P<body>.*[0-9}]) ?\^ ?\{? ?\\circ ?\}? ?(?:\\text ?\{ ?([CF]) ?\}|([CF]))")
AFTER_NUMBER = re.compile(r"[0-9}] ?(?: [A-Za-zμ]|\\text|\\mu|\\Omega)")
ONE_LETTER = re.compile(r"(?<![A-Za-z/^*])[a-z]$")
UNITS = re.compile(
    r"(?P<body>-?[0-9][0-9.,]*(?: ?(?:\\times|\\cdot) ?10 ?\^ ?(?:\{ ?-?[0-9]+ ?\}|[0-9]))?|.*\}|.*[0-9])"
    r" (?P<unit>(?:[A-Za-z(μ]|\\Omega)[^=]*)"
)


def compound(text: str) -> Quantity | None:
    """The whole of `2 hours 30 minutes`, in its last unit; None for any other text."""
    if len(text) > MAX_CHARS or not text[:1].isdecimal():
        return None
    flat = " ".join(IN_FONT.sub(r"\1 ", text).split())
    parts = PART.findall(flat)
    if len(parts) < 2 or PART.sub("", flat):
        return None
    units = [measure(one_name(name)) for _, name in parts]
    known = [unit for unit in units if unit is not None]
    sizes = [unit.size for unit in known]
    if len(known) < len(parts) or len({unit.dimension for unit in known}) > 1 or sizes != sorted(set(sizes))[::-1]:
        return None
    total = sum(Fraction(number) * size for (number, _), size in zip(parts, sizes, strict=True)) / sizes[-1]
    body = str(total) if total.denominator == 1 else f"\\frac{{{total.numerator}}}{{{total.denominator}}}"
    return Quantity(body, one_name(parts[-1][1]))


def quantity(text: str) -> Quantity:
    r"""A number and its units, in `\text{}` or Chinese or spelled out; a bare letter is none."""
    if together := compound(text):
        return together
    if degrees := TEMPERATURE.fullmatch(text):
        return Quantity(degrees["body"], {"C": "celsius", "F": "fahrenheit"}[degrees[2] or degrees[3]])
    plain = split_unit(text)
    if "\\text" not in text or (plain.unit and measure(plain.unit)):
        return plain
    return _measured(text) or plain


def short_quantity(text: str) -> Quantity:
    """The same, and units that are short, such as the `g` of `100 g`."""
    whole = quantity(text)
    return whole if whole.unit else _measured(text) or split_short_unit(text)


def both_short(gold: str, answer: str) -> tuple[Quantity, Quantity] | None:
    """`72 km/h` and `20 m/s`, or `30 J` and `30`: short units that are no variables; None for anything else."""
    if not AFTER_NUMBER.search(gold):
        return None
    left, right = short_quantity(gold), short_quantity(answer)
    if measure(left.unit) and measure(right.unit):
        return left, right
    # A single small letter may well be a variable.
    number = read_number(answer.replace(" ", ""))
    return (left, right) if number and measure(left.unit) and not ONE_LETTER.search(gold) else None


def _measured(text: str) -> Quantity | None:
    """A number and known units after a space, multiplied or divided."""
    if len(text) > MAX_CHARS:
        return None
    flat = IN_FONT.sub(r" \1 ", MICRO.sub("μ", text))
    flat = " ".join(QUOTIENT.sub(r" (\1)/(\2)", flat).replace(" ^", "^").split())
    match = UNITS.fullmatch(flat)
    unit = product(match["unit"]) if match else ""
    return Quantity(match["body"], unit) if match and unit else None
