"""Plain text for a terminal: titled lines and tables. Model output is stripped of control characters first."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def clean(text: object, width: int) -> str:
    """One line of at most `width` characters; what would move a terminal's cursor or colour it is taken out."""
    line = " ".join(str("" if text is None else text)[: 4 * width + 80].split())
    line = "".join(char for char in line if char.isprintable())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def fields(pairs: Mapping[str, object], width: int = 110) -> list[str]:
    """`name  value` lines with the values aligned; empty values are left out."""
    shown = {name: clean(value, width) for name, value in pairs.items() if value not in (None, "")}
    longest = max(map(len, shown), default=0)
    return [f"{name:<{longest}}  {value}" for name, value in shown.items()]


def table(rows: Iterable[Mapping[str, Any]], width: int = 44) -> list[str]:
    """Rows with the same keys as aligned lines under a header; numbers to the right."""
    listed = list(rows)
    if not listed:
        return ["(none)"]
    cells = [[clean(value, width) for value in row.values()] for row in listed]
    header = list(listed[0])
    right = [all(isinstance(row[name], int | float) for row in listed) for name in header]
    widths = [max(len(line[column]) for line in [header, *cells]) for column in range(len(header))]
    return [_aligned(line, widths, right) for line in [header, ["-" * size for size in widths], *cells]]


def percent(value: float, low: float, high: float) -> str:
    """A share and its interval, in per cent."""
    return f"{100 * value:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def _aligned(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = [
        cell.rjust(size) if flush else cell.ljust(size) for cell, size, flush in zip(line, widths, right, strict=True)
    ]
    return "  ".join(cells).rstrip()
