"""Brackets and braces: matching ones, nesting depth, and lists split at their top-level commas."""

import re
from collections.abc import Sequence
from typing import NamedTuple

GROUPED = re.compile(r"(?<![0-9.])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])")
"""Digits with commas that may be thousands separators."""


class BracketList(NamedTuple):
    """The parts of a list and its brackets: `()`, `[)`, `{}`, or empty for a bare list. One part is no list."""

    brackets: str
    parts: list[str]


def read_list(text: str) -> BracketList:
    """The parts at the top level, and the brackets around all of them."""
    for opening in ("\\{", "(", "[", "{"):
        closing = next((c for c in ("\\}", ")", "]", "}") if text.endswith(c)), "")
        if text.startswith(opening) and closing and _encloses(text, opening, closing):
            parts = split(text[len(opening) : -len(closing)])
            round_or_square = opening in "([" and closing in ")]"
            if (opening[-1] == "{" and closing[-1] == "}") or (round_or_square and len(parts) > 1):
                return BracketList((opening + closing).replace("\\", ""), parts)
    return BracketList("", split(text))


def split(text: str) -> list[str]:
    """Split at the commas and semicolons outside all brackets; not at all where brackets do not match.

    Where there are both, the semicolons separate and the commas make a tuple: `1,2;3,4` is `(1,2),(3,4)`.
    """
    if ";" in text and "," in text:
        groups = _split(text, ";")
        if len(groups) > 1 and any(len(_split(group, ",")) > 1 for group in groups):
            return [f"({group})" if len(_split(group, ",")) > 1 else group for group in groups]
    return _split(text, ",;")


def _split(text: str, separators: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return [text]
        if depth == 0 and character in separators:
            parts.append(text[start:position].strip())
            start = position + 1
    parts.append(text[start:].strip())
    return parts if depth == 0 else [text]


def _encloses(text: str, opening: str, closing: str) -> bool:
    """Whether the first bracket is closed by the last: a half-open interval counts, `(1,2),(3,4)` does not."""
    depth = 0
    last = len(text) - 1
    for position, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if depth == 0 and position >= len(opening) - 1:
            return position == last
    return False


def expand_plus_minus(parts: Sequence[str]) -> list[str]:
    """`1 \\pm 2` as two parts."""
    found = []
    for part in parts:
        if part.count("\\pm") == 1 and "\\mp" not in part:
            found += [part.replace("\\pm", "+"), part.replace("\\pm", "-")]
        else:
            found.append(part)
    return found


def closing_brace(text: str, opening: int) -> int | None:
    r"""Where the brace at `opening` is closed; escaped braces (`\{`) do not count."""
    depth = 0
    position = opening
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 1
        elif character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return None


def depth(text: str) -> int:
    """The deepest nesting of brackets."""
    open_now = deepest = 0
    for character in text:
        open_now += (character in "([{") - (character in ")]}")
        deepest = max(deepest, open_now)
    return deepest
