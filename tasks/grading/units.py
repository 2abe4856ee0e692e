r"""Units of measure: their names, and what one is worth in another.

Two quantities in known units are compared by value: `2 \text{ m}` is `200 \text{ cm}`, and 2 cm is wrong. Of units that
are not known here nothing is said.
"""

import re
from fractions import Fraction
from typing import NamedTuple

SIZES = {
    "length": "mm=0.001 cm=0.01 dm=0.1 m=1 km=1000 inch=0.0254 ft=0.3048 yard=0.9144 mile=1609.344",
    "mass": "mg=0.001 g=1 kg=1000 ton=1000000 lb=453.59237 ounce=28.349523125",
    "time": "ms=0.001 s=1 min=60 h=3600 day=86400 week=604800",
    "months": "month=1 year=12",
    "volume": "ml=0.001 l=1 gallon=3.785411784",
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
    "ml": "milliliter millilitre 毫升",
    "l": "liter litre 升",
    "dollar": "usd",
    "yuan": "元",
    "degree": "度 deg",
    "radian": "rad 弧度",
}
NAMES = {other: name for name, others in OTHER_NAMES.items() for other in others.split()}
COMPOUND = {"mph": "mile/h", "kmh": "km/h", "kph": "km/h", "mpg": "mile/gallon"}
PER = re.compile(r"(?<=[a-z])per(?=[a-z])")
RAISED = re.compile(r"(?P<word>square|sq|平方|cubic|cu|立方)\.?(?P<base>[^\^]+)|(?P<plain>[^\^]+)\^(?P<power>[23])")
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
    name = unit.strip().replace(" ", "").rstrip(".").casefold()
    name = COMPOUND.get(name, PER.sub("/", name))
    return "/".join(_single(part) for part in name.split("/"))


def measure(name: str) -> Unit | None:
    """What a unit by its one name measures; None where it is not known."""
    parts = [_raised(part) for part in name.split("/")]
    if len(parts) > 2 or any(part is None for part in parts):
        return None
    known = [part for part in parts if part is not None]
    if len(known) == 1:
        return known[0]
    return Unit(f"{known[0].dimension}/{known[1].dimension}", known[0].size / known[1].size)


def _single(name: str) -> str:
    found = RAISED.fullmatch(name)
    if found and found["word"]:
        return f"{_single(found['base'])}^{2 if found['word'] in ('square', 'sq', '平方') else 3}"
    if found:
        return f"{_single(found['plain'])}^{found['power']}"
    if name not in NAMES and name not in BASE and len(name) > 2:
        name = name.removesuffix("s")
    return NAMES.get(name, name)


def _raised(name: str) -> Unit | None:
    base, _, power = name.partition("^")
    unit = BASE.get(base)
    if unit is None or not power:
        return unit
    if (unit.dimension, power) == ("length", "3"):
        # A litre is a cubic decimetre.
        return Unit("volume", unit.size**3 * 1000)
    return Unit(f"{unit.dimension}^{power}", unit.size ** int(power))
