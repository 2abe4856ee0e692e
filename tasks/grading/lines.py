"""Rows as JSON lines: read with the place of each, typed for Parquet, and written."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from tasks.errors import LimoError
from tasks.files import one_line
from tasks.grading.columns import ADDED, FIELDS, check_columns

Row = dict[str, Any]


class Line(NamedTuple):
    """A row and where it stands."""

    where: str
    """File and line, for what is said of it."""
    row: Row
    size: int
    """Characters of the line."""


def read_lines(source: Path, replace: bool) -> Iterator[Line]:
    """The rows of a file, one at a time.

    Raises:
        LimoError: a line that is none, a column that lacks or would be lost, no rows at all.
    """
    seen = False
    with source.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{source}:{number}"
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise LimoError(f"{where}: not a line of JSON ({one_line(error)})") from None
            if not isinstance(row, dict):
                raise LimoError(f'{where}: must be an object such as {{"gold": ..., "answer": ...}}')
            check_columns(list(row), where, replace)
            seen = True
            yield Line(where, row, len(line))
    if not seen:
        raise LimoError(f"{source}: holds no rows")


def schema_of(source: Path, replace: bool) -> pa.Schema:
    """The columns of JSON lines as Parquet has them: one type a column; text where rows disagree, or hold nothing."""
    types: dict[str, pa.DataType | None] = {}
    for line in read_lines(source, replace):
        for name, value in line.row.items():
            if name in ADDED or value is None:
                types.setdefault(name, None)
                continue
            found, known = _type(value), types.get(name)
            types[name] = found if known in (None, found) else _wider(known, found)
    fields = [pa.field(name, kind or pa.string()) for name, kind in types.items() if name not in ADDED]
    return pa.schema([*fields, *FIELDS])


def _type(value: Any) -> pa.DataType:
    """The Parquet type of a value; integers past 64 bits, lists and objects are kept as JSON text."""
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int) and abs(value) < 2**63:
        return pa.int64()
    return pa.float64() if isinstance(value, float) else pa.string()


def _wider(known: pa.DataType | None, found: pa.DataType) -> pa.DataType:
    numbers = (pa.int64(), pa.float64())
    return pa.float64() if known in numbers and found in numbers else pa.string()


def typed(row: Row, schema: pa.Schema) -> Row:
    """The row as `schema` has it."""
    return {
        name: _utf8(value) if value is not None and schema.field(name).type == pa.string() else value
        for name, value in row.items()
    }


def _utf8(value: Any) -> str:
    """A value as text that can be stored: a lone surrogate becomes a question mark."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode(errors="replace").decode()


def as_json(row: Row) -> str:
    """The row as a line."""
    # A lone surrogate cannot be written as UTF-8, but can be escaped.
    text = json.dumps(row, ensure_ascii=False, default=str)
    return (text if text.isprintable() else json.dumps(row, default=str)) + "\n"
