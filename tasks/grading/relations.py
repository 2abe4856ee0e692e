"""Equations, inequalities and intervals: chains of sides with signs between them."""

import re
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from math import lcm
from typing import NamedTuple

from tasks.grading.brackets import read_list, split
from tasks.grading.expression import Expression, equal_values, evaluate, parse, same_up_to_constants
from tasks.grading.values import compare_scalars, is_constant

RELATION = re.compile(r"\\le(?![a-z])|\\ge(?![a-z])|\\ne(?![a-z])|\\in(?![a-z])|[<>=]")
FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
NAME = re.compile(r"(?:\\?[A-Za-z]+(?:_(?:\w|\{\w+\}))?'?|[A-Za-z](?:\^\{-1\}|'{1,2})?\([A-Za-z](?:,[A-Za-z])*\))")
BARE_TERMS = re.compile(r"[a-z](?:_\w)?(?: ?(?:[-+] ?)?[a-z](?:_\w)?)+")
"""`a+b` or `xy`, whose value a question may want."""
FUNCTION = re.compile(r"\\[a-z]+|[A-Za-z]'?\(|\\?\|")
"""The beginning of a side that is a value and no term: `f(2)`, `\\sin A`, `|AB|`."""
VALUE_OF_SET = re.compile(r"\\?\{ ?[A-Za-z] ?(?:\\in ?\\mathbb ?\{? ?R ?\}? ?)?(?:\\mid|\||:) ?(?P<condition>.*)\}")


ARGUMENT = re.compile(r"\([a-z]\)$")
SAME_NAMES = ({"y", "f(x)"},)
ABSOLUTE = re.compile(
    r"\\?\|(?P<name>[A-Za-z])\\?\| ?(?P<sign><|\\le(?![a-z])) ?(?P<bound>[^<>=\\|]+|\\(?:frac|sqrt).+)"
)


class Interval(NamedTuple):
    """Ends as texts, and whether each is closed."""

    low: str
    high: str
    low_closed: bool
    high_closed: bool


class Chain(NamedTuple):
    """The signs of `a < b = c`, and the sides between them."""

    signs: list[str]
    sides: list[str]


def chain(text: str) -> Chain:
    """A text split at its relation signs."""
    return Chain(RELATION.findall(text), [side.strip() for side in RELATION.split(text)])


def compare_relations(gold: str, answer: str) -> bool | None:
    """Two answers, at least one of them an equation or an inequality."""
    met = compare_intervals(gold, answer)
    if met is not None:
        return met
    left, right = chain(gold), chain(answer)
    if not left.signs or not right.signs:
        # Only one of the two is a relation.
        return (
            _compare_named_value(left, answer, of_gold=True)
            if not right.signs
            else _compare_named_value(right, gold, of_gold=False)
        )
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
    found = [compare_scalars(a, b) for a, b in zip(left.sides, right.sides, strict=True)]
    if all(found):
        return True
    # 2x > 4 is x > 2, but between numbers, and between names, nothing is left to rearrange.
    plain = all(map(_is_plain, left.sides + right.sides))
    return False if plain and False in found else None


def _has_result(named: Chain) -> bool:
    """Whether its last side is a result; `2x+z=1` is an equation, `\\frac{NO}{BO}=1` and `2+2=4` are not."""
    first, last = parse(named.sides[0]), parse(named.sides[-1])
    if NAME.fullmatch(named.sides[0]) or FUNCTION.match(named.sides[0]) or first is None or last is None:
        return True
    if not first.names and not last.names:
        # `2+3=5` is a step to 5, `10=5` is not.
        return all(compare_scalars(side, named.sides[-1]) for side in named.sides)
    if last.names > first.names:
        return False
    variables = [name for name in first.names if len(name) == 1 and name.islower()]
    return not variables


def _compare_named_value(named: Chain, other: str, *, of_gold: bool) -> bool | None:
    """`x = 5` against `5`."""
    if set(named.signs) != {"="}:
        return None
    found = [compare_scalars(side, other) for side in named.sides]
    # A chain of steps ends in its result; any other equation is no value.
    wanted = not of_gold and BARE_TERMS.fullmatch(named.sides[0])
    if (found[-1] and (wanted or _has_result(named))) or (len(named.signs) == 1 and NAME.fullmatch(named.sides[0])):
        return found[-1]
    if found[-1]:
        return False
    return False if parse(other) is not None and all(each is False for each in found) else None


def _equations(gold: list[str], answer: list[str]) -> bool | None:
    """Two equations: the same sides, or differences of sides that are multiples of each other."""
    if NAME.fullmatch(gold[0]) and NAME.fullmatch(answer[0]):
        equal = compare_scalars(gold[1], answer[1])
        names = [ARGUMENT.sub("", side[0]) for side in (gold, answer)]
        alike = names[0].casefold() == names[1].casefold() if "(" in gold[0] else names[0] == names[1]
        if alike and equal is False and (general := (parse(gold[1]), parse(answer[1]))):
            equal = bool(general[0] and general[1] and same_up_to_constants(general[0], general[1], fewest=1))
        if alike or (equal and {gold[0], answer[0]} in SAME_NAMES):
            return equal
        # y = x/2 may be solved for x, as x = 2y.
        if equal is False and not (_names(gold[1], answer[0]) or _names(answer[1], gold[0])):
            return False
    parsed = [parse(side) for side in (*gold, *answer)]
    if not all(parsed):
        return None
    if not any(side.names for side in parsed if side is not None):
        # All true equations between numbers are equivalent, but not the same answer.
        return all_of(compare_scalars(a, b) for a, b in zip(gold, answer, strict=True))
    ratios = [_ratio([side for side in parsed if side is not None], point) for point in range(3)]
    if ratios[0] is None:
        return None
    return True if all(ratio is not None and equal_values(ratios[0], ratio) for ratio in ratios[1:]) else None


def _names(text: str, name: str) -> bool:
    parsed = parse(text)
    return parsed is not None and name in parsed.names


def _inequalities(left: Chain, right: Chain) -> bool | None:
    """`2x > 6` against `x > 3`: differences of sides that are multiples of each other, turned by a negative one."""
    parsed = [parse(side) for side in (*left.sides, *right.sides)]
    sides = [side for side in parsed if side is not None]
    signs = left.signs[0], right.signs[0]
    if len(sides) < 4 or not {*signs} <= FLIPPED.keys() or not any(side.names for side in sides):
        return None
    ratios = [_ratio(sides, point) for point in range(3)]
    if ratios[0] is None or not all(ratio is not None and equal_values(ratios[0], ratio) for ratio in ratios[1:]):
        return None
    turned = signs[1] if ratios[0].real > 0 else FLIPPED[signs[1]]
    return signs[0] == turned


def _ratio(sides: list[Expression], point: int) -> complex | None:
    """The difference of the first two sides over that of the last two; None where one is 0 or has no value."""
    values = [evaluate(side, point) for side in sides]
    try:
        a, b, c, d = (complex(value) for value in values if value is not None)
    except (ValueError, OverflowError):
        # A side without a value here, or one past all floats.
        return None
    return None if min(abs(a - b), abs(c - d)) < 1e-9 else (a - b) / (c - d)


def _is_plain(text: str) -> bool:
    """Whether it is a constant or a name, with nothing to rearrange."""
    return is_constant(text) or NAME.fullmatch(text) is not None


def compare_intervals(gold: str, answer: str) -> bool | None:
    """An interval against an inequality: `[1,2)` and `1 \\le x < 2`; never two of a kind."""
    sides = [(read_interval(text), condition_interval(text)) for text in (gold, answer)]
    for one, other in (sides, sides[::-1]):
        if one[0] and other[1]:
            return same_interval(one[0], other[1])
    if sides[0][1] and sides[1][1]:
        names = [variable_in(text) for text in (gold, answer)]
        return False if names[0] != names[1] else same_interval(sides[0][1], sides[1][1])
    return None


def variable_in(text: str) -> str:
    """The variable of a condition, the first name in it; empty where there is none."""
    match = VALUE_OF_SET.fullmatch(text)
    if absolute := ABSOLUTE.fullmatch(text):
        return absolute["name"]
    sides = chain(match["condition"].rstrip("\\") if match else text).sides
    if len(sides) == 3:
        return sides[1]
    return next((side for side in sides if NAME.fullmatch(side) and side not in ("\\infty", "\\pi", "e")), "")


def same_interval(left: Interval, right: Interval) -> bool | None:
    """Whether two intervals have equal ends, by value, that are closed alike."""
    ends = [compare_scalars(left.low, right.low), compare_scalars(left.high, right.high)]
    if False in ends:
        return False
    if None in ends:
        return None
    return left[2:] == right[2:]


def read_interval(text: str) -> Interval | None:
    """The interval that a pair in brackets may be."""
    found = read_list(text)
    if len(found.parts) != 2 or found.brackets not in ("()", "[]", "(]", "[)"):
        return None
    low, high = found.parts
    return Interval(low, high, found.brackets[0] == "[", found.brackets[1] == "]")


def condition_interval(text: str) -> Interval | None:
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


NUMBERED = re.compile(r"(?:\([1-9]\)[ ,;]*){2,9}")
"""Statements by their numbers: `(1)(3)`."""
NAMED_TUPLE = re.compile(r"\((?P<names>[A-Za-z](?:_\w)?(?:, ?[A-Za-z](?:_\w)?)+)\) ?= ?(?P<values>\(.+\))")
UNEQUAL = re.compile(r"(?:[A-Za-z] ?\\in ?)?\\mathbb ?\{?R\}? ?(?:\\setminus|\\backslash|-) ?\\\{(?P<out>.+)\\\}")
OUTWARD = re.compile(r"([\[\]])([^\[\]]+,[^\[\]]+)([\[\]])")
"""An interval as French has it: `]0, 1]`."""
REAL = re.compile(r"(?<=.), ?[a-z] ?\\in ?\\mathbb ?\{? ?R ?\}?(?=\\?\}?$)")
POSITIVE = re.compile(r"\\mathbb ?\{? ?R ?\}? ?(?:[\^_] ?\{? ?\+ ?\}?|_ ?\{ ?> ?0 ?\})")
MAX_UNION = 4
INFINITE = re.compile(r"([+-]?) ?\\infty")
OUTSIDE = re.compile(r"\\?\|[A-Za-z]\\?\| ?(?P<sign>>|\\ge(?![a-z])) ?(?P<bound>[^<>=\\|]+|\\(?:frac|sqrt).+)")
"""`|x| > 2`."""
CHOICES = re.compile(r"\$? ?C ?(\([^()]{1,40},[^()]{1,40}\)) ?\$?")
NOT = re.compile(r"[A-Za-z] ?\\ne(?![a-z]) ?")


def drop_point_name(gold: str, answer: str) -> tuple[str, str]:
    """Both texts; without the name of a point C against an unnamed pair, since `C(4,3)` may be a binomial."""
    names = [CHOICES.fullmatch(text) for text in (gold, answer)]
    if names[0] and not names[1] and answer.lstrip("$ ").startswith("("):
        return names[0][1], answer
    if names[1] and not names[0] and gold.lstrip("$ ").startswith("("):
        return gold, names[1][1]
    return gold, answer


def rewrite_as_list(text: str) -> str:
    """`(1)(3)`, `(a,b)=(2,3)` and `]0,1]` as a plain list or interval; any other text unchanged."""
    if text[:1] == "]" or text[-1:] == "[":
        return OUTWARD.sub(_inward, text)
    text = REAL.sub("", text)
    if POSITIVE.fullmatch(text):
        return "(0,\\infty)"
    if NUMBERED.fullmatch(text):
        return f"\\{{{', '.join(re.findall('[1-9]', text))}\\}}"
    named = NAMED_TUPLE.fullmatch(text)
    if named is None:
        return text
    names, values = named["names"].split(","), read_list(named["values"]).parts
    if len(names) != len(values):
        return text
    return ", ".join(f"{name.strip()}={value}" for name, value in zip(names, values, strict=True))


def _inward(match: re.Match[str]) -> str:
    return f"{'(' if match[1] == ']' else '['}{match[2]}{')' if match[3] == '[' else ']'}"


def _without_points(text: str) -> list[str]:
    r"""The intervals of all numbers but a few, of `x \ne \pm 3`, `\mathbb{R} \setminus \{1, 2\}`; else empty."""
    match = UNEQUAL.fullmatch(text)
    parts = read_list(match["out"] if match else text).parts
    if not match:
        if not NOT.match(text):
            return []
        parts = [NOT.sub("", part) for part in parts]
    found = _by_value(parts)
    ends = ["-\\infty", *(found[value] for value in sorted(found)), "\\infty"]
    return [f"({low},{high})" for low, high in pairwise(ends)] if found else []


def _by_value(parts: list[str]) -> dict[float, str]:
    r"""Numbers by their values, `\pm 3` as two; empty where one has no real value."""
    found: dict[float, str] = {}
    for part in parts:
        for each in (part.replace("\\pm", "+"), part.replace("\\pm", "-")):
            value = _value(each)
            if value is None:
                return {}
            found[value] = each
    return found


def _value(text: str) -> float | None:
    """The real value of a number or an infinity."""
    if infinite := INFINITE.fullmatch(text):
        return float(f"{infinite[1]}inf")
    parsed = parse(text)
    value = evaluate(parsed) if parsed and not parsed.names else None
    return None if value is None or complex(value).imag else complex(value).real


def _absolute_above(text: str) -> list[str]:
    """The two intervals of `|x| > 2`; else empty."""
    match = OUTSIDE.fullmatch(text)
    if match is None:
        return []
    closed, bound = match["sign"] != ">", match["bound"]
    ends = Interval("-\\infty", f"-({bound})", False, closed), Interval(bound, "\\infty", closed, False)
    return [_format(each) for each in ends]


def _interval_without_points(parts: list[str]) -> list[str]:
    r"""The intervals of one without some numbers, of `x \ge 1, x \ne 4`; else empty."""
    met = [each for part in parts if (each := condition_interval(part))]
    out = _by_value([NOT.sub("", part) for part in parts if NOT.match(part)])
    others = [part for part in parts if not NOT.match(part)]
    if not len(met) == len(others) == 1 or not out or len(set(map(variable_in, parts))) > 1:
        return []
    (whole,) = met
    low, high = _value(whole.low), _value(whole.high)
    if low is None or high is None:
        return []
    inside = [out[value] for value in sorted(out) if low < value < high]
    first, last = (
        "[" if whole.low_closed and low not in out else "(",
        "]" if whole.high_closed and high not in out else ")",
    )
    ends = (
        [f"{first}{whole.low}", *(f"({value}" for value in inside)],
        [*(f"{value})" for value in inside), f"{whole.high}{last}"],
    )
    return [f"{low},{high}" for low, high in zip(*ends, strict=True)]


def union_of_conditions(text: str) -> list[str]:
    """`x<1, x>3` and `x \\ne 2` as the intervals of their union; else empty."""
    built = VALUE_OF_SET.fullmatch(text)
    text = built["condition"].rstrip("\\").strip() if built and "\\ne" in text else text
    if pieces := _without_points(text) or _absolute_above(text):
        return pieces
    together = "\\land" in text
    parts = [part.strip() for part in text.split("\\land")] if together else split(text)
    if "\\ne" in text:
        return _interval_without_points(parts)
    found = [condition_interval(part) for part in parts]
    met = [each for each in found if each is not None]
    if len(met) < len(parts) or not 2 <= len(met) <= MAX_UNION:
        return []
    if not together and any("\\infty" not in each.low + each.high for each in met):
        return [_format(each) for each in met]
    if len(met) > 2:
        return []
    low, high = sorted(met, key=lambda each: each.low != "-\\infty")
    return _combine_rays(low, high, together=together)


def _combine_rays(low: Interval, high: Interval, *, together: bool) -> list[str]:
    """The intersection or the union of two half-lines."""
    ends = parse(low.high), parse(high.low)
    if low.low != "-\\infty" or high.high != "\\infty" or ends[0] is None or ends[1] is None:
        return []
    values = evaluate(ends[0]), evaluate(ends[1])
    if not all(isinstance(value, Fraction) for value in values) or ends[0].names or ends[1].names:
        return []
    written = [_format(low), _format(high)]
    if not together and complex(values[0] or 0).real <= complex(values[1] or 0).real:
        return written
    # An intersection: two that overlap, with nothing but a comma between them, are one too.
    return [f"{written[1].partition(',')[0]},{written[0].partition(',')[2]}"]


def _format(each: Interval) -> str:
    return f"{'[' if each.low_closed else '('}{each.low},{each.high}{']' if each.high_closed else ')'}"


CONGRUENCE = re.compile(
    r"(?:(?P<name>[A-Za-z]) ?\\equiv ?)?(?P<residues>-?[0-9]{1,6}(?:, ?-?[0-9]{1,6})*) ?\(? ?\\?[pb]?mod ?\{? ?"
    r"(?P<modulus>[1-9][0-9]{0,5}) ?\}? ?\)?"
)
MULTIPLES = re.compile(
    r"(?:(?P<name>[A-Za-z]) ?= ?)?(?P<modulus>[1-9][0-9]{0,5}) ?(?!(?P=name))[a-z] ?"
    r"(?P<rest>[-+] ?[0-9]{1,6})?(?:,? ?for (?:all|any|some|every|integers?)\b.*|,? ?for [a-z] ?\\ge ?0)?"
)
INTEGER = re.compile(r"-?[0-9]{1,6}")
MAX_MODULUS = 100_000


def same_residues(gold: str, answer: str) -> bool | None:
    """Whether two texts are the same residue classes; None where neither is a congruence, or one cannot be parsed."""
    if not (CONGRUENCE.fullmatch(gold) or CONGRUENCE.fullmatch(answer)):
        return None
    left, right = _classes(gold), _classes(answer)
    for classes, other in ((left, answer), (right, gold)):
        if classes and INTEGER.fullmatch(other):
            # One side leaves out the modulus.
            return classes[2] == [int(other)] and 0 <= int(other) < classes[1]
    if left is None or right is None:
        return None
    modulus = lcm(left[1], right[1])
    if (left[0] and right[0] and left[0] != right[0]) or modulus > MAX_MODULUS:
        return None
    written_out = [
        {(residue + step) % modulus for residue in residues for step in range(0, modulus, own)}
        for _, own, residues in (left, right)
    ]
    return written_out[0] == written_out[1]


def _classes(text: str) -> tuple[str | None, int, list[int]] | None:
    r"""Name, modulus and residues of `n \equiv 3 \pmod 7`, `n \equiv 1, 4 \pmod 6` or `n = 7k + 3`."""
    if match := CONGRUENCE.fullmatch(text):
        return match["name"], int(match["modulus"]), [int(each) for each in match["residues"].split(",")]
    if match := MULTIPLES.fullmatch(text):
        return match["name"], int(match["modulus"]), [int((match["rest"] or "0").replace(" ", ""))]
    return None
