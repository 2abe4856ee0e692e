r"""The final answer of a row: out of a worked solution, out of `####` or `\boxed{}`, and free of typing accidents."""

import re
from typing import Any, Literal

from tasks.core.cells import as_text

HASHES = re.compile(r"####[ \t]*([^\n]+?)\s*$")
BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
THOUSANDS = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
WHOLE = re.compile(r"(-?\d+)\.0+")
FORMULA = re.compile(r"(?<!\\)\$([^$]*)(?<!\\)\$")
DOLLAR = re.compile(r"(?<!\\)\$")
FONT = re.compile(r"\\(?:text|math)?(?:bf|rm|it|sf|tt|normal)?\s*\{([^{}]*)\}")
SPACING = re.compile(r"\\[ ,;:!()\[\]]|\\q?quad\b|[~*$]")
LETTERS = (
    re.compile(r"\(?([A-J])\)?[.:。]?"),
    re.compile(r"(?:\(([A-J])\)|([A-J])[.):．、])\s*\S.*"),
    re.compile(
        r"(?s:.*)(?i:answer|option|choice|答案|选)(?i:\s+is)?\s*[为是:：]?\s*(?i:option\s+)?\(?([A-J])\)?[.。]?"
    ),
    re.compile(r"(?s:.*)(?<![\w)}])\(([A-J])\)[.。]?"),
)
"""An option alone, with its text after it, after `answer is`, and in brackets at the end."""
LETTER_CHARS = 500
"""Of a longer text only the end is read."""

AnswerFormat = Literal["auto", "as_is", "hash", "boxed", "letter"]


def final_answer(value: Any, how: AnswerFormat, is_solution: bool) -> str | None:
    """The final answer in a cell, or None when there is none.

    Args:
        is_solution: the column holds worked solutions, which `auto` must not take as they are.
    """
    text = as_text(value)
    if text is None:
        return None
    if how == "hash":
        found = after_hashes(text)
    elif how == "boxed":
        found = last_boxed(text)
    elif how == "letter":
        return option_letter(text)
    elif how == "as_is":
        found = text
    else:
        found = after_hashes(text) or last_boxed(text) or (None if is_solution else text)
    return tidy(found) or None if found else None


def after_hashes(text: str) -> str | None:
    """What follows `####` in the last line, the way GSM8K writes it, its thousands without commas."""
    match = HASHES.search(text)
    if match is None:
        return None
    answer = match[1]
    return answer.replace(",", "") if THOUSANDS.fullmatch(answer) else answer


def last_boxed(text: str) -> str | None:
    r"""The content of the last `\boxed{...}` whose braces close."""
    for opening in reversed(list(BOX.finditer(text))):
        end = _closing_brace(text, opening.end())
        if end is not None:
            return text[opening.end() : end].strip()
    return None


def option_letter(text: str) -> str | None:
    r"""The option (A to J) that a text is or ends in: `(B)`, `B. 12`, `The answer is B`, `\boxed{\text{(B)}}`."""
    for part in (last_boxed(text) or "", text):
        plain = _without_fonts(part[-LETTER_CHARS:])
        for pattern in LETTERS if len(part) <= LETTER_CHARS else LETTERS[2:]:
            match = pattern.fullmatch(plain)
            if match is not None:
                return next(letter for letter in match.groups() if letter is not None)
    return None


def tidy(text: str) -> str:
    r"""An answer without its wrapping: an outer `\boxed{}`, dollar signs, a final full stop, the `.0` of a float."""
    text = text.strip()
    boxed = last_boxed(text)
    if boxed is not None and BOX.match(text) and text.endswith("}"):
        text = boxed
    if len(DOLLAR.findall(text)) % 2:
        text = DOLLAR.sub("", text)
    elif not re.search(r"\w", FORMULA.sub("", text)):
        # Nothing but formulas, and commas between them.
        text = FORMULA.sub(r"\1", text)
    text = text.strip().removesuffix("。")
    text = text[:-1] if text.endswith(".") and not text.endswith("..") else text
    whole = WHOLE.fullmatch(text.strip())
    return whole[1] if whole else text.strip()


def _without_fonts(text: str) -> str:
    before = None
    while before != text:
        before, text = text, FONT.sub(r"\1", text)
    return SPACING.sub(" ", text).strip()


def _closing_brace(text: str, start: int) -> int | None:
    depth = 1
    for match in re.compile(r"\\.|[{}]", re.DOTALL).finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.start()
    return None
