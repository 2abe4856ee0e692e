"""Plain text for a terminal: titled lines and tables. Model output is stripped of control characters first."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def clean(text: object, width: int) -> str:
    """One line of at most `width` characters; what would move a terminal's cursor or colour it is taken out."""
    line = " ".join(str("" if text is None else text)[: 4 * width + 80].split())
    line = printable(line)
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def printable(line: str) -> str:
    """A line without what would move a terminal's cursor or change its colours."""
    return "".join(char for char in line if char.isprintable())


def fields(pairs: Mapping[str, object], width: int = 110) -> list[str]:
    """`name  value` lines with the values aligned; empty values are left out."""
    shown = {name: clean(value, width) for name, value in pairs.items() if value not in (None, "")}
    longest = max(map(len, shown), default=0)
    return [f"{name:<{longest}}  {value}" for name, value in shown.items()]


def block(text: object, most: int = 2_000, indent: str = "    ") -> list[str]:
    """A text with its line breaks kept, each line indented and without control characters; cut text says so."""
    whole = str("" if text is None else text)
    lines = [indent + printable(line.expandtabs()) for line in whole[:most].strip().splitlines()]
    return lines if len(whole) <= most else [*lines, f"{indent}… {len(whole) - most:,} more characters"]


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


def number(count: int, noun: str) -> str:
    """A count with its noun: `1 response`, `2 responses`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(value: float, low: float, high: float) -> str:
    """A share and its interval, in per cent."""
    return f"{100 * value:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


def _aligned(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    cells = [
        cell.rjust(size) if flush else cell.ljust(size) for cell, size, flush in zip(line, widths, right, strict=True)
    ]
    return "  ".join(cells).rstrip()
