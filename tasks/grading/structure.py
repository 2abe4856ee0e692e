r"""Compare answers that have parts: lists, sets, tuples, intervals, equations, inequalities, matrices, `\pm`.

Parts are compared by value (`expression`). True or False only where the shapes say so beyond doubt; None leaves the
answer to the symbolic check.
"""

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import NamedTuple

from tasks.grading.expression import Parsed, Value, equal_values, evaluate, read, same
from tasks.grading.values import BASED, in_base

MAX_PARTS = 40
RELATION = re.compile(r"\\le(?![a-z])|\\ge(?![a-z])|\\ne(?![a-z])|\\in(?![a-z])|[<>=]")
FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le"}
INEQUALITY = frozenset(["<", ">", "\\le", "\\ge"])
INFINITY = re.compile(r"([+-]?) ?\\infty")
NAME = re.compile(r"(?:\\?[A-Za-z]+(?:_(?:\w|\{\w+\}))?'?|[A-Za-z]\([A-Za-z](?:,[A-Za-z])*\))")
VALUE_OF_SET = re.compile(r"\\?\{ ?[A-Za-z] ?(?:\\mid|\||:) ?(?P<condition>[^{}]*)\\?\}")
MATRIX = re.compile(r"\\begin ?\{([pbvBV]?matrix)\}(?P<body>.*)\\end ?\{\1\}", re.DOTALL)
GROUPED = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])")
DECIMAL = re.compile(r"-?[0-9]+\.[0-9]+")
PLAIN_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
DEGREES = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?) ?\^ ?\{? ?\\circ ?\}?")


class Listed(NamedTuple):
    """The parts of a list and what encloses them: `()`, `[)`, `{}`; empty when nothing does."""

    brackets: str
    parts: list[str]


def compare(gold: str, answer: str, *, ordered: bool | None = None) -> bool | None:
    """Whether two tidied answers are the same; None where it is not plain."""
    gold, answer = gold.strip(), answer.strip()
    for rule in (_shapes, _matrices, _unions, _members):
        decided = rule(gold, answer)
        if decided is not None:
            return decided
    left, right = listed(gold), listed(answer)
    if left.brackets or right.brackets or len(left.parts) > 1 or len(right.parts) > 1:
        return _lists(left, right, gold, answer, ordered)
    if RELATION.search(gold) or RELATION.search(answer):
        return _relations(gold, answer)
    return scalars(gold, answer)


def _shapes(gold: str, answer: str) -> bool | None:
    """False for one value against several, a matrix, an interval or an inequality between numbers."""
    for one, other in ((gold, answer), (answer, gold)):
        value = read(one)
        if _is_several(other) and (value is not None or _is_equation(one)):
            return False
        if value is not None and GROUPED.fullmatch(other):
            equal = scalars(one, other.replace(",", ""))
            return equal if value.names else None
    return None


def _is_equation(text: str) -> bool:
    """Whether it is an equation of several variables' terms, which is no value, list or interval."""
    signs, sides = chain(text)
    return signs == ["="] and not NAME.fullmatch(sides[0]) and all(map(read, sides))


def _is_several(text: str) -> bool:
    if MATRIX.fullmatch(text) or "\\cup" in text or "\\pm" in text:
        return True
    found = listed(text)
    if len(found.parts) > 1:
        distinct = all(found.parts) and len({part.replace(" ", "") for part in found.parts}) > 1
        return distinct and not GROUPED.fullmatch(text) and not any(_name_of(part) for part in found.parts)
    signs = chain(text).signs
    return bool(signs) and INEQUALITY.issuperset(signs)


def _is_plain(text: str) -> bool:
    """Whether nothing in it is left to rearrange: a constant or a name."""
    return _is_constant(text) or NAME.fullmatch(text) is not None


def _is_constant(text: str) -> bool:
    parsed = read(text)
    return parsed is not None and not parsed.names


def scalars(gold: str, answer: str) -> bool | None:
    """Whether two expressions have the same value; a decimal may be the other one rounded."""
    if gold.replace(" ", "") == answer.replace(" ", ""):
        return True
    infinite = INFINITY.fullmatch(gold), INFINITY.fullmatch(answer)
    if infinite[0] and infinite[1]:
        return (infinite[0][1] == "-") == (infinite[1][1] == "-")
    gold, answer = _without_degrees(gold, answer)
    if _based(gold) is not None or _based(answer) is not None:
        return _bases(gold, answer)
    left, right = read(gold), read(answer)
    if left is None or right is None:
        # Infinity is no number.
        return False if (infinite[0] and right) or (infinite[1] and left) else None
    equal = same(left, right)
    return True if equal is False and _rounded(gold, answer, left, right) else equal


def _without_degrees(gold: str, answer: str) -> tuple[str, str]:
    """Where one side alone is a number of degrees and the other a plain number, degrees are what is meant."""
    degrees = [DEGREES.fullmatch(text) for text in (gold, answer)]
    if degrees[0] and PLAIN_NUMBER.fullmatch(answer):
        return degrees[0][1], answer
    if degrees[1] and PLAIN_NUMBER.fullmatch(gold):
        return gold, degrees[1][1]
    return gold, answer


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


def listed(text: str) -> Listed:
    """The parts at the top level, and the brackets around all of them."""
    for opening in ("\\{", "(", "[", "{"):
        closing = next((c for c in ("\\}", ")", "]", "}") if text.endswith(c)), "")
        if text.startswith(opening) and closing and _encloses(text, opening, closing):
            parts = split(text[len(opening) : -len(closing)])
            round_or_square = opening in "([" and closing in ")]"
            if (opening[-1] == "{" and closing[-1] == "}") or (round_or_square and len(parts) > 1):
                return Listed((opening + closing).replace("\\", ""), parts)
    return Listed("", split(text))


def split(text: str, commas: str = ",;") -> list[str]:
    """Split at the commas outside all brackets."""
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and character in commas:
            parts.append(text[start:position].strip())
            start = position + 1
    parts.append(text[start:].strip())
    return parts


def _encloses(text: str, opening: str, closing: str) -> bool:
    """Whether the first bracket is closed by the last: a half-open interval counts, `(1,2),(3,4)` does not."""
    depth = 0
    last = len(text) - 1
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and position >= len(opening) - 1:
            return position == last
    return False


def _lists(left: Listed, right: Listed, gold: str, answer: str, ordered: bool | None) -> bool | None:
    if not left.brackets and not right.brackets and (GROUPED.search(gold) or GROUPED.search(answer)):
        # 1,234 may be one number.
        return None
    if (_condition(gold) and _interval(answer)) or (_interval(gold) and _condition(answer)):
        return _interval_or_condition(gold, answer)
    if len(left.parts) > MAX_PARTS or len(right.parts) > MAX_PARTS or not all(left.parts + right.parts):
        return None
    left, right = _named(left, right)
    loose = {left.brackets, right.brackets} <= {"", "{}"}
    if ordered is False or (ordered is None and loose):
        return _as_sets(_plus_minus(left.parts), _plus_minus(right.parts))
    if left.brackets != right.brackets and _as_sets(left.parts, right.parts) is False:
        return False
    if len(left.parts) != len(right.parts):
        return False if left.brackets == right.brackets else None
    found = [compare(a, b, ordered=ordered) for a, b in zip(left.parts, right.parts, strict=True)]
    if all(found):
        return True if left.brackets == right.brackets else _other_brackets(left, right)
    return False if False in found and (left.brackets == right.brackets or ordered) else None


def _other_brackets(left: Listed, right: Listed) -> bool | None:
    """The same parts in other brackets: another interval, or a tuple that lost them."""
    if left.brackets and right.brackets:
        return False if "{}" not in (left.brackets, right.brackets) else None
    return True if "()" in (left.brackets, right.brackets) else None


def _named(left: Listed, right: Listed) -> tuple[Listed, Listed]:
    """`x=1, y=2` against `(1, 2)`: the names go where one side alone has them, or all are the same."""
    names = [[_name_of(part) for part in side.parts] for side in (left, right)]
    plain = [[part.rpartition("=")[2].strip() for part in side.parts] for side in (left, right)]
    full = [all(side) for side in names]
    if full[0] and not any(names[1]):
        return Listed(right.brackets, plain[0]), right
    if full[1] and not any(names[0]):
        return left, Listed(left.brackets, plain[1])
    return left, right


def _name_of(part: str) -> str:
    name, sign, value = part.partition("=")
    return name.strip() if sign and "=" not in value and NAME.fullmatch(name.strip()) else ""


def _plus_minus(parts: Sequence[str]) -> list[str]:
    """`1 \\pm 2` as two parts."""
    found = []
    for part in parts:
        if part.count("\\pm") == 1 and "\\mp" not in part:
            found += [part.replace("\\pm", "+"), part.replace("\\pm", "-")]
        else:
            found.append(part)
    return found


def _as_sets(gold: list[str], answer: list[str]) -> bool | None:
    """Whether each part has its like on the other side, each used once."""
    doubt = False
    left = list(gold)
    for part in answer:
        verdicts = [compare(each, part) for each in left]
        if True in verdicts:
            left.pop(verdicts.index(True))
        elif None in verdicts or any(compare(each, part) for each in gold):
            doubt = True
        else:
            return False
    if doubt:
        return None
    # Left over may be a repetition of one that was met.
    for each in left:
        verdicts = [compare(each, part) for part in answer]
        if True not in verdicts:
            return None if None in verdicts else False
    return not left or None


class Interval(NamedTuple):
    """Ends as texts, and whether each belongs to it."""

    low: str
    high: str
    low_closed: bool
    high_closed: bool


def _interval_or_condition(gold: str, answer: str) -> bool | None:
    """An interval against an inequality: `[1,2)` and `1 \\le x < 2`; never two of a kind."""
    sides = [(_interval(text), _condition(text)) for text in (gold, answer)]
    for one, other in (sides, sides[::-1]):
        if one[0] and other[1]:
            return _same_interval(one[0], other[1])
    if sides[0][1] and sides[1][1]:
        return _same_interval(sides[0][1], sides[1][1])
    return None


def _same_interval(left: Interval, right: Interval) -> bool | None:
    ends = [scalars(left.low, right.low), scalars(left.high, right.high)]
    if False in ends:
        return False
    if None in ends:
        return None
    return left[2:] == right[2:]


def _interval(text: str) -> Interval | None:
    found = listed(text)
    if len(found.parts) != 2 or found.brackets not in ("()", "[]", "(]", "[)"):
        return None
    low, high = found.parts
    return Interval(low, high, found.brackets[0] == "[", found.brackets[1] == "]")


def _condition(text: str) -> Interval | None:
    """The interval of `a < x \\le b`, `x > a`, or of a set of such x."""
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


class Chain(NamedTuple):
    """The signs of `a < b = c`, and what stands between them."""

    signs: list[str]
    sides: list[str]


def chain(text: str) -> Chain:
    """A text split at its relation signs."""
    return Chain(RELATION.findall(text), [side.strip() for side in RELATION.split(text)])


def _relations(gold: str, answer: str) -> bool | None:
    met = _interval_or_condition(gold, answer)
    if met is not None:
        return met
    left, right = chain(gold), chain(answer)
    if not left.signs or not right.signs:
        # One side alone is a relation.
        return _unnamed(left, answer) if not right.signs else _unnamed(right, gold)
    if left.signs == right.signs == ["="]:
        return _equations(left.sides, right.sides)
    if len(left.signs) != len(right.signs):
        plain = all(map(_is_plain, left.sides + right.sides))
        return False if plain and "=" not in left.signs + right.signs else None
    if left.signs != right.signs:
        right = Chain([FLIPPED.get(sign, sign) for sign in right.signs[::-1]], right.sides[::-1])
    if left.signs != right.signs:
        return (
            False if sorted(left.sides) == sorted(right.sides) and set(left.signs + right.signs) <= {"<", ">"} else None
        )
    found = [scalars(a, b) for a, b in zip(left.sides, right.sides, strict=True)]
    if all(found):
        return True
    # 2x > 4 is x > 2, but between numbers, and between names, nothing is left to rearrange.
    plain = all(map(_is_plain, left.sides + right.sides))
    return False if plain and False in found else None


def _unnamed(named: Chain, other: str) -> bool | None:
    """`x = 5` against `5`."""
    if set(named.signs) != {"="}:
        return None
    found = [scalars(side, other) for side in named.sides]
    # A chain of steps ends in its result; any other equation is no value.
    if found[-1] or (len(named.signs) == 1 and NAME.fullmatch(named.sides[0])):
        return found[-1]
    return False if read(other) is not None and all(each is False for each in found) else None


def _equations(gold: list[str], answer: list[str]) -> bool | None:
    """Two equations: the same sides, or differences of sides that are multiples of each other."""
    if NAME.fullmatch(gold[0]) and NAME.fullmatch(answer[0]):
        equal = scalars(gold[1], answer[1])
        return equal if gold[0] == answer[0] or equal is False else None
    parsed = [read(side) for side in (*gold, *answer)]
    if not all(parsed):
        return None
    if not any(side.names for side in parsed if side is not None):
        # Every true equation between numbers says the same, and is not the same answer.
        return _all(scalars(a, b) for a, b in zip(gold, answer, strict=True))
    ratios: list[Value] = []
    for point in range(3):
        values = [evaluate(side, point) for side in parsed if side is not None]
        if any(value is None for value in values):
            return None
        a, b, c, d = (complex(value) for value in values if value is not None)
        if min(abs(a - b), abs(c - d)) < 1e-9:
            return None
        ratios.append((a - b) / (c - d))
    return True if all(equal_values(ratios[0], ratio) for ratio in ratios[1:]) else None


def _matrices(gold: str, answer: str) -> bool | None:
    left, right = MATRIX.fullmatch(gold), MATRIX.fullmatch(answer)
    if left is None or right is None:
        return _vector(left or right, answer if left else gold)
    rows = [[row.split("&") for row in re.split(r"\\\\", side["body"]) if row.strip()] for side in (left, right)]
    if [len(row) for row in rows[0]] != [len(row) for row in rows[1]]:
        return False
    cells = zip([c for row in rows[0] for c in row], [c for row in rows[1] for c in row], strict=True)
    return _all(scalars(a.strip(), b.strip()) for a, b in cells)


def _vector(matrix: re.Match[str] | None, other: str) -> bool | None:
    """A column or row against a tuple of the same numbers."""
    if matrix is None:
        return None
    cells = [cell.strip() for cell in re.split(r"\\\\|&", matrix["body"]) if cell.strip()]
    found = listed(other)
    if (
        len(found.parts) != len(cells)
        or found.brackets not in ("()", "[]")
        or ("&" in matrix["body"]) == (r"\\" in matrix["body"])
    ):
        return None
    return _all(scalars(a, b) for a, b in zip(cells, found.parts, strict=True))


def _all(found: Iterable[bool | None]) -> bool | None:
    seen = list(found)
    return False if False in seen else None if None in seen else True


def _unions(gold: str, answer: str) -> bool | None:
    left, right = (text.split("\\cup") for text in (gold, answer))
    if len(left) == len(right) == 1 or len(left) > MAX_PARTS or len(right) > MAX_PARTS:
        return None
    if len(left) != len(right):
        several = [len(listed(text).parts) > 1 and not listed(text).brackets for text in (gold, answer)]
        return False if any(several) else None
    remaining = [part.strip() for part in right]
    for part in left:
        verdicts = [_pieces(part.strip(), other) for other in remaining]
        if True not in verdicts:
            return None if None in verdicts else False
        remaining.pop(verdicts.index(True))
    return True


def _pieces(gold: str, answer: str) -> bool | None:
    one, other = _interval(gold), _interval(answer)
    return _same_interval(one, other) if one and other else compare(gold, answer)


def _members(gold: str, answer: str) -> bool | None:
    r"""`x \in [0,1]` against `[0,1]`."""
    stripped = [re.sub(r"^[A-Za-z]\s*\\in(?![a-z])\s*", "", text) for text in (gold, answer)]
    if stripped == [gold, answer]:
        return None
    return compare(*stripped)
