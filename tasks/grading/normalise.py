r"""One spelling for answers that differ in typesetting only.

`tidy` keeps `\text{...}` (the symbolic check needs it to tell words from products of variables); `squeeze` goes on to
a string that is compared letter by letter. Neither ever makes two different answers equal: spaces between digits,
case, brackets and signs stay. Callers cap the length first, so the regular expressions see short strings.
"""

import re
from typing import NamedTuple

from tasks.grading.characters import plain
from tasks.grading.extract import closing_brace
from tasks.grading.listing import split

CHARACTERS = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    | {"−": "-", "–": "-", "—": "-", "‐": "-", "\u00a0": " ", "\u3000": " ", "。": ".", "、": ",", "′": "'", "’": "'"}
    | {"×": "\\times ", "÷": "\\div ", "·": "\\cdot ", "⋅": "\\cdot ", "π": "\\pi ", "∞": "\\infty ", "√": "\\sqrt "}
    | {"≤": "\\le ", "≥": "\\ge ", "≠": "\\ne ", "∪": "\\cup ", "∩": "\\cap ", "∈": "\\in ", "±": "\\pm "}
    | {"²": "^{2}", "³": "^{3}", "°": "^\\circ", "½": "\\frac{1}{2}", "¼": "\\frac{1}{4}", "¾": "\\frac{3}{4}"}
    | {"\t": " ", "\n": " ", "\r": " ", "≈": "\\approx "}
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
    "{,}": ",",
    "~": " ",
}
REPLACED_WORDS = {
    **dict.fromkeys(("dfrac", "tfrac", "cfrac"), "\\frac"),
    **dict.fromkeys(("leq", "leqslant"), "\\le"),
    **dict.fromkeys(("geq", "geqslant"), "\\ge"),
    "neq": "\\ne",
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
    r"\\(?:left|right)\s*\.|\\h?space\*? ?\{[^{}]*\}|\\not ?=|\\[a-zA-Z]+|\\\\\[-?[0-9.]+ ?[a-z]{2}\]"
    r"|\\[\\$%!,;:> ()\[\]]|\{,\}|[$~]"
)
MAX_WRAPS = 5
WRAP = re.compile(r"(?P<font>\\text ?)?\{")
FORMULA = re.compile(r"[\\0-9=<>+^_]")
SUCH_THAT = re.compile(r"\\mid|[|:]")
APPROXIMATELY = re.compile(r"^\\approx ?")
CHINESE_GAP = re.compile(r"(?<=[\u4e00-\u9fff]) (?=[\u4e00-\u9fff])")
ROMAN_LETTER = re.compile(r"\\mathrm\s*\{\s*([A-Za-z])\s*\}")
ROMAN = re.compile(r"\\mathrm\b")
SHORT_FRACTION = re.compile(r"\\frac\s*(\d|\{[^{}]*\})\s*(\d|\{[^{}]*\})")
SHORT_ROOT = re.compile(r"\\sqrt\s*([A-Za-z0-9])")
LOST_BACKSLASH = re.compile(r"(?<![A-Za-z\\])(frac|sqrt)(?=\{)")
CONJUNCTION = re.compile(r",? ?(?:\\text ?\{ ?(?:and|or) ?\}|\b(?:and|or)\b|或者|或|以及|和) ?")
LONE_BRACES = re.compile(r"([\^_]) ?\{ ?(\w|\\circ) ?\}")
TEXT = re.compile(r"\\(?:text|mathrm) ?\{([^{}]*)\}")
SPACE_AROUND = re.compile(r"(?<!\d) | (?!\d)")
UNIT = re.compile(
    r"^(?P<body>.*[\d}%)π]|.*\\pi) ?(?:\\(?:text|mathrm) ?\{(?P<text>[^{}]+)\}"
    r"|(?P<word>WORDS|[\u4e00-\u9fff]{1,4}(?:/[\u4e00-\u9fff]{1,2})?))"
    r"(?P<power> ?\^ ?\{?[23]\}?)?$".replace(
        "WORDS",
        "(?<![A-Za-z])(?:cm|mm|km|kg|mph|ft|inch(?:es)?|feet|miles?|hours?|minutes?|seconds?|days?|years?|"
        "degrees?|dollars?|cents?|units?|meters?|metres?|grams?|liters?|litres?|points?|people|students?)"
        # Whatever else was counted: words after a number and a space.
        r"|(?<=[0-9}] )(?!sin|cos|tan|cot|sec|csc|log|mod|exp|and|or|to|pi|sqrt)[a-z]{3,}(?: [a-z]{2,}){0,3}",
    )
)
SAME_UNIT = {
    "centimeter": "cm", "centimetre": "cm", "meter": "m", "metre": "m", "kilometer": "km", "hour": "h", "hr": "h",
    "minute": "min", "second": "s", "sec": "s", "inche": "inch", "in": "inch", "foot": "ft", "feet": "ft",
    "squareunit": "unit^2", "cubicunit": "unit^3", "厘米": "cm", "米": "m", "千米": "km", "元": "yuan",
    "degree": "^\\circ", "度": "^\\circ",
}  # fmt: skip


class Quantity(NamedTuple):
    """An answer without its unit; the unit is empty when it has none."""

    body: str
    unit: str


def tidy(text: str) -> str:
    r"""Typesetting commands gone, one spelling per operator; `\text{...}` kept."""
    text = COMMAND.sub(_replace, plain(text).translate(CHARACTERS))
    text = ROMAN_LETTER.sub(r"\1", CHINESE_GAP.sub("", " ".join(text.split())))
    text = LOST_BACKSLASH.sub(r"\\\1", ROMAN.sub(r"\\text", text))
    text = SHORT_ROOT.sub(r"\\sqrt{\1}", SHORT_FRACTION.sub(_full_fraction, text))
    text = APPROXIMATELY.sub("", CONJUNCTION.sub(",", _unwrapped(_strip_ends(text))))
    return _strip_ends(text)


def squeeze(tidied: str) -> str:
    """The string that is compared letter by letter."""
    while tidied.startswith("\\text{") and closing_brace(tidied, len("\\text")) == len(tidied) - 1:
        tidied = tidied[len("\\text{") : -1]
    text = LONE_BRACES.sub(r"\1\2", TEXT.sub(r"\1", tidied))
    return _strip_ends(SPACE_AROUND.sub("", " ".join(text.split())))


def split_unit(tidied: str) -> Quantity:
    r"""Part a unit from a quantity: one in `\text{}`, a known word, or Chinese; never a bare letter (`6m`)."""
    match = UNIT.match(tidied)
    if match is None:
        return Quantity(tidied, "")
    name = (match["text"] or match["word"]).strip().replace(" ", "").rstrip(".").casefold()
    if len(name) > 2:
        name = name.removesuffix("s")
    power = (match["power"] or "").translate({ord(character): None for character in " {}"})
    return Quantity(match["body"].strip(), SAME_UNIT.get(name, name) + power)


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
