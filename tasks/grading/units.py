r"""Units of measure: their names, and what one is worth in another.

Two quantities in known units are compared by value: `2 \text{ m}` is `200 \text{ cm}`, and 2 cm is wrong. Of units that
are not known here nothing is said.
"""

import re
from collections import Counter
from fractions import Fraction
from functools import cache
from typing import NamedTuple

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
"""Units that are made of others."""
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
SHORT = re.compile(
    r"(?P<body>.*[0-9}]) (?P<unit>(?:mm|cm|m|km|in|ft|yd|mi|mg|g|kg|lb|oz|s|min|h|hr|mL|ml|L|rad)(?:/(?:s|h|min))?)"
    r"(?P<power>\^\{?[23]\}?)?"
)
"""An abbreviation after a number and a space: a unit where the other side has one, else perhaps a variable."""


class Unit(NamedTuple):
    """What a unit measures, and its size among those that measure it."""

    dimension: str
    size: Fraction


BASE = {
    pair.partition("=")[0]: Unit(dimension, Fraction(pair.partition("=")[2]))
    for dimension, pairs in SIZES.items()
    for pair in pairs.split()
}


def one_name(unit: str) -> str:
    """The name that stands for all names of a unit: `cm` for `centimeters`; any other as it is."""
    written = unit.strip().rstrip(".")
    if " " in written and (made := product(written)):
        # `N m` is no nm.
        return made
    name = PER.sub("/", written.replace(" ", "").casefold())
    name = "/".join(_single(part) for part in COMPOUND.get(name, name).split("/"))
    return name if measure(name) else product(written) or name


def product(text: str) -> str:
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
            name = _single(token)
            if _known(name) is None or name in powers:
                return ""
            powers[name] = sign
            sign = sign if grouped else 1
    return "*".join(f"{each}^{power}" if power != 1 else each for each, power in sorted(powers.items()))


def measure(name: str) -> Unit | None:
    """What a unit by its one name measures; None where it is not known."""
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
    return _made_of(name) if name in DERIVED else None


def _made_of(name: str) -> tuple[dict[str, int], Fraction]:
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


def _single(name: str) -> str:
    if _known(name) or name in NAMES:
        return NAMES.get(name, name)
    name = name.casefold()
    found = RAISED.fullmatch(name)
    if found and found["word"]:
        return f"{_single(found['base'])}^{2 if found['word'] in ('square', 'sq', '平方') else 3}"
    if found:
        return f"{_single(found['plain'])}^{found['power']}"
    if name not in NAMES and name not in BASE and len(name) > 2:
        name = name.removesuffix("s")
    return NAMES.get(name, name)
