r"""Quantities written otherwise than as a number and one unit: `2 hours 30 minutes`, `9.8 \text{ m s}^{-2}`."""

import re
from fractions import Fraction

from tasks.grading.expression import Value, equal_values, evaluate, read
from tasks.grading.latex import Quantity, split_short_unit, split_unit
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


# Times of the day: `9:05 a.m.`, `20:34`, `20:34:00`; and ratios of three numbers or more, which look like them.

CLOCK = re.compile(
    r"(?P<hour>[0-9]{1,2}) ?: ?(?P<minute>[0-5][0-9])(?: ?: ?(?P<second>[0-5][0-9]))? ?(?P<half>[ap]\.? ?m\.?)?",
    re.IGNORECASE,
)


def same_time(gold: str, answer: str) -> bool | None:
    """Whether two texts are the same time of the day; None where either is none."""
    left, right = CLOCK.fullmatch(gold.strip()), CLOCK.fullmatch(answer.strip())
    if left is None or right is None:
        return None
    if not (left["half"] or right["half"]) and _seconds(left) != _seconds(right) and _same_ratio(left, right):
        # 10:15 and 20:30 are one ratio.
        return None
    times = _seconds(left), _seconds(right)
    if bool(left["half"]) != bool(right["half"]) and max(int(left["hour"]), int(right["hour"])) <= 12:
        # One side leaves out which half of the day.
        return (times[0] - times[1]) % (12 * 3600) == 0
    return times[0] == times[1]


def same_ratio(gold: str, answer: str) -> bool | None:
    r"""Whether `1:2:\sqrt{3}` and `2:4:2\sqrt{3}` are one ratio; None where either is none of three numbers or more."""
    left, right = _terms(gold), _terms(answer)
    if not left or not right:
        return None
    if len(left) != len(right) or not all(left + right):
        return left == right
    return all(equal_values(a * right[0], b * left[0]) for a, b in zip(left, right, strict=True))


def _terms(text: str) -> list[Value]:
    """The numbers of a ratio of three or more; none where it is something else."""
    parts = [read(part.strip()) for part in text.split(":")] if text.count(":") > 1 else []
    values = [evaluate(part) for part in parts if part is not None and not part.names]
    found = [value for value in values if value is not None]
    return found if len(found) == len(parts) else []


def _seconds(match: re.Match[str]) -> int:
    """Seconds since midnight."""
    hour = int(match["hour"])
    if match["half"]:
        hour = hour % 12 + (12 if match["half"][0] in "pP" else 0)
    return (hour * 60 + int(match["minute"])) * 60 + int(match["second"] or 0)


def _same_ratio(left: re.Match[str], right: re.Match[str]) -> bool:
    return int(left["minute"]) > 0 and int(left["hour"]) * int(right["minute"]) == int(right["hour"]) * int(
        left["minute"]
    )
