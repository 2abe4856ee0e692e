r"""Compare answers that have parts: lists, sets, tuples, unions, matrices, and their entries.

Parts are compared by value (`compare_scalars`). True or False only where the shapes leave no doubt; None leaves the
answer to the symbolic check.
"""

import re
from functools import lru_cache
from itertools import combinations, permutations

from tasks.grading.brackets import GROUPED, BracketList, depth, expand_plus_minus, read_list, split
from tasks.grading.expression import parse
from tasks.grading.relations import (
    FLIPPED,
    NAME,
    RELATION,
    all_of,
    chain,
    compare_intervals,
    compare_relations,
    condition_interval,
    read_interval,
    rewrite_as_list,
    same_interval,
    union_of_conditions,
)
from tasks.grading.values import compare_scalars, is_constant
from tasks.grading.words import labelled_parts, same_words

MAX_DETERMINANT_CHARS = 100
BARRED = re.compile(r"\| ?(?P<matrix>\\begin ?\{(?:array|matrix)\}[^|]*\\end ?\{\w+\}) ?\|")
SCALED = re.compile(
    r"(?P<factor>-?[^(),;&+-]{0,40}?) ?(?:\\cdot ?|\\times ?|\*)?(?:\((?P<parts>[^()]*,[^()]*)\)"
    r"|(?P<begin>\\begin ?\{[pb]matrix\})(?P<body>[^()]*)(?P<end>\\end ?\{[pb]matrix\}))"
)
CELL = re.compile(r"(?:(?!\\\\)[^& ])(?:(?!\\\\)[^&])*")
TERM = re.compile(r"[-+]?(?:\{[^{}]*\}|\([^()]*\)|[^-+{}()])+")
UNIT_TERM = re.compile(r"(?P<sign>[-+]?)(?P<size>[^ijk]*?)\*?(?P<unit>[ijk])")
MATRIX = re.compile(
    r"[(\[]? ?\\begin ?\{([pbvBV]?matrix|smallmatrix|array)\}(?: ?\{[lcr| ]+\})?(?P<body>.*)\\end ?\{\1\} ?[)\]]?",
    re.DOTALL,
)


def compare_matrices(gold: str, answer: str) -> bool | None:
    """Two matrices entry by entry, or a row or column against a tuple; None where neither side is a matrix."""
    left, right = MATRIX.fullmatch(gold), MATRIX.fullmatch(answer)
    if left is None or right is None:
        of_gold, of_answer = expand_determinant(gold), expand_determinant(answer)
        if of_gold or of_answer:
            return compare_scalars(of_gold or gold, of_answer or answer)
        return _compare_vector(left or right, answer if left else gold)
    if ("v" in left[1]) != ("v" in right[1]):
        # A determinant is a number.
        return False
    rows = [[row.split("&") for row in re.split(r"\\\\", side["body"]) if row.strip()] for side in (left, right)]
    if [len(row) for row in rows[0]] != [len(row) for row in rows[1]]:
        return False
    cells = zip([c for row in rows[0] for c in row], [c for row in rows[1] for c in row], strict=True)
    return all_of(compare_scalars(a.strip(), b.strip()) for a, b in cells)


def as_vector_or_matrix(text: str, other: str) -> str:
    r"""`(1, -2, 0)` of `i - 2j` against a vector, a matrix of `[[1,2],[3,4]]` against a matrix; else the text."""
    if not text.endswith(("i", "j", "k", ")", "]", "}")):
        return text
    matrix = MATRIX.fullmatch(other)
    if text.endswith((")", "matrix}")) and (matrix or other.startswith("(")):
        text = _multiply_out(text)
    if text.startswith(("[[", "[(", "((")):
        return _matrix_of_rows(text) if matrix else text
    size = len(read_list(other).parts) if other.startswith("(") else 0
    if matrix:
        size = len(re.findall(r"\\\\|&", matrix["body"].strip().rstrip("\\"))) + 1
    return _tuple_of_unit_vectors(text, "ijk"[:size]) if 2 <= size <= 3 else text


def _multiply_out(text: str) -> str:
    r"""Entries multiplied by the number before them: `(\frac{1}{3}*(1),...)` of `\frac{1}{3}(1,2,2)`."""
    match = SCALED.fullmatch(text)
    factor = re.sub("^-$", "-1", match["factor"].strip()) if match else ""
    if match is None or not is_constant(factor):
        return text
    if match["parts"]:
        return f"({','.join(f'{factor}*({part})' for part in split(match['parts']))})"
    return CELL.sub(lambda cell: f"{factor}*({cell[0]})", match["body"]).join([match["begin"], match["end"]])


def _matrix_of_rows(text: str) -> str:
    rows = split(text[1:-1])
    if not all(row[:1] in "([" and row[-1:] in ")]" for row in rows):
        return text
    body = r"\\".join("&".join(split(row[1:-1])) for row in rows)
    return rf"\begin{{matrix}}{body}\end{{matrix}}"


def _tuple_of_unit_vectors(text: str, names: str) -> str:
    found: dict[str, str] = {}
    for term in TERM.findall(text):
        unit = UNIT_TERM.fullmatch(term.replace(" ", ""))
        if unit is None or unit["unit"] in found:
            return text
        found[unit["unit"]] = f"{unit['sign']}{unit['size'] or '1'}"
    # `3i` alone is a complex number.
    vector = found.keys() <= set(names) and found.keys() != {"i"}
    return f"({','.join(found.get(name, '0') for name in names)})" if vector else text


def expand_determinant(text: str) -> str:
    """The terms of a determinant of up to three rows, written out; empty where it is none."""
    barred = BARRED.fullmatch(text)
    match = MATRIX.fullmatch(barred["matrix"] if barred else text)
    if match is None or (match[1] != "vmatrix" and not barred) or len(text) > MAX_DETERMINANT_CHARS:
        return ""
    rows = [[cell.strip() for cell in row.split("&")] for row in re.split(r"\\\\", match["body"]) if row.strip()]
    size = len(rows)
    if not 2 <= size <= 3 or any(len(row) != size or not all(row) for row in rows):
        return ""
    terms = []
    for order in permutations(range(size)):
        crossings = sum(a > b for a, b in combinations(order, 2))
        product = "*".join(f"({rows[row][column]})" for row, column in enumerate(order))
        terms.append(f"{'-' if crossings % 2 else '+'}{product}")
    return "".join(terms)


def _compare_vector(matrix: re.Match[str] | None, other: str) -> bool | None:
    """A column or row against a tuple of the same numbers."""
    if matrix is None:
        return None
    cells = [cell.strip() for cell in re.split(r"\\\\|&", matrix["body"]) if cell.strip()]
    found = read_list(other)
    one_line = ("&" in matrix["body"]) != (r"\\" in matrix["body"])
    if len(found.parts) != len(cells) or found.brackets not in ("()", "[]") or not one_line:
        return None
    return all_of(compare_scalars(a, b) for a, b in zip(cells, found.parts, strict=True))


MAX_PARTS = 40
MAX_NESTED = 8
"""Nested brackets, past which nothing is decided here."""
HALF_OPEN = {"(]", "[)"}
POINT = re.compile(r"[A-Z](?:_\w|')? ?(?P<point>\([^()]+,[^()]+\))")
MEMBER = re.compile(r"^[A-Za-z]\s*\\in(?![a-z])\s*")


def compare_parts(gold: str, answer: str, *, ordered: bool | None = None) -> bool | None:
    """Whether two normalised answers are the same; None where it is not plain.

    Args:
        ordered: whether the order of a list counts; None: as its brackets imply.
    """
    if max(depth(gold), depth(answer)) > MAX_NESTED:
        return None
    if parts := labelled_parts(gold, answer):
        # `(i) 2 (ii) 3` is no product.
        worded = [same_words(one, other) for one, other in parts]
        return all_of(
            _compare(one, other, ordered) if words is None else words
            for (one, other), words in zip(parts, worded, strict=True)
        )
    return _compare(rewrite_as_list(gold.strip()), rewrite_as_list(answer.strip()), ordered)


@lru_cache(maxsize=20_000)
def _compare(gold: str, answer: str, ordered: bool | None = None) -> bool | None:
    """Cached, since the same parts recur in lists of lists."""
    gold, answer = as_vector_or_matrix(gold, answer), as_vector_or_matrix(answer, gold)
    for rule in (_shapes, compare_matrices, _unions, _members, _points):
        decided = rule(gold, answer)
        if decided is not None:
            return decided
    left, right = read_list(gold), read_list(answer)
    several = len(left.parts) > 1 or len(right.parts) > 1 or ("\\pm" in gold and "\\pm" in answer)
    if left.brackets or right.brackets or several:
        return _lists(left, right, gold, answer, ordered)
    if RELATION.search(gold) or RELATION.search(answer):
        return compare_relations(gold, answer)
    return compare_scalars(gold, answer)


def _shapes(gold: str, answer: str) -> bool | None:
    """False for one value against several, a matrix, an interval or an inequality between numbers."""
    for one, other in ((gold, answer), (answer, gold)):
        value = parse(one)
        if _is_several(other) and (value is not None or _is_equation(one)):
            return False
        if value is not None and GROUPED.fullmatch(other):
            equal = compare_scalars(one, other.replace(",", ""))
            return equal if value.names else None
    return None


def _is_equation(text: str) -> bool:
    """Whether it is an equation of several variables' terms, which is no value, list or interval."""
    signs, sides = chain(text)
    return signs == ["="] and not NAME.fullmatch(sides[0]) and all(map(parse, sides))


def _is_several(text: str) -> bool:
    if (MATRIX.fullmatch(text) and "vmatrix" not in text) or "\\cup" in text or "\\pm" in text:
        return True
    found = read_list(text)
    if len(found.parts) > 1:
        distinct = all(found.parts) and len({part.replace(" ", "") for part in found.parts}) > 1
        return distinct and not GROUPED.fullmatch(text) and not any(_name_of(part) for part in found.parts)
    signs = chain(text).signs
    return bool(signs) and FLIPPED.keys() >= set(signs)


def _lists(left: BracketList, right: BracketList, gold: str, answer: str, ordered: bool | None) -> bool | None:
    left, right = _two_points(left, right, gold), _two_points(right, left, answer)
    if not left.brackets and not right.brackets and (GROUPED.search(gold) or GROUPED.search(answer)):
        # 1,234 may be one number.
        return None
    if (condition_interval(gold) and (read_interval(answer) or condition_interval(answer))) or (
        read_interval(gold) and condition_interval(answer)
    ):
        return compare_intervals(gold, answer)
    if len(left.parts) > MAX_PARTS or len(right.parts) > MAX_PARTS or not all(left.parts + right.parts):
        return None
    left, right = _match_names(left, right)
    if {left.brackets, right.brackets} <= HALF_OPEN:
        ordered = None
    loose = {left.brackets, right.brackets} <= {"", "{}"}
    if ordered is False or (ordered is None and loose):
        one, other = expand_plus_minus(left.parts), expand_plus_minus(right.parts)
        # Two signs `\pm` in one part are not expanded: comparing the same two texts again would never end.
        return None if (one, other) == ([gold], [answer]) else _as_sets(one, other)
    if left.brackets != right.brackets and _as_sets(left.parts, right.parts) is False:
        return False
    if len(left.parts) != len(right.parts):
        return False if left.brackets == right.brackets else None
    found = [_compare(a, b, ordered) for a, b in zip(left.parts, right.parts, strict=True)]
    if all(found):
        return True if left.brackets == right.brackets else _other_brackets(left, right)
    return False if False in found and (left.brackets == right.brackets or ordered) else None


def _two_points(side: BracketList, other: BracketList, text: str) -> BracketList:
    """`(\\pm 2, 0)` as the part of a list, where the other side is a list of two points."""
    both = side.brackets == "()" and text.count("\\pm") == 1 and not other.brackets and len(other.parts) == 2
    return BracketList("", [text]) if both else side


def _other_brackets(left: BracketList, right: BracketList) -> bool | None:
    """The same parts in other brackets: another interval, or a tuple without its brackets."""
    if left.brackets and right.brackets:
        # With three or more parts, neither is an interval.
        return {left.brackets, right.brackets} == {"[]", "()"} and len(left.parts) > 2
    return True if "()" in (left.brackets, right.brackets) else None


def _match_names(left: BracketList, right: BracketList) -> tuple[BracketList, BracketList]:
    """`x=1, y=2` against `(1, 2)`: names are dropped where only one side has them, or all are the same."""
    names = [[_name_of(part) for part in side.parts] for side in (left, right)]
    for place, each in enumerate(names):
        if each[0] and len(each) > 1 and not any(each[1:]):
            # x = 1, 2 names all of them.
            names[place] = [each[0]] * len(each)
    if {left.brackets, right.brackets} <= {"", "{}"}:
        names = [_unnumbered(each) for each in names]
        if all(map(all, names)) and len({name for each in names for name in each}) == 1:
            return (
                BracketList("", [part.rpartition("=")[2].strip() for part in left.parts]),
                BracketList("", [part.rpartition("=")[2].strip() for part in right.parts]),
            )
    plain = [[part.rpartition("=")[2].strip() for part in side.parts] for side in (left, right)]
    full = [all(side) for side in names]
    if all(full) and set(names[0]) == set(names[1]) and len(set(names[0])) == len(names[0]) == len(names[1]) > 1:
        valued = [sorted(zip(each, values, strict=True)) for each, values in zip(names, plain, strict=True)]
        one, other = ([value for _, value in side] for side in valued)
        return BracketList("()", one), BracketList("()", other)
    if full[0] and not any(names[1]):
        return _as_tuples(BracketList(right.brackets, plain[0]), names[0], right)
    if full[1] and not any(names[0]):
        by_name = [value for _, value in sorted(zip(names[1], plain[1], strict=True), key=lambda pair: pair[0])]
        return _as_tuples(left, names[1], BracketList(left.brackets, by_name if len(set(names[1])) > 1 else plain[1]))
    return left, right


def _unnumbered(names: list[str]) -> list[str]:
    """`x` for each of `x_1` and `x_2`, which are solutions of one equation."""
    bare = [name.partition("_")[0] if name.rstrip("}")[-1:].isdecimal() else name for name in names]
    return bare if len(set(bare)) == 1 else names


def _as_tuples(left: BracketList, names: list[str], right: BracketList) -> tuple[BracketList, BracketList]:
    """Values of different names are a tuple, in whatever brackets: a set would lose which is which."""
    if len(set(names)) < 2 or right.brackets not in ("", "()"):
        return left, right
    return BracketList("()", left.parts), BracketList("()", right.parts)


def _name_of(part: str) -> str:
    name, sign, value = part.partition("=")
    return name.strip() if sign and "=" not in value and NAME.fullmatch(name.strip()) else ""


def _as_sets(gold: list[str], answer: list[str]) -> bool | None:
    """Whether each part equals one of the other side, each used once."""
    doubt = False
    if sum(part.startswith("\\{") for part in gold) != sum(part.startswith("\\{") for part in answer):
        # {a} is no a.
        return False
    left = list(gold)
    for part in answer:
        verdicts = [_compare(each, part) for each in left]
        if True in verdicts:
            left.pop(verdicts.index(True))
        elif None in verdicts or any(_compare(each, part) for each in gold):
            doubt = True
        else:
            return False
    if doubt:
        return None
    # The rest may repeat parts that matched.
    for each in left:
        verdicts = [_compare(each, part) for part in answer]
        if True not in verdicts:
            return None if None in verdicts else False
    return not left or None


def _unions(gold: str, answer: str) -> bool | None:
    met = [union_of_conditions(text) for text in (gold, answer)]
    left, right = (each or text.split("\\cup") for each, text in zip(met, (gold, answer), strict=True))
    if (len(left) == len(right) == 1 and not any(met)) or len(left) > MAX_PARTS or len(right) > MAX_PARTS:
        return None
    if len(left) != len(right):
        several = [len(read_list(text).parts) > 1 and not read_list(text).brackets for text in (gold, answer)]
        return False if any(several) or any(met) else None
    remaining = [part.strip() for part in right]
    for part in left:
        verdicts = [_pieces(part.strip(), other) for other in remaining]
        if True not in verdicts:
            return None if None in verdicts else False
        remaining.pop(verdicts.index(True))
    return True


def _pieces(gold: str, answer: str) -> bool | None:
    one, other = read_interval(gold), read_interval(answer)
    return same_interval(one, other) if one and other else _compare(gold, answer)


def _points(gold: str, answer: str) -> bool | None:
    """`A(2,5)` against `(2,5)`."""
    named = [POINT.fullmatch(text) for text in (gold, answer)]
    bare = [text[:1] == "(" for text in (gold, answer)]
    if not ((named[0] and bare[1]) or (named[1] and bare[0])):
        return None
    return _compare(*(match["point"] if match else text for match, text in zip(named, (gold, answer), strict=True)))


def _members(gold: str, answer: str) -> bool | None:
    r"""`x \in [0,1]` against `[0,1]`."""
    stripped = [MEMBER.sub("", text) for text in (gold, answer)]
    if stripped == [gold, answer] or any(map(MEMBER.match, stripped)):
        return None
    return _compare(*stripped)
