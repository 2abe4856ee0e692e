r"""Characters that say what LaTeX has a command for: `x¹²`, `⅓`, `𝑥`, `θ`, zero-width spaces, Markdown's marks."""

import re
import unicodedata
from collections.abc import Iterable

GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "lambda", "mu", "nu", "xi", "rho", "sigma"),
    *("tau", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Sigma", "Phi", "Psi", "Omega"),
)


def _greek(name: str) -> str:
    size = "CAPITAL" if name[0].isupper() else "SMALL"
    return unicodedata.lookup(f"GREEK {size} LETTER {name.upper().replace('LAMBDA', 'LAMDA')}")


def _same(codes: Iterable[int]) -> dict[int, str]:
    """What Unicode itself holds to be the same."""
    return {code: unicodedata.normalize("NFKC", chr(code)) for code in codes}


INVISIBLE = dict.fromkeys([0xAD, *range(0x200B, 0x2010), 0x2060, 0xFEFF])
COMPATIBLE = INVISIBLE | _same(range(0x1D400, 0x1D800))
"""Letters and digits in the fonts of mathematics; what is not seen goes."""
LETTERS = {ord(_greek(name)): f"\\{name} " for name in GREEK} | {
    ord(character): plain
    for characters, plain in {"∕⁄": "/", "∗": "*", "‑﹣": "-", "º˚": "°", "∛": "\\sqrt[3]"}.items()
    for character in characters
}
LETTERS |= {0x2460 + place: f"({place + 1})" for place in range(20)}
RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
LOWERED = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋ₙ", "0123456789+-n")
RAISED_RUN = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
LOWERED_RUN = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋ₙ]+")
VULGAR = re.compile("[¼-¾⅐-⅞]")
THIN_GROUP = re.compile("(?<=[0-9])[\u2009\u202f](?=[0-9]{3}(?![0-9]))")
"""A thin space between thousands; a plain one may stand between two numbers."""
POWER = re.compile(r"(?<=[0-9A-Za-z)}]) ?\*\* ?(?=[0-9A-Za-z({-])")
MARKED = re.compile(r"\s*(\*\*|`)(?P<inner>[^*`]+)\1\s*")


def spelled_out(text: str) -> str:
    """The text with such characters spelled out."""
    marked = MARKED.fullmatch(text)
    text = marked["inner"] if marked else POWER.sub("^", text)
    if text.isascii():
        return text
    text = RAISED_RUN.sub(lambda run: f"^{{{run[0].translate(RAISED)}}}", text.translate(COMPATIBLE))
    text = LOWERED_RUN.sub(lambda run: f"_{{{run[0].translate(LOWERED)}}}", text)
    return THIN_GROUP.sub("", VULGAR.sub(_fraction, text).translate(LETTERS))


def _fraction(sign: re.Match[str]) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", sign[0]).partition("\u2044")
    return f"\\frac{{{top}}}{{{bottom}}}"
