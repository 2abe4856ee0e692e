"""Equations, inequalities and intervals: chains of sides with signs between them."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from tasks.grading.constants import renamed
from tasks.grading.expression import equal_values, evaluate
from tasks.grading.listing import listed
from tasks.grading.reader import Parsed, read
from tasks.grading.scalars import is_constant, scalars

RELATION = re.compile(r"\\le(?![a-z])|\\ge(?![a-z])|\\ne(?![a-z])|\\in(?![a-z])|[<>=]")
FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
NAME = re.compile(r"(?:\\?[A-Za-z]+(?:_(?:\w|\{\w+\}))?'?|[A-Za-z](?:\^\{-1\}|'{1,2})?\([A-Za-z](?:,[A-Za-z])*\))")
BARE_TERMS = re.compile(r"[a-z](?:_\w)?(?: ?(?:[-+] ?)?[a-z](?:_\w)?)+")
"""`a+b` or `xy`, which a question may have asked for."""
FUNCTION = re.compile(r"\\[a-z]+|[A-Za-z]'?\(|\\?\|")
"""What a side begins with that is a value and no term: `f(2)`, `\\sin A`, `|AB|`."""
VALUE_OF_SET = re.compile(r"\\?\{ ?[A-Za-z] ?(?:\\in ?\\mathbb ?\{? ?R ?\}? ?)?(?:\\mid|\||:) ?(?P<condition>.*)\}")


ARGUMENT = re.compile(r"\([a-z]\)$")
SAME_NAMES = ({"y", "f(x)"},)
ABSOLUTE = re.compile(
    r"\\?\|(?P<name>[A-Za-z])\\?\| ?(?P<sign><|\\le(?![a-z])) ?(?P<bound>[^<>=\\|]+|\\(?:frac|sqrt).+)"
)


class Interval(NamedTuple):
    """Ends as texts, and whether each belongs to it."""

    low: str
    high: str
    low_closed: bool
    high_closed: bool


class Chain(NamedTuple):
    """The signs of `a < b = c`, and what stands between them."""

    signs: list[str]
    sides: list[str]


def chain(text: str) -> Chain:
    """A text split at its relation signs."""
    return Chain(RELATION.findall(text), [side.strip() for side in RELATION.split(text)])


def relations(gold: str, answer: str) -> bool | None:
    """Two answers of which one at least is an equation or an inequality."""
    met = as_intervals(gold, answer)
    if met is not None:
        return met
    left, right = chain(gold), chain(answer)
    if not left.signs or not right.signs:
        # One side alone is a relation.
        return _unnamed(left, answer, of_gold=True) if not right.signs else _unnamed(right, gold, of_gold=False)
    if left.signs == right.signs == ["="]:
        return _equations(left.sides, right.sides)
    if len(left.signs) == len(right.signs) == 1 and (linear := _inequalities(left, right)) is not None:
        return linear
    if len(left.signs) != len(right.signs):
        plain = all(map(_is_plain, left.sides + right.sides))
        return False if plain and "=" not in left.signs + right.signs else None
    if left.signs != right.signs:
        right = Chain([FLIPPED.get(sign, sign) for sign in right.signs[::-1]], right.sides[::-1])
    if left.signs != right.signs:
        strict = set(left.signs + right.signs) <= {"<", ">"}
        return False if strict and sorted(left.sides) == sorted(right.sides) else None
    found = [scalars(a, b) for a, b in zip(left.sides, right.sides, strict=True)]
    if all(found):
        return True
    # 2x > 4 is x > 2, but between numbers, and between names, nothing is left to rearrange.
    plain = all(map(_is_plain, left.sides + right.sides))
    return False if plain and False in found else None


def _has_result(named: Chain) -> bool:
    """Whether its last side is what was asked for; `2x+z=1` is an equation, `\\frac{NO}{BO}=1` and `2+2=4` are not."""
    first, last = read(named.sides[0]), read(named.sides[-1])
    if NAME.fullmatch(named.sides[0]) or FUNCTION.match(named.sides[0]) or first is None or last is None:
        return True
    if not first.names and not last.names:
        # `2+3=5` is a step to 5, `10=5` is none.
        return all(scalars(side, named.sides[-1]) for side in named.sides)
    if last.names > first.names:
        return False
    variables = [name for name in first.names if len(name) == 1 and name.islower()]
    return not variables


def _unnamed(named: Chain, other: str, *, of_gold: bool) -> bool | None:
    """`x = 5` against `5`."""
    if set(named.signs) != {"="}:
        return None
    found = [scalars(side, other) for side in named.sides]
    # A chain of steps ends in its result; any other equation is no value.
    asked = not of_gold and BARE_TERMS.fullmatch(named.sides[0])
    if (found[-1] and (asked or _has_result(named))) or (len(named.signs) == 1 and NAME.fullmatch(named.sides[0])):
        return found[-1]
    if found[-1]:
        return False
    return False if read(other) is not None and all(each is False for each in found) else None


def _equations(gold: list[str], answer: list[str]) -> bool | None:
    """Two equations: the same sides, or differences of sides that are multiples of each other."""
    if NAME.fullmatch(gold[0]) and NAME.fullmatch(answer[0]):
        equal = scalars(gold[1], answer[1])
        names = [ARGUMENT.sub("", side[0]) for side in (gold, answer)]
        alike = names[0].casefold() == names[1].casefold() if "(" in gold[0] else names[0] == names[1]
        if alike and equal is False and (general := (read(gold[1]), read(answer[1]))):
            equal = bool(general[0] and general[1] and renamed(general[0], general[1], fewest=1))
        if alike or (equal and {gold[0], answer[0]} in SAME_NAMES):
            return equal
        # y = x/2 may be solved for x, as x = 2y.
        if equal is False and not (_names(gold[1], answer[0]) or _names(answer[1], gold[0])):
            return False
    parsed = [read(side) for side in (*gold, *answer)]
    if not all(parsed):
        return None
    if not any(side.names for side in parsed if side is not None):
        # Every true equation between numbers says the same, and is not the same answer.
        return all_of(scalars(a, b) for a, b in zip(gold, answer, strict=True))
    ratios = [_ratio([side for side in parsed if side is not None], point) for point in range(3)]
    if ratios[0] is None:
        return None
    return True if all(ratio is not None and equal_values(ratios[0], ratio) for ratio in ratios[1:]) else None


def _names(text: str, name: str) -> bool:
    parsed = read(text)
    return parsed is not None and name in parsed.names


def _inequalities(left: Chain, right: Chain) -> bool | None:
    """`2x > 6` against `x > 3`: differences of sides that are multiples of each other, turned by a negative one."""
    parsed = [read(side) for side in (*left.sides, *right.sides)]
    sides = [side for side in parsed if side is not None]
    signs = left.signs[0], right.signs[0]
    if len(sides) < 4 or not {*signs} <= FLIPPED.keys() or not any(side.names for side in sides):
        return None
    ratios = [_ratio(sides, point) for point in range(3)]
    if ratios[0] is None or not all(ratio is not None and equal_values(ratios[0], ratio) for ratio in ratios[1:]):
        return None
    turned = signs[1] if ratios[0].real > 0 else FLIPPED[signs[1]]
    return signs[0] == turned


def _ratio(sides: list[Parsed], point: int) -> complex | None:
    """What the difference of the first two sides is of that of the last two; None where one is 0 or not to be had."""
    values = [evaluate(side, point) for side in sides]
    try:
        a, b, c, d = (complex(value) for value in values if value is not None)
    except (ValueError, OverflowError):
        # A side without a value here, or one past all floats.
        return None
    return None if min(abs(a - b), abs(c - d)) < 1e-9 else (a - b) / (c - d)


def _is_plain(text: str) -> bool:
    """Whether nothing in it is left to rearrange: a constant or a name."""
    return is_constant(text) or NAME.fullmatch(text) is not None


def as_intervals(gold: str, answer: str) -> bool | None:
    """An interval against an inequality: `[1,2)` and `1 \\le x < 2`; never two of a kind."""
    sides = [(interval(text), condition(text)) for text in (gold, answer)]
    for one, other in (sides, sides[::-1]):
        if one[0] and other[1]:
            return same_interval(one[0], other[1])
    if sides[0][1] and sides[1][1]:
        names = [name_in(text) for text in (gold, answer)]
        return False if names[0] != names[1] else same_interval(sides[0][1], sides[1][1])
    return None


def name_in(text: str) -> str:
    """The first name in a condition, which is the one that it is of; empty where there is none."""
    match = VALUE_OF_SET.fullmatch(text)
    if absolute := ABSOLUTE.fullmatch(text):
        return absolute["name"]
    sides = chain(match["condition"].rstrip("\\") if match else text).sides
    if len(sides) == 3:
        return sides[1]
    return next((side for side in sides if NAME.fullmatch(side) and side not in ("\\infty", "\\pi", "e")), "")


def same_interval(left: Interval, right: Interval) -> bool | None:
    """Ends by value, and whether they belong to it."""
    ends = [scalars(left.low, right.low), scalars(left.high, right.high)]
    if False in ends:
        return False
    if None in ends:
        return None
    return left[2:] == right[2:]


def interval(text: str) -> Interval | None:
    """The interval that a pair in brackets may be."""
    found = listed(text)
    if len(found.parts) != 2 or found.brackets not in ("()", "[]", "(]", "[)"):
        return None
    low, high = found.parts
    return Interval(low, high, found.brackets[0] == "[", found.brackets[1] == "]")


def condition(text: str) -> Interval | None:
    """The interval of `a < x \\le b`, `x > a`, or of a set of such x."""
    absolute = ABSOLUTE.fullmatch(text)
    if absolute:
        closed = absolute["sign"] != "<"
        return Interval(f"-({absolute['bound']})", absolute["bound"], closed, closed)
    match = VALUE_OF_SET.fullmatch(text)
    signs, sides = chain(match["condition"].rstrip("\\") if match else text)
    if signs and signs[0] in (">", "\\ge"):
        signs, sides = [FLIPPED.get(sign, sign) for sign in signs[::-1]], sides[::-1]
    if not signs or any(sign not in ("<", "\\le") for sign in signs):
        return None
    if len(signs) == 2 and NAME.fullmatch(sides[1]):
        return Interval(sides[0], sides[2], signs[0] == "\\le", signs[1] == "\\le")
    if len(signs) == 1 and NAME.fullmatch(sides[0]) and not NAME.fullmatch(sides[1]):
        return Interval("-\\infty", sides[1], False, signs[0] == "\\le")
    if len(signs) == 1 and NAME.fullmatch(sides[1]) and not NAME.fullmatch(sides[0]):
        return Interval(sides[0], "\\infty", signs[0] == "\\le", False)
    return None


def all_of(found: Iterable[bool | None]) -> bool | None:
    """False where one is False, None where one is open, else True."""
    seen = list(found)
    return False if False in seen else None if None in seen else True
