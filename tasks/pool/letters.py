"""Characters beyond ASCII: which are letters, and what stands for a LaTeX command or an ASCII sign."""

import functools
import unicodedata

import numpy as np
import polars as pl

from tasks.pool.compiled import Array

OTHER, HAN = range(2)
POINTS = 0x30000
"""Characters up to here are told apart; what lies beyond is no letter."""
# fmt: off
GREEK = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "omicron", "pi", "rho", "varsigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
]
SIGNS = {
    "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "÷": "/", "⁄": "/", "∕": "/", "−": "-", "–": "-", "—": "-",
    "‐": "-", "‑": "-", "≤": "<=", "⩽": "<=", "≥": ">=", "⩾": ">=", "≠": "!=", "√": r" \sqrt ", "∞": r" \infty ",
    "∈": r" \in ", "∉": r" \notin ", "∠": r" \angle ", "△": r" \triangle ", "°": r"^\circ ", "…": " ",
    "∑": r" \sum ", "∏": r" \prod ", "∫": r" \int ", "∪": r" \cup ", "∩": r" \cap ", "⊂": r" \subset ",
    "⊆": r" \subseteq ", "→": r" \to ", "⇒": r" \implies ", "±": r" \pm ", "≈": r" \approx ", "≡": r" \equiv ",
    "≅": r" \cong ", "∼": r" \sim ", "⌊": r" \lfloor ", "⌋": r" \rfloor ", "⌈": r" \lceil ", "⌉": r" \rceil ",
    "∣": "|", "∥": r" \parallel ", "⊥": r" \perp ", "∀": r" \forall ", "∃": r" \exists ", "ϕ": r" \phi ",
    "ϵ": r" \epsilon ", "ϑ": r" \theta ", "′": "'", "″": "''",
    # Signs without width, and the soft hyphen: nobody sees them.
    "\u200b": "", "\u200c": "", "\u200d": "", "\u200e": "", "\u200f": "", "\u2060": "", "\ufeff": "", "\u00ad": "",
}
# fmt: on
SUPERSCRIPTS = r"([⁰¹²³⁴⁵⁶⁷⁸⁹]+)"


def fold(texts: pl.Series) -> pl.Series:
    """The texts with signs beyond ASCII replaced by what stands for them in LaTeX or ASCII.

    Texts in ASCII are left as they are. Case stays: the scanner tells names in capitals by it.
    """
    beyond = texts.str.len_bytes() != texts.str.len_chars()
    if not beyond.any():
        return texts
    some = texts.filter(beyond)
    # Superscripts first: the normal form would turn x² into x2.
    some = some.str.replace_all(SUPERSCRIPTS, "^$1").str.replace_many(_replacements())
    left = some.str.len_bytes() != some.str.len_chars()
    # The normal form of a letter in a mathematical alphabet is a plain one, which may have to be replaced in its turn.
    normal = some.filter(left).str.normalize("NFKC").str.replace_many(_replacements())
    some = some.scatter(left.arg_true(), normal)
    return texts.scatter(beyond.arg_true(), some)


@functools.cache
def _replacements() -> dict[str, str]:
    names = {chr(0x3B1 + index): f" \\{name} " for index, name in enumerate(GREEK)}
    capitals = {chr(0x391 + index): f" \\{name} " for index, name in enumerate(GREEK) if name != "varsigma"}
    return SIGNS | names | capitals


@functools.cache
def letter_table() -> Array:
    """For every character: OTHER, HAN (a word by itself), or its lower case (part of a word).

    int32; the last entry stands for all characters beyond.
    """
    table = np.zeros(POINTS + 1, np.int32)
    for point in range(128, POINTS):
        if unicodedata.category(chr(point))[0] in "LMN":
            low = chr(point).lower()
            table[point] = HAN if _is_han(point) else ord(low) if len(low) == 1 else point
    return table


def _is_han(point: int) -> bool:
    return 0x3400 <= point <= 0x9FFF or 0xF900 <= point <= 0xFAFF or 0x20000 <= point < POINTS
