"""The columns of a table that is graded: which it must have, which are added, and what their cells mean."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from tasks.errors import LimoError
from tasks.pool.answers import as_text

ADDED = ("verdict", "extracted", "rule", "reason", "grader")
READ = ("gold", "response", "answer", "kind", "question")
FIELDS = tuple(pa.field(name, pa.string()) for name in ADDED)
TYPES: dict[type, str] = {dict: "an object", bytes: "bytes"}
"""Names for the types of cells that hold no answer."""


def check_columns(names: Sequence[str], where: str, replace: bool) -> None:
    """Raise a LimoError, one line that begins with `where`, for a column that lacks or would be lost."""
    if "gold" not in names:
        raise LimoError(f"{where}: no column `gold`; it has {', '.join(names) or 'none'}")
    if "response" not in names and "answer" not in names:
        raise LimoError(f"{where}: no column `response` (a whole response) or `answer` (a bare final answer)")
    taken = [name for name in ADDED if name in names]
    if taken and not replace:
        raise LimoError(f"{where}: has {', '.join(taken)} already; rename, or replace by --replace")


def cell(value: Any, where: str, column: str) -> str:
    """A cell as a benchmark's golds are read: 27.0 is the integer 27, a list its elements, an object its numbers.

    Raises:
        LimoError: it holds something that is no answer, such as an object.
    """
    text = as_text(value)
    if text is None and not isinstance(value, str | bool | int | float | Decimal | list | None):
        found = TYPES.get(type(value), type(value).__name__)
        raise LimoError(f"{where}: column `{column}` holds {found}; it must be text, a number or a list")
    return text or ""
