r"""Question text as tokens, so that typesetting does not hide that two texts are the same.

`$x^{2}+1$`, `x^2 + 1` and `\left(x^2+1\right)` without their brackets all become `x ^ 2 + 1`. Words are lower case, a
Chinese character is a word of its own, numbers are whole, LaTeX commands lose their backslash.
"""

import polars as pl

REPLACEMENTS = (
    # Superscripts first: the normal form below would turn x² into x2.
    ("²", "^2"),
    ("³", "^3"),
    (r"\\(?:left|right|displaystyle|textstyle|limits|qquad|quad|mathrm|mathbf|mathit|text|textbf|textit|mbox)\b", " "),
    (r"\\(?:begin|end)\{[a-z]+\*?\}|\\[\[\]()]", " "),
    (r"[_^]\{\}", ""),
    (r"\\[dt]frac\b", " frac "),
    (r"\\(?:cdot|times)\b|[×·]", " * "),
    (r"\\(le|ge|ne)q\b", " $1 "),
    (r"\\frac\s*(\w)\s*(\w)", " frac $1 $2 "),
    (r"\\!", ""),
    (r"\\[,;: ]|[{}$~]", " "),
    (r"[−–—]", "-"),
    # Thousands; twice, since matches cannot overlap.
    (r"(\d),(\d{3})\b", "$1$2"),
    (r"(\d),(\d{3})\b", "$1$2"),
)
WORDS = r"[\p{L}--\p{Han}]+|\d+(?:\.\d+)?|\p{Han}|[+\-*/=<>^]"
SYMBOLS = WORDS + r"""|[^\s\p{L}\p{N}.,;?'"&\\]"""
NUMBERS = r"\d+(?:\.\d+)?"


def plain(text: pl.Expr) -> pl.Expr:
    """The text without typesetting, in lower case."""
    for pattern, replacement in REPLACEMENTS:
        text = text.str.replace_all(pattern, replacement)
    return text.str.normalize("NFKC").str.to_lowercase()


def words(plain_text: pl.Expr) -> pl.Expr:
    """The words, numbers and operators of a plain text: what n-grams are made of."""
    return plain_text.str.extract_all(WORDS)


def canonical(plain_text: pl.Expr) -> pl.Expr:
    """A plain text's words and symbols but sentence marks, one space between: equal when only typesetting differs."""
    return plain_text.str.extract_all(SYMBOLS).list.join(" ")


def numbers(plain_text: pl.Expr) -> pl.Expr:
    """The numbers of a plain text in their order, one space between."""
    return plain_text.str.extract_all(NUMBERS).list.join(" ")
