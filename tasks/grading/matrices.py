"""Matrices entry by entry; a column or row against a tuple."""

import re
from itertools import combinations, permutations

from tasks.grading.listing import listed, split
from tasks.grading.relations import all_of
from tasks.grading.scalars import is_constant, scalars

MAX_CHARS = 100
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


def matrices(gold: str, answer: str) -> bool | None:
    """Two matrices, or a matrix and a tuple; None where neither side is a matrix."""
    left, right = MATRIX.fullmatch(gold), MATRIX.fullmatch(answer)
    if left is None or right is None:
        of_gold, of_answer = determinant(gold), determinant(answer)
        if of_gold or of_answer:
            return scalars(of_gold or gold, of_answer or answer)
        return _vector(left or right, answer if left else gold)
    if ("v" in left[1]) != ("v" in right[1]):
        # A determinant is a number.
        return False
    rows = [[row.split("&") for row in re.split(r"\\\\", side["body"]) if row.strip()] for side in (left, right)]
    if [len(row) for row in rows[0]] != [len(row) for row in rows[1]]:
        return False
    cells = zip([c for row in rows[0] for c in row], [c for row in rows[1] for c in row], strict=True)
    return all_of(scalars(a.strip(), b.strip()) for a, b in cells)


def components(text: str, other: str) -> str:
    r"""`(1, -2, 0)` of `i - 2j` beside a vector, a matrix of `[[1,2],[3,4]]` beside a matrix; else the text."""
    if not text.endswith(("i", "j", "k", ")", "]", "}")):
        return text
    matrix = MATRIX.fullmatch(other)
    if text.endswith((")", "matrix}")) and (matrix or other.startswith("(")):
        text = _scaled(text)
    if text.startswith(("[[", "[(", "((")):
        return _of_rows(text) if matrix else text
    size = len(listed(other).parts) if other.startswith("(") else 0
    if matrix:
        size = len(re.findall(r"\\\\|&", matrix["body"].strip().rstrip("\\"))) + 1
    return _of_unit_vectors(text, "ijk"[:size]) if 2 <= size <= 3 else text


def _scaled(text: str) -> str:
    r"""Entries multiplied by the number before them: `(\frac{1}{3}*(1),...)` of `\frac{1}{3}(1,2,2)`."""
    match = SCALED.fullmatch(text)
    factor = re.sub("^-$", "-1", match["factor"].strip()) if match else ""
    if match is None or not is_constant(factor):
        return text
    if match["parts"]:
        return f"({','.join(f'{factor}*({part})' for part in split(match['parts']))})"
    return CELL.sub(lambda cell: f"{factor}*({cell[0]})", match["body"]).join([match["begin"], match["end"]])


def _of_rows(text: str) -> str:
    rows = split(text[1:-1])
    if not all(row[:1] in "([" and row[-1:] in ")]" for row in rows):
        return text
    body = r"\\".join("&".join(split(row[1:-1])) for row in rows)
    return rf"\begin{{matrix}}{body}\end{{matrix}}"


def _of_unit_vectors(text: str, names: str) -> str:
    found: dict[str, str] = {}
    for term in TERM.findall(text):
        unit = UNIT_TERM.fullmatch(term.replace(" ", ""))
        if unit is None or unit["unit"] in found:
            return text
        found[unit["unit"]] = f"{unit['sign']}{unit['size'] or '1'}"
    # `3i` alone is a complex number.
    vector = found.keys() <= set(names) and found.keys() != {"i"}
    return f"({','.join(found.get(name, '0') for name in names)})" if vector else text


def determinant(text: str) -> str:
    """The terms of a determinant of up to three rows, written out; empty where it is none."""
    barred = BARRED.fullmatch(text)
    match = MATRIX.fullmatch(barred["matrix"] if barred else text)
    if match is None or (match[1] != "vmatrix" and not barred) or len(text) > MAX_CHARS:
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


def _vector(matrix: re.Match[str] | None, other: str) -> bool | None:
    """A column or row against a tuple of the same numbers."""
    if matrix is None:
        return None
    cells = [cell.strip() for cell in re.split(r"\\\\|&", matrix["body"]) if cell.strip()]
    found = listed(other)
    one_line = ("&" in matrix["body"]) != (r"\\" in matrix["body"])
    if len(found.parts) != len(cells) or found.brackets not in ("()", "[]") or not one_line:
        return None
    return all_of(scalars(a, b) for a, b in zip(cells, found.parts, strict=True))
