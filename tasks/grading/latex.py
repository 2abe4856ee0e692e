r"""One spelling for answers that differ in typesetting only.

`tidy` keeps `\text{...}` (the symbolic check needs it to tell words from products of variables); `squeeze` goes on to
a string that is compared letter by letter. Neither ever makes two different answers equal: spaces between digits,
case, brackets and signs stay. Callers cap the length first, so the regular expressions see short strings.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import NamedTuple

from tasks.grading.brackets import split
from tasks.grading.extract import closing_brace
from tasks.grading.units import SHORT, one_name

# Characters that say what LaTeX has a command for: `x¹²`, `⅓`, `𝑥`, `θ`, zero-width spaces, Markdown's marks.

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


# Words around an answer that say nothing more than it: `the circle x^2 + y^2 = 16`, `6 or 9 (both work)`, `a) 5`.

ASIDE = re.compile(r",? ?\\text ?\{[ ,(]*(?:for (?:all|any|every|each)|since|because)\b.*$")
"""Words that only say for which names an equation holds, or why."""
IN_BRACKETS = re.compile(
    r"(?<=[^\s(]) ?(?:\\text ?\{ ?)?\((?:both|all|each|which|this|checked|verified|as|approximately)"
    r"(?!.*\b(?:not?|only|except|but|in|mod)\b)(?: [a-z]{2,})+\)(?: ?\})?$"
)
"""Words about an answer: the `(both work)` of `6 or 9 (both work)`."""
NOUN = re.compile(
    r"^(?:\\text ?\{ ?)?(?:the )?(?:circle|ellipse|parabola|hyperbola|line|plane|curve|sphere|function|equation)"
    r"(?: with equation| given by| is)?:?(?: ?\})? ?(?=[-\\(\[0-9A-Za-z][^a-z]*?(?:[=^_(,]|\\in))"
)
"""What stands before the formula that it names: `the circle x^2 + y^2 = 16`."""
SAYS = re.compile(r"^\\text ?\{[^{}]* (?:is|are|equals):? ?\} ?(?=[-\\(\[0-9])")
BUILT = re.compile(
    r"^\\\{ ?[a-z] ?(?:\\mid|\||:) ?([a-z] ?= ?[^{}=]+?),? ?[a-z] ?\\in ?(?:\\mathbb ?\{? ?[ZN] ?\}?|[ZN]) ?\\\}$"
)
"""The set of all that a formula gives for the integers."""
LETTERED = re.compile(r"(?:^|(?<=[ ,;]))([a-d]|i{1,3})\)(?= ?\S)")
BARE_ASIDE = re.compile(r"^([^=]*=[^=]*?),? for (?:all|any|every|each)\b(?!.*(?:[=;<>0-9]|\\ne|\\[lg]e))[^=]*$")
ALL_OF = re.compile(
    r"^(?:\\text ?\{ ?)?all (?:(?:(?:real|possible) )?(?:numbers|reals|values)(?: of| with| such that)?(?: ?\})? ?"
    r"(?=[A-Za-z] ?(?:\\[lg]e(?![a-z])|[<>]))"
    r"|(?:positive )?integers(?: with| such that)?(?: ?\})? ?(?=[kmn] ?(?:\\ge(?![a-z])|>) ?[0-9]))"
)
"""The `all positive integers` of `all positive integers n \\ge 3`."""
EXTREME = re.compile(
    r"(?<!\\)(?:\\text ?\{ ?)?(?:the )?\b(max|min)(?:imum)?(?: value)?(?: is| of)?(?: ?\})? ?[:=]? ?(?=[-\\0-9])"
)
"""`maximum 5`, `\\text{min} = -3`, where both are given."""


def without_asides(text: str) -> str:
    """The answer alone, labels and extremes in one spelling."""
    if len(set(EXTREME.findall(text))) == 2:
        text = EXTREME.sub(r"\1=", text)
    text = BUILT.sub(r"\1", SAYS.sub("", text))
    text = NOUN.sub("", IN_BRACKETS.sub("", text))
    text = LETTERED.sub(r"(\1)", text) if "(" not in text else text
    return ALL_OF.sub("", BARE_ASIDE.sub(r"\1", ASIDE.sub("", text)))


# What is no LaTeX, or half of it, as LaTeX: money, powers and signs of programs, numbers with words in them.

THOUSANDS = re.compile(r",\\! *| ?\{ ?, ?\}")
ORDINAL = re.compile(r"(?:(?<=[A-Za-z] )|^)([0-9]+)(?: ?\^ ?\{? ?\\text ?\{ ?)?(?:st|nd|rd|th)(?: ?\}(?: ?\})?|\b)")
DERIVATIVE = re.compile(r"\\frac ?\{d ?([a-z])\} ?\{d ?x\}")
RATIO = re.compile(r"[0-9]+(?: ?(?:to|\\text ?\{ ?to ?\}) ?[0-9]+)+")
RATIO_SIGN = re.compile(r" ?(?:to|\\text ?\{ ?to ?\}) ?")
ANY_INTEGER = re.compile(
    r"(?<=.)(?:, ?\(?| ?\() ?[a-z] ?\\in ?(?:\\(?:mathbb|text) ?\{? ?[ZN] ?\}?|[ZN])(?:_?\^?[+*])?\)?$"
)
UNUSUAL = re.compile(
    r"[0-9] ?(?:\\text ?\{ ?)?[htmbpdeE百千万亿]|[0-9](?:st|nd|rd)|\\in ?(?:\\math|\\text|[ZN])"
    r"|[0-9] [0-9]|\.[0-9]*\\|\\begin"
    r"|\)_|C ?[(_]|\\choose|\\binom ?[0-9]|\\ldots|[0-9]\.\.\.|[0-9] ?\^ ?\{? ?\\text|\\frac ?\{d[a-z]|\bm(?:ax|in)"
    r"|\\text ?\{[ ,(]*(?:for|since|because) |\\circ ?[0-9]|USD|[a-z] ?\(| for |\ball |(?:^|[ ,;])(?:[a-d]|i+)\)"
    r"|^\\text ?\{[^{}]* is "
    r"|^(?:\\text ?\{ ?)?(?:the )?[a-z]{4,} |[a-z]\)(?: ?\})?$"
)
DOUBLED = re.compile(r"\\\\(?=[a-zA-Z])")
PROGRAMMED = re.compile(r"(?<=[\w)}\]])\*\*(?=[\w({-])|<=|>=|(?<= )!=")
FROM_PROGRAMS = {"**": "^", "<=": "\\le ", ">=": "\\ge ", "!=": "\\ne "}
SPACED = re.compile(r"(?<![0-9.,/])[0-9]{1,3}(?: [0-9]{3})+(?![0-9/])")
IN_BASE = re.compile(r"\(([0-9A-Z]+)\)(?=_)")
CHOSEN = re.compile(
    r"(?<![\w\\^}])(?:(?:\{\})?_\{?([0-9]+)\}? ?C ?_\{?([0-9]+)\}?|C ?\(([0-9]+), ?([0-9]+)\)"
    r"|C ?_\{?([0-9]+)\}? ?\^ ?\{?([0-9]+)\}?)"
)
"""`C(10,3)`, `{}_{10}C_3` and `C_{10}^{3}`."""
CHOOSE = re.compile(r"\{ ?([^{}]+?) ?\\choose ?([^{}]+?) ?\}|^([^{}]+?) ?\\choose ?([^{}]+)$")
SHORT_CHOICE = re.compile(r"\\binom ?([0-9]) ?([0-9])")
DOTTED = re.compile(r"\\dot ?\{? ?([0-9]) ?\}?([0-9 ]*)\\dot ?\{? ?([0-9]) ?\}?")
"""The first and the last of the digits that repeat."""
ENDLESS = re.compile(r"([0-9]*\.[0-9]*?)(?:([0-9])\2{2,}|([0-9]{2,6}?)\3+)(?:\\ldots|\\dots|\.\.\.)")
MINUTES = re.compile(r"([0-9]+) ?\^ ?\{? ?\\circ ?\}? ?([0-5]?[0-9]) ?(?:'|\^ ?\{? ?\\prime ?\}?)")
DOLLARS = re.compile(r"USD ?([0-9.,]+)|([0-9.,]+) ?USD")
BARE_FUNCTION = re.compile(r"(?<![A-Za-z\\])(sin|cos|tan|ln|log|exp|sinh|cosh|tanh)(?= ?\()")
MONEY = re.compile(r"(-?)(\\\$|(?:US)?\$(?!.*\$)|[£€¥]) ?([0-9][0-9,.]*)|(-?[0-9][0-9,.]*) ?([£€¥])")
CURRENCIES = {"£": "gbp", "€": "euro", "¥": "yuan"}
WORDED = re.compile(
    r"(?<=[0-9]) ?(?:\\text ?\{ ?)?"
    r"(?:(dozen|hundred|thousand|million|billion|percent|pct)\b|(百(?!分)|千(?![米克瓦])|万|亿))(?: ?\})?"
)
SIGNS = {
    "percent": "%",
    "pct": "%",
    "dozen": "\\times 12",
    "hundred": "\\times 10^{2}",
    "百": "\\times 10^{2}",
    "千": "\\times 10^{3}",
    "万": "\\times 10^{4}",
    "亿": "\\times 10^{8}",
    "thousand": "\\times 10^{3}",
    "million": "\\times 10^{6}",
    "billion": "\\times 10^{9}",
}
E_NOTATION = re.compile(r"(?<=[0-9])[eE]\+?(-?[0-9]{1,3})(?![\w.])")
REPEATING = re.compile(r"([0-9]*)\.([0-9]*)\\(?:overline|bar|dot) ?\{ ?([0-9]{1,9}) ?\}")
SYSTEM = re.compile(r"(?:\\begin ?\{cases\}|\\\{ ?\\begin ?\{array\} ?\{[lcr]+\})([^&]*?)\\end ?\{(?:cases|array)\}")
"""Equations under each other."""


def from_elsewhere(text: str) -> str:
    """What is no LaTeX, or escaped twice: `x**2 >= 4`, `$5`, `1{,}000`."""
    if (text.count("$") == 1 or not text.isascii()) and (money := MONEY.fullmatch(text.strip())):
        sign, amount = (money[2], money[1] + money[3]) if money[2] else (money[5], money[4])
        text = f"{amount.rstrip('.,')}\\text{{ {CURRENCIES.get(sign, 'dollar')}}}"
    if "\\\\" in text and "\\begin" not in text:
        text = DOUBLED.sub(r"\\", text)
    if "," in text:
        text = THOUSANDS.sub(",", text)
    text = text.replace("{:}", ":")
    if "**" in text or "=" in text:
        text = PROGRAMMED.sub(lambda found: FROM_PROGRAMS[found[0]], text)
    return text


def unusual(text: str) -> str:
    """Numbers with words, exponents, spaces or repeating digits in them; equations under each other."""
    text = WORDED.sub(lambda found: SIGNS[found[1] or found[2]], ORDINAL.sub(r"\1", text))
    text = DERIVATIVE.sub(r"\1'", text)
    text = RATIO_SIGN.sub(":", text) if RATIO.fullmatch(text) else text
    text = DOTTED.sub(lambda found: f"\\overline{{{found[1]}{found[2].replace(' ', '')}{found[3]}}}", text)
    text = ENDLESS.sub(lambda found: f"{found[1]}\\overline{{{found[2] or found[3]}}}", text)
    text = without_asides(CHOOSE.sub(_binomial, text))
    text = REPEATING.sub(_fraction_of_repeating, E_NOTATION.sub(r"\\times 10^{\1}", text))
    text = ANY_INTEGER.sub("", text)
    text = BARE_FUNCTION.sub(r"\\\1", IN_BASE.sub(r"\1", text))
    text = SHORT_CHOICE.sub(_binomial, CHOSEN.sub(_binomial, text))
    text = MINUTES.sub(r"\\frac{\1*60+\2}{60}^\\circ", text)
    if dollars := DOLLARS.fullmatch(text):
        text = f"{dollars[1] or dollars[2]}\\text{{ dollar}}"
    text = SYSTEM.sub(lambda found: ", ".join(filter(str.strip, found[1].split("\\\\"))), text)
    return SPACED.sub(lambda found: found[0].replace(" ", ""), text)


def _binomial(match: re.Match[str]) -> str:
    above, below = filter(None, match.groups())
    return f"\\binom{{{above}}}{{{below}}}"


def without_bar(text: str) -> str:
    r"""`0.13` of `0.\overline{13}`, which is another number."""
    return REPEATING.sub(r"\1.\2\3", text).strip("$ ")


def _fraction_of_repeating(match: re.Match[str]) -> str:
    r"""`\frac{7}{30}` of `0.2\overline{3}`."""
    whole, first, again = match.groups()
    ending = 10 ** len(first)
    repeated = ending * (10 ** len(again) - 1)
    top = int(whole + first or "0") * (10 ** len(again) - 1) + int(again)
    return f"\\frac{{{top}}}{{{repeated}}}"


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
