r"""Quantities: a number and its units, units of measure and their conversion; times of the day and ratios.

Two quantities in known units are compared by value: `2 \text{ m}` is `200 \text{ cm}`, and 2 cm is wrong. Unknown units
decide nothing.
"""

import re
from collections import Counter
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from tasks.grading.expression import Value, equal_values, evaluate, parse
from tasks.grading.values import read_number

SIZES = {
    "length": "mm=0.001 cm=0.01 dm=0.1 m=1 km=1000 inch=0.0254 ft=0.3048 yard=0.9144 mile=1609.344",
    "mass": "mg=0.001 g=1 kg=1000 ton=1000000 lb=453.59237 ounce=28.349523125",
    "time": "ms=0.001 s=1 min=60 h=3600 day=86400 week=604800",
    "months": "month=1 year=12",
    "current": "A=1 mA=0.001",
    "temperature": "K=1",
    "amount": "mol=1",
    "celsius": "celsius=1",
    "fahrenheit": "fahrenheit=1",
    "dollars": "cent=0.01 dollar=1",
    "euros": "euro=1",
    "sterling": "gbp=1",
    "yuan": "角=0.1 yuan=1",
    "angle": "degree=1",
    "radians": "radian=1",
    "counted length": "unit=1",
}
OTHER_NAMES = {
    "mm": "millimeter millimetre 毫米",
    "cm": "centimeter centimetre 厘米",
    "dm": "decimeter 分米",
    "m": "meter metre 米",
    "km": "kilometer kilometre 千米 公里",
    "inch": "inche in",
    "ft": "foot feet",
    "yard": "yd",
    "mile": "mi",
    "mg": "milligram",
    "g": "gram gm 克",
    "kg": "kilogram 千克 公斤",
    "ton": "tonne 吨",
    "lb": "pound",
    "ounce": "oz",
    "ms": "millisecond",
    "s": "second sec 秒",
    "min": "minute 分钟",
    "h": "hour hr 小时 时",
    "day": "天 日",
    "week": "周",
    "month": "月",
    "year": "年 yr",
    "N": "newton",
    "J": "joule",
    "W": "watt",
    "V": "volt",
    "A": "ampere amp",
    "Pa": "pascal",
    "Hz": "hertz",
    "C": "coulomb",
    "K": "kelvin",
    "mol": "mole",
    "ohm": "\\Omega",
    "ml": "milliliter millilitre 毫升",
    "l": "liter litre 升",
    "dollar": "usd",
    "yuan": "元",
    "degree": "度 deg",
    "radian": "rad 弧度",
}
DERIVED = {
    "l": "dm^3",
    "ml": "cm^3",
    "gallon": "3.785411784 l",
    "N": "kg*m*s^-2",
    "J": "N*m",
    "W": "J*s^-1",
    "Pa": "N*m^-2",
    "Hz": "s^-1",
    "C": "A*s",
    "V": "W*A^-1",
    "ohm": "V*A^-1",
    "kWh": "3600000 J",
    "eV": "1.602176634e-19 J",
    "erg": "1e-7 J",
    "F": "C*V^-1",
    "Wb": "V*s",
    "T": "Wb*m^-2",
    "atm": "101325 Pa",
    "cal": "4.184 J",
}
"""Units derived from others."""
PREFIXES = {
    name: Fraction(size)
    for name, size in {"G": "1e9", "M": "1e6", "k": "1000", "m": "0.001", "μ": "1e-6", "n": "1e-9"}.items()
}
PREFIXED = re.compile(r"([GMkmμn])(N|J|W|Pa|Hz|C|F|T|A|V|eV|cal|ohm)|([μn])(m|s|g)")
NAMES = {other: name for name, others in OTHER_NAMES.items() for other in others.split()}
COMPOUND = {"mph": "mile/h", "kmh": "km/h", "kph": "km/h", "mpg": "mile/gallon"}
PER = re.compile(r"(?<=[a-z])per(?=[a-z])")
RAISED = re.compile(r"(?P<word>square|sq|平方|cubic|cu|立方)\.?(?P<base>[^\^]+)|(?P<plain>[^\^]+)\^(?P<power>[23])")
FACTOR = re.compile(r"\\[A-Za-z]+|[A-Za-zμ]+|\^ ?\{? ?-?[1-9] ?\}?|[^\s{}]")
SHORT_UNIT = re.compile(
    r"(?P<body>.*[0-9}]) (?P<unit>(?:mm|cm|m|km|in|ft|yd|mi|mg|g|kg|lb|oz|s|min|h|hr|mL|ml|L|rad)(?:/(?:s|h|min))?)"
    r"(?P<power>\^\{?[23]\}?)?"
)
"""An abbreviation after a number and a space: a unit where the other side has one, else perhaps a variable."""


TRAILING_UNIT = re.compile(
    r"^(?P<body>.*[\d}%)π]|.*\\pi) ?(?:\\(?:text|mathrm) ?\{(?P<text>[^{}]+)\}"
    r"|(?P<word>WORDS|[\u4e00-\u9fff]{1,4}(?:/[\u4e00-\u9fff]{1,2})?))"
    r"(?P<power> ?\^ ?\{?[23]\}?)?$".replace(
        "WORDS",
        "(?<![A-Za-z])(?:cm|mm|km|kg|mph|ft|inch(?:es)?|feet|miles?|hours?|minutes?|seconds?|days?|years?|"
        "degrees?|dollars?|cents?|units?|weeks?|months?|pounds?|gallons?|yards?|meters?|metres?|grams?|liters?|litres?|points?|people|students?)"
        # Whatever else was counted: words after a number and a space.
        r"|(?<=[0-9}] )(?!sin|cos|tan|cot|sec|csc|log|mod|exp|and|or|to|pi|sqrt)[a-z]{3,}(?: [a-z]{2,}){0,3}",
    )
)


NO_UNIT = re.compile(
    r"\b(?:not?|wrong|incorrect|false|plus|minus|times|over|squared|cubed|less|more|fewer|decrease|increase|hundred|dozen"
    r"|hal(?:f|ves)|thirds?|quarters?|[a-z]+ths?|except|or|if|is|was|of)\b|[的不错非无减加乘除百万亿]|千(?![米克瓦])|分之|n't",
    re.IGNORECASE,
)
"""Words after a number that change it, or comment on it."""


MAX_CHARS = 80
IN_FONT = re.compile(r"\\text ?\{((?:[^{}]|\{[^{}]*\})*)\}")
MICRO = re.compile(r"\\mu ?(?:\\text ?\{ ?|(?=[A-Za-z]))|\\text ?\{ ?\\mu ?(?:\})? ?")
QUOTIENT = re.compile(r"\\frac ?\{([^{}]+)\} ?\{([^{}]+)\}$")
PART = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]+|[\u4e00-\u9fff]{1,2})[ ,]*")
TEMPERATURE = re.compile(r"(?P<body>.*[0-9}]) ?\^ ?\{? ?\\circ ?\}? ?(?:\\text ?\{ ?([CF]) ?\}|([CF]))")
AFTER_NUMBER = re.compile(r"[0-9}] ?(?: [A-Za-zμ]|\\text|\\mu|\\Omega)")
ONE_LETTER = re.compile(r"(?<![A-Za-z/^*])[a-z]$")
NUMBER_AND_UNITS = re.compile(
    r"(?P<body>-?[0-9][0-9.,]*(?: ?(?:\\times|\\cdot) ?10 ?\^ ?(?:\{ ?-?[0-9]+ ?\}|[0-9]))?|.*\}|.*[0-9])"
    r" (?P<unit>(?:[A-Za-z(μ]|\\Omega)[^=]*)"
)


class Unit(NamedTuple):
    """What a unit measures, and its size in the base unit of that dimension."""

    dimension: str
    size: Fraction


class Quantity(NamedTuple):
    """An answer without its unit; the unit is empty when it has none."""

    body: str
    unit: str


BASE = {
    pair.partition("=")[0]: Unit(dimension, Fraction(pair.partition("=")[2]))
    for dimension, pairs in SIZES.items()
    for pair in pairs.split()
}


def canonical_unit(unit: str) -> str:
    """The canonical name of a unit: `cm` for `centimeters`; any other unchanged."""
    written = unit.strip().rstrip(".")
    if " " in written and (made := unit_product(written)):
        # `N m` is no nm.
        return made
    name = PER.sub("/", written.replace(" ", "").casefold())
    name = "/".join(_canonical_factor(part) for part in COMPOUND.get(name, name).split("/"))
    return name if measure(name) else unit_product(written) or name


def unit_product(text: str) -> str:
    """The name of units multiplied: `m*s^-2` for `m s^{-2}`; empty where one is not known."""
    powers: dict[str, int] = {}
    name, sign, grouped = "", 1, False
    for token in FACTOR.findall(text):
        if token in "/()":
            sign = -1 if token == "/" else sign if token == "(" else 1
            grouped = token == "(" and sign < 0
        elif token[0] == "^":
            if not name:
                return ""
            powers[name] *= int(token.strip("^{ }"))
        elif token not in ("*", "\\cdot", "\\times"):
            name = _canonical_factor(token)
            if _known(name) is None or name in powers:
                return ""
            powers[name] = sign
            sign = sign if grouped else 1
    return "*".join(f"{each}^{power}" if power != 1 else each for each, power in sorted(powers.items()))


def measure(name: str) -> Unit | None:
    """The unit of a canonical name; None where it is not known."""
    dimensions: Counter[str] = Counter()
    size = Fraction(1)
    for place, side in enumerate(name.split("/")):
        for factor in side.split("*"):
            base, _, power = factor.partition("^")
            known = _known(base)
            if known is None or place > 1 or not re.fullmatch("-?[1-9]|", power):
                return None
            times = int(power or 1) * (-1 if place else 1)
            size *= Fraction(known[1] ** times)
            dimensions.update({dimension: count * times for dimension, count in known[0].items()})
    return Unit("*".join(f"{dimension}^{count}" for dimension, count in sorted(dimensions.items()) if count), size)


@cache
def _known(name: str) -> tuple[dict[str, int], Fraction] | None:
    """The dimensions, each with its power, and the size of one unit."""
    if name in BASE:
        return {BASE[name].dimension: 1}, BASE[name].size
    prefixed = PREFIXED.fullmatch(name)
    if prefixed:
        whole = _known(prefixed[2] or prefixed[4])
        assert whole is not None
        return whole[0], whole[1] * PREFIXES[prefixed[1] or prefixed[3]]
    return _derived(name) if name in DERIVED else None


def _derived(name: str) -> tuple[dict[str, int], Fraction]:
    number, _, units = DERIVED[name].rpartition(" ")
    dimensions: Counter[str] = Counter()
    size = Fraction(number or 1)
    for factor in units.split("*"):
        base, _, power = factor.partition("^")
        known = _known(base)
        assert known is not None
        size *= known[1] ** int(power or 1)
        dimensions.update({dimension: count * int(power or 1) for dimension, count in known[0].items()})
    return dict(dimensions), size


def _canonical_factor(name: str) -> str:
    if _known(name) or name in NAMES:
        return NAMES.get(name, name)
    name = name.casefold()
    found = RAISED.fullmatch(name)
    if found and found["word"]:
        return f"{_canonical_factor(found['base'])}^{2 if found['word'] in ('square', 'sq', '平方') else 3}"
    if found:
        return f"{_canonical_factor(found['plain'])}^{found['power']}"
    if name not in NAMES and name not in BASE and len(name) > 2:
        name = name.removesuffix("s")
    return NAMES.get(name, name)


def split_unit(text: str) -> Quantity:
    r"""Split the unit from a quantity: one in `\text{}`, a known word, or Chinese; never a bare letter (`6m`)."""
    match = TRAILING_UNIT.match(text)
    if match is None:
        return Quantity(text, "")
    word = match["text"] or match["word"]
    if NO_UNIT.search(word):
        return Quantity(text, "")
    name = canonical_unit(word + unit_power(match))
    return Quantity(match["body"].strip(), name)


def split_short_unit(text: str) -> Quantity:
    r"""Split a unit that is short and not in `\text{}`, such as the `g` of `100 g`."""
    match = SHORT_UNIT.fullmatch(text)
    if match is None:
        return split_unit(text)
    return Quantity(match["body"], canonical_unit(match["unit"] + unit_power(match)))


def unit_power(match: re.Match[str]) -> str:
    """The power of a unit, such as `^2`."""
    return (match["power"] or "").translate({ord(character): None for character in " {}"})


def compound_quantity(text: str) -> Quantity | None:
    """The total of `2 hours 30 minutes`, in its last unit; None for any other text."""
    if len(text) > MAX_CHARS or not text[:1].isdecimal():
        return None
    flat = " ".join(IN_FONT.sub(r"\1 ", text).split())
    parts = PART.findall(flat)
    if len(parts) < 2 or PART.sub("", flat):
        return None
    units = [measure(canonical_unit(name)) for _, name in parts]
    known = [unit for unit in units if unit is not None]
    sizes = [unit.size for unit in known]
    if len(known) < len(parts) or len({unit.dimension for unit in known}) > 1 or sizes != sorted(set(sizes))[::-1]:
        return None
    total = sum(Fraction(number) * size for (number, _), size in zip(parts, sizes, strict=True)) / sizes[-1]
    body = str(total) if total.denominator == 1 else f"\\frac{{{total.numerator}}}{{{total.denominator}}}"
    return Quantity(body, canonical_unit(parts[-1][1]))


def read_quantity(text: str) -> Quantity:
    r"""A number and its units, in `\text{}` or Chinese or spelled out; a bare letter is none."""
    if together := compound_quantity(text):
        return together
    if degrees := TEMPERATURE.fullmatch(text):
        return Quantity(degrees["body"], {"C": "celsius", "F": "fahrenheit"}[degrees[2] or degrees[3]])
    plain = split_unit(text)
    if "\\text" not in text or (plain.unit and measure(plain.unit)):
        return plain
    return _read_units(text) or plain


def read_short_quantity(text: str) -> Quantity:
    """As `read_quantity`, and units that are short, such as the `g` of `100 g`."""
    whole = read_quantity(text)
    return whole if whole.unit else _read_units(text) or split_short_unit(text)


def read_short_quantities(gold: str, answer: str) -> tuple[Quantity, Quantity] | None:
    """`72 km/h` and `20 m/s`, or `30 J` and `30`: short units that are no variables; else None."""
    if not AFTER_NUMBER.search(gold):
        return None
    left, right = read_short_quantity(gold), read_short_quantity(answer)
    if measure(left.unit) and measure(right.unit):
        return left, right
    # A single small letter may well be a variable.
    number = read_number(answer.replace(" ", ""))
    return (left, right) if number and measure(left.unit) and not ONE_LETTER.search(gold) else None


def _read_units(text: str) -> Quantity | None:
    """A number and known units after a space, multiplied or divided."""
    if len(text) > MAX_CHARS:
        return None
    flat = IN_FONT.sub(r" \1 ", MICRO.sub("μ", text))
    flat = " ".join(QUOTIENT.sub(r" (\1)/(\2)", flat).replace(" ^", "^").split())
    match = NUMBER_AND_UNITS.fullmatch(flat)
    unit = unit_product(match["unit"]) if match else ""
    return Quantity(match["body"], unit) if match and unit else None


CLOCK = re.compile(
    r"(?P<hour>[0-9]{1,2}) ?: ?(?P<minute>[0-5][0-9])(?: ?: ?(?P<second>[0-5][0-9]))? ?(?P<half>[ap]\.? ?m\.?)?",
    re.IGNORECASE,
)


def same_time(gold: str, answer: str) -> bool | None:
    """Whether `9:05 a.m.`, `20:34`, `20:34:00` are the same time of the day; None unless both are times."""
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
    r"""Whether `1:2:\sqrt{3}` and `2:4:2\sqrt{3}` are one ratio; None unless both have three numbers or more."""
    left, right = _terms(gold), _terms(answer)
    if not left or not right:
        return None
    if len(left) != len(right) or not all(left + right):
        return left == right
    return all(equal_values(a * right[0], b * left[0]) for a, b in zip(left, right, strict=True))


def _terms(text: str) -> list[Value]:
    """The numbers of a ratio of three or more; else empty."""
    parts = [parse(part.strip()) for part in text.split(":")] if text.count(":") > 1 else []
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
