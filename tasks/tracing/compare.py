"""Two texts side by side in a terminal: what differs between them, and where the one stands in the other."""

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import islice, pairwise
from typing import NamedTuple

HAN = "\u3400-\u9fff"
END = r"[.,;:?!]+(?!\S)"
WORD = re.compile(rf"[{HAN}]|{END}|(?:(?!{END})[^\s{HAN}])+")
"""A Chinese character, the marks that end a word, or what stands between white space."""
TOKEN = re.compile(rf"[{HAN}]|[^\W_{HAN}]+")
"""Words and numbers alone: what is between them is typesetting."""
MOST = 1_500
"""Words compared of each text: comparing takes time with the square of them."""
AROUND = 4
SHORTEST_RUN = 3


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
            pieces.append(_shortened(before[low:high], first=low == 0, last=high == len(before)))
            continue
        pieces += [f"[-{_joined(before[low:high])}-]"] if high > low else []
        pieces += [f"{{+{_joined(after[new_low:new_high])}+}}"] if new_high > new_low else []
    whole = max(len(before), len(after)) < MOST
    if before == after:
        return _same(old, new) if whole else f"(the first {MOST:,} words are the same)"
    return _joined([piece for piece in pieces if piece]) + ("" if whole else f" … (the first {MOST:,} words)")


def _same(old: str, new: str) -> str:
    return "(not a character differs)" if old == new else "(only white space differs)"


def mark(text: str, matches: Sequence[str]) -> str:
    """`text` with what it has in common with any of `matches` between « and »: literally, else run by run of words.

    Where the words are the same and only the typesetting differs, the runs are found all the same.
    """
    spans = _united([span for match in matches for span in _literal(text, match) or _runs(text, match)])
    ends = [0, *(place for span in spans for place in span), len(text)]
    parts = [text[start:end] for start, end in pairwise(ends)]
    return "".join(f"«{part}»" if index % 2 else part for index, part in enumerate(parts))


def _united(spans: list[Span]) -> list[Span]:
    """In order, those that overlap as one."""
    united: list[Span] = []
    for span in sorted(spans):
        if united and span.start <= united[-1].end:
            united[-1] = Span(united[-1].start, max(united[-1].end, span.end))
        else:
            united.append(span)
    return united


def _literal(text: str, match: str) -> list[Span]:
    wanted = match.strip()
    found = re.search(re.escape(wanted), text, re.IGNORECASE) if wanted else None
    return [Span(*found.span())] if found else []


def _runs(text: str, match: str) -> list[Span]:
    tokens = _first(TOKEN, text)
    wanted = [word.group().lower() for word in _first(TOKEN, match)]
    matcher = SequenceMatcher(None, wanted, [token.group().lower() for token in tokens], autojunk=False)
    least = min(SHORTEST_RUN, len(wanted))
    runs = [run for run in matcher.get_matching_blocks() if run.size >= max(1, least)]
    return [Span(tokens[run.b].start(), tokens[run.b + run.size - 1].end()) for run in runs]


def _first(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    return list(islice(pattern.finditer(text), MOST))


def _shortened(words: list[str], *, first: bool, last: bool) -> str:
    """Words in common, without those far from any difference."""
    before, after = (0 if first else AROUND), (0 if last else AROUND)
    if len(words) <= before + after + 2:
        return _joined(words)
    shown = [_joined(words[:before]), "…", _joined(words[len(words) - after :])]
    return " ".join(part for part in shown if part)


def _joined(words: list[str]) -> str:
    """Words with a space between, but none between Chinese characters or before the marks that end a word."""
    return re.sub(rf"(?<=[{HAN}]) (?=[{HAN}])| (?={END})", "", " ".join(words))
