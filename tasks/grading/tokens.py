"""The words of a LaTeX expression: what `reader` splits a text into, and which token does what."""

import math
import re

DIGITS = frozenset("0123456789.")

WORDS = "arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|sqrt|exp|log|ln|lg|pi"
TOKEN = re.compile(rf"\\[A-Za-z]+|\\[{{}}]|[0-9]+(?:\.[0-9]+)?|\.[0-9]+|{WORDS}|[A-Za-z]|[^\s]")
LONG_WORD = re.compile(rf"(?<![\\A-Za-z])(?!(?:{WORDS}))(?:[A-Za-z]{{4,}}|mod|gcd|lcm|max|min|det)")
"""Not a product of variables."""
DEGREE = math.pi / 180
CONSTANTS: dict[str, complex] = {"\\pi": math.pi, "pi": math.pi, "e": math.e, "i": 1j}
GREEK = re.compile(
    r"\\(?:"
    r"alpha|beta|gamma|delta|epsilon|varepsilon|zeta|eta|theta|vartheta|kappa|lambda|mu|nu|xi|rho|sigma|tau|phi|"
    r"varphi|chi|psi|omega|Gamma|Delta|Theta|Lambda|Sigma|Phi|Psi|Omega|angle|triangle|ell"
    r")"
)
UNARY = frozenset(WORDS.split("|")) - {"pi"}
TIMES = frozenset(["*", "\\times", "\\cdot"])
OVER = frozenset(["/", "\\div"])
ROUNDED = {"\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
CLOSING = {"(": ")", "[": "]", "{": "}", "\\{": "\\}"}
BEGINNING = frozenset(["\\pi", "\\frac", "\\sqrt", "\\binom", "\\{", *ROUNDED])
NUMBER_OVER = ["\\frac", "{", "}", "{", "}"]
"""What follows the whole number of `7\\frac{3}{11}`, less the numbers."""


def letters(below: object, ahead: list[str]) -> bool:
    """Whether a letter follows one, neither raised nor of an argument: the `C` of `t/RC`."""
    if not (isinstance(below, tuple) and below[0] == "var"):
        return False
    return len(ahead[0]) == 1 and ahead[0].isalpha() and ahead[0] not in CONSTANTS and ahead[1:] not in (["^"], ["("])


def argument(ahead: list[str]) -> str:
    """The number that a letter is a function of: `(0)` of `I(0)`, which is no product; empty where there is none."""
    if ahead[0:3:2] != ["(", ")"] or ahead[1][0] not in DIGITS or ahead[3:] == ["("]:
        return ""
    return f"({ahead[1]})"


def begins(token: str) -> bool:
    """Whether a factor may begin with this token."""
    if token[0] == "\\":
        return token in BEGINNING or token[1:] in UNARY or GREEK.fullmatch(token) is not None
    return (token[0].isascii() and token[0].isalnum()) or token[0] == "." or token in ("(", "[", "{")
