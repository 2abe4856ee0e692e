r"""One spelling for answers that differ in typesetting only.

`tidy` keeps `\text{...}` (the symbolic check needs it to tell words from products of variables); `squeeze` goes on to
a string that is compared letter by letter. Neither ever makes two different answers equal: spaces between digits,
case, brackets and signs stay. Callers cap the length first, so the regular expressions see short strings.
"""

import re
from typing import NamedTuple

from tasks.grading.characters import spelled_out
from tasks.grading.elsewhere import UNUSUAL, from_elsewhere, unusual
from tasks.grading.extract import closing_brace
from tasks.grading.listing import split
from tasks.grading.units import SHORT, one_name

CHARACTERS = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    | {"−": "-", "–": "-", "—": "-", "‐": "-", "\u00a0": " ", "\u3000": " ", "。": ".", "、": ",", "′": "'", "’": "'"}
    | {"×": "\\times ", "÷": "\\div ", "·": "\\cdot ", "⋅": "\\cdot ", "π": "\\pi ", "∞": "\\infty ", "√": "\\sqrt "}
    | {"≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "±": "\\pm "}
    | {"°": "^\\circ", "½": "\\frac{1}{2}", "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}"}
    | {"\t": " ", "\n": " ", "\r": " ", "≈": "\\approx ", "⁄": "/", "∕": "/", "∛": "\\sqrt[3]", "∜": "\\sqrt[4]"}
    | {"ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "ℕ": "\\mathbb{N}", "ℚ": "\\mathbb{Q}", "ℂ": "\\mathbb{C}"}
    | {"∅": "\\emptyset ", "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "θ": "\\theta ", "λ": "\\lambda "}
    | {"¢": "\\text{ cent}", "⟨": "(", "⟩": ")", "\u2003": " ", "\u2009": " ", "\u202f": " "}
    # What an unescaped "\\frac" and "\\begin" become in a string of JSON or Python.
    | {"\x0c": "\\f", "\x08": "\\b"}
)

REPLACED = {
    "\\\\": "\\\\",
    "\\$": "",
    "$": "",
    "\\%": "%",
    "\\!": "",
    "\\,": "",
    "\\;": " ",
    "\\>": " ",
    "\\not=": "\\ne",
    "\\not =": "\\ne",
    "\\:": " ",
    "\\ ": " ",
    "\\(": "",
    "\\)": "",
    "\\[": "",
    "\\]": "",
    "~": " ",
}
REPLACED_WORDS = {
    **dict.fromkeys(("dfrac", "tfrac", "cfrac"), "\\frac"),
    **dict.fromkeys(("leq", "leqslant"), "\\le"),
    **dict.fromkeys(("geq", "geqslant"), "\\ge"),
    "neq": "\\ne",
    **{f"var{name}": f"\\{name}" for name in ("epsilon", "theta", "phi", "rho")},
    "hbar": "\\frac{h}{2\\pi}",
    "lt": "<",
    "gt": ">",
    "langle": "(",
    "rangle": ")",
    "lbrace": "\\{",
    "rbrace": "\\}",
    "degree": "^\\circ",
    "cr": "\\\\",
    "colon": ":",
    "ast": "*",
    **dict.fromkeys(("quad", "qquad", "enspace", "medspace", "thickspace"), " "),
    **dict.fromkeys(
        ("displaystyle", "textstyle", "scriptstyle", "bf", "rm", "it", "limits", "left", "right", "middle"), ""
    ),
    **dict.fromkeys((f"{size}{side}" for size in ("big", "Big", "bigg", "Bigg") for side in ("", "l", "r", "m")), ""),
    **dict.fromkeys(("textbf", "textit", "textrm", "textnormal", "mbox", "mathbf", "mathit", "operatorname"), "\\text"),
    **dict.fromkeys(("boldsymbol", "bm", "pmb", "mathsf", "textsf", "textup", "underline", "emph"), "\\text"),
}
COMMAND = re.compile(
    r"\\(?:left|right)\s*\.|\\h?space\*? ?\{[^{}]*\}|\\not ?=|\\q?quad|\\[a-zA-Z]+|\\\\\[-?[0-9.]+ ?[a-z]{2}\]"
    r"|\\[\\$%!,;:> ()\[\]]|[$~]"
)
QUANTITY = re.compile(r"\\text ?\{ ?([0-9][^{}]*)\}")
MAX_WRAPS = 5
WRAP = re.compile(r"(?P<font>\\text ?)?\{")
FORMULA = re.compile(r"[\\0-9=<>+^_]")
SUCH_THAT = re.compile(r"\\mid|[|:]")
APPROXIMATELY = re.compile(
    r"^(?:\\approx ?|(?:\\text ?\{ ?)?(?:about|approximately|approx\.?|roughly)(?: ?\})? (?=[-\\.0-9])"
    r"|大?约为? ?(?=[-\\.0-9]))"
)
CHINESE_GAP = re.compile(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])")
THIN_IN_UNIT = re.compile(r"\\(?:mathrm|text) ?\{[^{}]*\\,(?:[^{}]|\{[^{}]*\})*\}")
"""`\\mathrm{m\\,s^{-2}}`: what stands between units, where elsewhere it may part thousands."""
ROMAN_LETTER = re.compile(r"\\mathrm\s*\{\s*([A-Za-z])\s*\}")
UNIT_VECTOR = re.compile(
    r"\\(?:mathbf|vec|hat|boldsymbol|bm) ?\{? ?(?:\\hat ?\{? ?)?\\?([ijk])(?:math)? ?\}?(?: ?\})?(?![A-Za-z])"
)
ROMAN = re.compile(r"\\mathrm\b")
SHORT_FRACTION = re.compile(r"\\frac\s*(\d|\{[^{}]*\})\s*(\d|\{[^{}]*\})")
SHORT_ROOT = re.compile(r"\\sqrt\s*(\[\w+\])?\s*([A-Za-z0-9])")
LOST_BACKSLASH = re.compile(r"(?<![A-Za-z\\])(frac|sqrt)(?=\{)")
CONJUNCTION = re.compile(r",? ?(?:\\text ?\{ ?(?:and|or|或者?|和|以及) ?\}|\b(?:and|or)\b|或者|或|以及|和) ?")
BOTH = re.compile(r",? ?(?:\\text ?\{ ?and ?\}|\band\b|且|并且) ?")
ORDERED = re.compile(r"[<>]|\\[lg]e(?![a-z])")
LONE_BRACES = re.compile(r"([\^_]) ?\{ ?(\w|\\circ) ?\}")
TEXT = re.compile(r"\\(?:text|mathrm) ?\{([^{}]*)\}")
LISTED = re.compile(r"(?<=[0-9]), (?=[0-9]{3}(?![0-9]))")
"""A comma and a space part a list, `12, 345`; without the space it may be of thousands."""
SPACE_AROUND = re.compile(r"(?<!\d) | (?!\d)")
UNIT = re.compile(
    r"^(?P<body>.*[\d}%)π]|.*\\pi) ?(?:\\(?:text|mathrm) ?\{(?P<text>[^{}]+)\}"
    r"|(?P<word>WORDS|[\u4e00-\u9fff]{1,4}(?:/[\u4e00-\u9fff]{1,2})?))"
    r"(?P<power> ?\^ ?\{?[23]\}?)?$".replace(
        "WORDS",
        "(?<![A-Za-z])(?:cm|mm|km|kg|mph|ft|inch(?:es)?|feet|miles?|hours?|minutes?|seconds?|days?|years?|"
        "degrees?|dollars?|cents?|units?|weeks?|months?|pounds?|gallons?|yards?|meters?|metres?|grams?|liters?|litres?|points?|people|students?)"
        # Whatever else was counted: words after a number and a space.
        r"|(?<=[0-9}] )(?!sin|cos|tan|cot|sec|csc|log|mod|exp|and|or|to|pi|sqrt)[a-z]{3,}(?: [a-z]{2,}){0,3}",
    )
)


NO_UNIT = re.compile(
    r"\b(?:not?|wrong|incorrect|false|plus|minus|times|over|squared|cubed|less|more|fewer|decrease|increase|hundred|dozen"
    r"|hal(?:f|ves)|thirds?|quarters?|[a-z]+ths?|except|or|if|is|was|of)\b|[的不错非无减加乘除百万亿]|千(?![米克瓦])|分之|n't",
    re.IGNORECASE,
)
"""Words after a number that change it, or say something of it."""


class Quantity(NamedTuple):
    """An answer without its unit; the unit is empty when it has none."""

    body: str
    unit: str


def tidy(text: str) -> str:
    r"""Typesetting commands gone, one spelling per operator; `\text{...}` kept."""
    text = spelled_out(text)
    if not (text.isascii() and text.isprintable()):
        text = text.translate(CHARACTERS)
    if "\\," in text:
        text = THIN_IN_UNIT.sub(lambda font: font[0].replace("\\,", " "), text)
    text = (
        UNIT_VECTOR.sub(r" \1", from_elsewhere(text))
        if "\\b" in text or "\\mathbf" in text or "hat" in text or "vec" in text
        else from_elsewhere(text)
    )
    text = COMMAND.sub(_replace, text)
    text = ROMAN_LETTER.sub(r"\1", CHINESE_GAP.sub("", " ".join(text.split())))
    text = LOST_BACKSLASH.sub(r"\\\1", ROMAN.sub(r"\\text", text))
    text = SHORT_ROOT.sub(r"\\sqrt\1{\2}", SHORT_FRACTION.sub(_full_fraction, text))
    text = _unwrapped(_strip_ends(text))
    # Between conditions `and` is not `or`; between values either makes a list.
    text = BOTH.sub(" \\\\land ", text) if ORDERED.search(text) else text
    text = CONJUNCTION.sub(",", text).replace("\\text{^\\circ}", "^\\circ")
    if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    if text.startswith("\\text{") and (quantity := QUANTITY.fullmatch(text)):
        text = quantity[1]
    return _strip_ends(APPROXIMATELY.sub("", unusual(text) if UNUSUAL.search(text) else text))


def squeeze(tidied: str) -> str:
    """The string that is compared letter by letter."""
    text = plain(tidied)
    text = LISTED.sub(";", text) if ", " in text else text
    return _strip_ends(SPACE_AROUND.sub("", text) if " " in text else text)


def plain(tidied: str) -> str:
    r"""Without `\text{}` and braces around one sign; words keep their spaces."""
    while tidied.startswith("\\text{") and closing_brace(tidied, len("\\text")) == len(tidied) - 1:
        tidied = tidied[len("\\text{") : -1]
    text = LONE_BRACES.sub(r"\1\2", TEXT.sub(r"\1", tidied)) if "{" in tidied else tidied
    return " ".join(text.split())


def split_unit(tidied: str) -> Quantity:
    r"""Part a unit from a quantity: one in `\text{}`, a known word, or Chinese; never a bare letter (`6m`)."""
    match = UNIT.match(tidied)
    if match is None:
        return Quantity(tidied, "")
    word = match["text"] or match["word"]
    if NO_UNIT.search(word):
        return Quantity(tidied, "")
    name = one_name(word + power_of(match))
    return Quantity(match["body"].strip(), name)


def split_short_unit(tidied: str) -> Quantity:
    r"""Part a unit that is short and not in `\text{}`, such as the `g` of `100 g`."""
    match = SHORT.fullmatch(tidied)
    if match is None:
        return split_unit(tidied)
    return Quantity(match["body"], one_name(match["unit"] + power_of(match)))


def power_of(match: re.Match[str]) -> str:
    """The power of a unit, such as `^2`."""
    return (match["power"] or "").translate({ord(character): None for character in " {}"})


def _unwrapped(text: str) -> str:
    r"""Without braces or a font around the whole; but `{1, 2}` is a set, and `\text{even}` a word."""
    for _ in range(MAX_WRAPS):
        match = WRAP.match(text)
        if match is None or closing_brace(text, match.end() - 1) != len(text) - 1:
            break
        inner = text[match.end() : -1].strip()
        bare = len(split(inner)) == 1 and (inner.startswith(("{", "\\{")) or not SUCH_THAT.search(inner))
        if not (FORMULA.search(inner) if match["font"] else bare):
            break
        text = inner
    return text


def _replace(match: re.Match[str]) -> str:
    command = match[0]
    if command.endswith((".", "}")) and command not in REPLACED:
        return " "
    if command.startswith("\\\\"):
        return "\\\\"
    return REPLACED[command] if command in REPLACED else REPLACED_WORDS.get(command[1:], command)


def _full_fraction(match: re.Match[str]) -> str:
    parts = (part if part.startswith("{") else f"{{{part}}}" for part in match.groups())
    return "\\frac" + "".join(parts)


def _strip_ends(text: str) -> str:
    text = text.strip().rstrip("\\").strip()
    while text and text[-1] in ",;:":
        text = text[:-1].rstrip()
    return text if text.endswith("...") else text.rstrip(" .")
