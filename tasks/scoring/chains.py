"""The quality of a reasoning chain: the paper's four dimensions, and how many of its equations are right.

The dimensions are length and the density of three kinds of keywords. A keyword dimension is min(1, density /
full_density), where density is whole-word, case-insensitive matches per 100 words. A text under 100 words counts as
100, so that one "therefore" in a five-word answer does not fill the dimension. Every chain is scored by itself: adding
a chain to a run changes no other chain's score.
"""

import re
from collections.abc import Sequence

import polars as pl

PER_WORDS = 100
# Each Chinese character counts as a word, since Chinese writes no spaces.
WORD = r"\p{Han}|[^\s\p{Han}]+"
_HAN = re.compile(r"[\u3400-\u9fff]")


def length_share(n_tokens: pl.Expr, full_length: int) -> pl.Expr:
    """Length as a share of `full_length` tokens, at most 1."""
    return (n_tokens / full_length).clip(0.0, 1.0)


def keyword_share(text: pl.Expr, words: Sequence[str], full_density: float) -> pl.Expr:
    """Matches of `words` per 100 words of text as a share of `full_density`, at most 1."""
    counted = pl.max_horizontal(text.str.count_matches(WORD), PER_WORDS)
    density = PER_WORDS * text.str.count_matches(keyword_pattern(words)) / counted
    return (density / full_density).clip(0.0, 1.0)


def keyword_pattern(words: Sequence[str]) -> str:
    """A regular expression that matches any of `words` whole, in any case; a phrase may be broken over lines."""
    # The longest first: an alternation takes the first that fits, and "let me check" contains "check".
    ordered = sorted(words, key=lambda word: (-len(word), word))
    return "(?i)" + "|".join(_bounded(word) for word in ordered)


def _bounded(word: str) -> str:
    escaped = r"\s+".join(re.escape(part) for part in word.split())
    if _HAN.search(word):
        return escaped  # Chinese words have no boundary that a regular expression could see.
    # The ASCII boundary keeps the fast matcher on texts that are not ASCII; the Unicode one would leave it.
    edge = r"(?-u:\b)" if word.isascii() else r"\b"
    return f"{edge}{escaped}{edge}"


EQUATION = re.compile(r"(?<![\d.])(\d{1,12})\s*([-+*×])\s*(\d{1,12})\s*=\s*(\d{1,12})(?![\d.]*\d)")


def right_equations(text: str, modulus: int | None = None) -> int:
    """Equations `a + b = c` (also - and *) that hold, exactly or modulo `modulus`. A repeated one counts each time."""
    return sum(_holds(left, sign, right, result, modulus) for left, sign, right, result in EQUATION.findall(text))


def _holds(left: str, sign: str, right: str, result: str, modulus: int | None) -> bool:
    a, b, c = int(left), int(right), int(result)
    difference = {"+": a + b, "-": a - b}.get(sign, a * b) - c
    return difference % modulus == 0 if modulus else difference == 0
