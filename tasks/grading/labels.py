"""Answers of several labelled parts: `(a) 5; (b) 12`."""

import re

from tasks.grading.listing import listed
from tasks.grading.wording import plain_words

LABEL = re.compile(r"\((i{1,3}|iv|v|[a-d])\) ?(?=\S)")
WORDS = re.compile(r"(?:\\text ?\{)?([A-Za-z][A-Za-z ]{2,}|[\u4e00-\u9fff]+)\}?")


def labelled_parts(gold: str, answer: str) -> list[tuple[str, str]]:
    """The parts of both with the same label, or in the same place where the answer has no labels; none if no such."""
    parts = [_parts(text) for text in (gold, answer)]
    if len(parts[0]) < 2:
        return []
    if parts[0].keys() == parts[1].keys():
        return [(parts[0][label], parts[1][label]) for label in parts[0]]
    bare = listed(answer).parts
    return list(zip(parts[0].values(), bare, strict=True)) if not parts[1] and len(bare) == len(parts[0]) else []


def same_words(gold: str, answer: str) -> bool | None:
    """Whether two parts that are words are the same; None where one is none."""
    one, other = WORDS.fullmatch(gold), WORDS.fullmatch(answer)
    if one is None or other is None:
        return None
    return plain_words(one[1]) == plain_words(other[1])


def _parts(text: str) -> dict[str, str]:
    """By label; none where a label comes twice."""
    found = LABEL.split(text)[1:]
    named = dict(zip(found[::2], (part.strip(" ,;") for part in found[1::2]), strict=True))
    return named if len(named) * 2 == len(found) else {}
