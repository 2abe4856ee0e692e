"""Text in a terminal: titled lines, aligned tables, what differs between two texts, and what they have in common.

What models and sources wrote is stripped of control characters.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import islice, pairwise
from typing import Any, NamedTuple

from tasks.reporting.text import printable, shorten

HAN = "\u3400-\u9fff"
END = r"[.,;:?!]+(?!\S)"
WORD = re.compile(rf"[{HAN}]|{END}|(?:(?!{END})[^\s{HAN}])+")
"""A Chinese character, the marks that end a word, or what is between white space."""
TOKEN = re.compile(rf"[{HAN}]|[^\W_{HAN}]+")
"""Words and numbers alone: what is between them is typesetting."""
MOST_WORDS = 1_500
"""Words compared of each text: comparing takes time with the square of them."""
WORDS_AROUND = 4
SHORTEST_RUN = 3
"""Words in a row that count as in common."""


def fields(pairs: Mapping[str, object], width: int = 110) -> list[str]:
    """`name  value` lines with the values aligned; empty values are left out."""
    shown = {name: shorten(value, width) for name, value in pairs.items() if value not in (None, "")}
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
    cells = [[shorten(value, width) for value in row.values()] for row in listed]
    header = list(listed[0])
    right = [all(isinstance(row[name], int | float) for row in listed) for name in header]
    widths = [max(len(line[column]) for line in [header, *cells]) for column in range(len(header))]
    lines = [header, ["-" * size for size in widths], *cells]
    pad = [str.rjust if flush else str.ljust for flush in right]
    aligned = ([at(cell, size) for at, cell, size in zip(pad, line, widths, strict=True)] for line in lines)
    return ["  ".join(line).rstrip() for line in aligned]


def number(count: int, noun: str) -> str:
    """A count with its noun: `1 response`, `2 responses`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(value: float, low: float, high: float) -> str:
    """A share and its interval, in per cent."""
    return f"{100 * value:.1f}% [{100 * low:.1f}, {100 * high:.1f}]"


class Span(NamedTuple):
    """A part of a text, by its characters."""

    start: int
    end: int


def word_diff(old: str, new: str) -> str:
    """What only `old` has as `[-old-]`, what only `new` has as `{+new+}`, with a few of the words they share around.

    A Chinese character is a word of its own. Of longer texts the first 1,500 words are compared, and it says so.
    """
    before, after = ([word.group() for word in _first(WORD, text)] for text in (old, new))
    pieces = []
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, low, high, new_low, new_high in matcher.get_opcodes():
        if kind == "equal":
            pieces.append(_context(before[low:high], first=low == 0, last=high == len(before)))
            continue
        pieces += [f"[-{_join(before[low:high])}-]"] if high > low else []
        pieces += [f"{{+{_join(after[new_low:new_high])}+}}"] if new_high > new_low else []
    whole = max(len(before), len(after)) < MOST_WORDS
    if before == after:
        same = "(not a character differs)" if old == new else "(only white space differs)"
        return same if whole else f"(the first {MOST_WORDS:,} words are the same)"
    return _join([piece for piece in pieces if piece]) + ("" if whole else f" … (the first {MOST_WORDS:,} words)")


def mark(text: str, matches: Sequence[str]) -> str:
    """`text` with what it has in common with any of `matches` between « and »: literally, else run by run of words.

    Where the words are the same and only the typesetting differs, the runs are found all the same.
    """
    spans = _merge([span for match in matches for span in _literal(text, match) or _runs(text, match)])
    ends = [0, *(place for span in spans for place in span), len(text)]
    parts = [text[start:end] for start, end in pairwise(ends)]
    return "".join(f"«{part}»" if index % 2 else part for index, part in enumerate(parts))


def _merge(spans: list[Span]) -> list[Span]:
    """In order, overlapping ones as one."""
    merged: list[Span] = []
    for span in sorted(spans):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _literal(text: str, match: str) -> list[Span]:
    sought = match.strip()
    found = re.search(re.escape(sought), text, re.IGNORECASE) if sought else None
    return [Span(*found.span())] if found else []


def _runs(text: str, match: str) -> list[Span]:
    tokens = _first(TOKEN, text)
    sought = [word.group().lower() for word in _first(TOKEN, match)]
    matcher = SequenceMatcher(None, sought, [token.group().lower() for token in tokens], autojunk=False)
    least = max(1, min(SHORTEST_RUN, len(sought)))
    runs = [run for run in matcher.get_matching_blocks() if run.size >= least]
    return [Span(tokens[run.b].start(), tokens[run.b + run.size - 1].end()) for run in runs]


def _first(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    return list(islice(pattern.finditer(text), MOST_WORDS))


def _context(words: list[str], *, first: bool, last: bool) -> str:
    """Words in common, without those far from any difference."""
    before, after = (0 if first else WORDS_AROUND), (0 if last else WORDS_AROUND)
    if len(words) <= before + after + 2:
        return _join(words)
    shown = [_join(words[:before]), "…", _join(words[len(words) - after :])]
    return " ".join(part for part in shown if part)


def _join(words: list[str]) -> str:
    """Words with a space between, but none between Chinese characters or before the marks that end a word."""
    return re.sub(rf"(?<=[{HAN}]) (?=[{HAN}])| (?={END})", "", " ".join(words))
