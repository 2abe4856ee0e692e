"""Matrices entry by entry; a column or row against a tuple."""

import re
from itertools import combinations, permutations

from tasks.grading.listing import listed
from tasks.grading.relations import all_of
from tasks.grading.scalars import scalars

MAX_CHARS = 100
BARRED = re.compile(r"\| ?(?P<matrix>\\begin ?\{(?:array|matrix)\}[^|]*\\end ?\{\w+\}) ?\|")
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
