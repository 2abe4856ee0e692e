r"""One spelling for answers that differ in typesetting only.

`normalise` keeps `\text{...}` (the symbolic check needs it to tell words from products of variables); `squeeze` gives
the string that is compared letter by letter. Neither ever makes two different answers equal: spaces between digits,
case, brackets and signs stay. Callers cap the length first, so the regular expressions see short strings.
"""

import re
import unicodedata

from tasks.grading.brackets import closing_brace, split

GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "lambda", "mu", "nu", "xi", "rho", "sigma"),
    *("tau", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Sigma", "Phi", "Psi", "Omega"),
)


def _greek(name: str) -> str:
    size = "CAPITAL" if name[0].isupper() else "SMALL"
    return unicodedata.lookup(f"GREEK {size} LETTER {name.upper().replace('LAMBDA', 'LAMDA')}")


INVISIBLE = dict.fromkeys([0xAD, *range(0x200B, 0x2010), 0x2060, 0xFEFF])
COMPATIBLE = INVISIBLE | {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0x1D400, 0x1D800)}
"""Letters and digits in mathematical fonts in their plain form; invisible characters are dropped."""
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


def unicode_to_latex(text: str) -> str:
    """Characters for which LaTeX has a command: `x¹²`, `⅓`, `𝑥`, `θ`; no zero-width spaces or Markdown marks."""
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


TRAILING_CLAUSE = re.compile(r",? ?\\text ?\{[ ,(]*(?:for (?:all|any|every|each)|since|because)\b.*$")
"""A clause that only states for which names an equation holds, or why."""
IN_BRACKETS = re.compile(
    r"(?<=[^\s(]) ?(?:\\text ?\{ ?)?\((?:both|all|each|which|this|checked|verified|as|approximately)"
    r"(?!.*\b(?:not?|only|except|but|in|mod)\b)(?: [a-z]{2,})+\)(?: ?\})?$"
)
"""Words about an answer: the `(both work)` of `6 or 9 (both work)`."""
NOUN = re.compile(
    r"^(?:\\text ?\{ ?)?(?:the )?(?:circle|ellipse|parabola|hyperbola|line|plane|curve|sphere|function|equation)"
    r"(?: with equation| given by| is)?:?(?: ?\})? ?(?=[-\\(\[0-9A-Za-z][^a-z]*?(?:[=^_(,]|\\in))"
)
"""The noun before the formula that it names: `the circle x^2 + y^2 = 16`."""
SAYS = re.compile(r"^\\text ?\{[^{}]* (?:is|are|equals):? ?\} ?(?=[-\\(\[0-9])")
BUILT = re.compile(
    r"^\\\{ ?[a-z] ?(?:\\mid|\||:) ?([a-z] ?= ?[^{}=]+?),? ?[a-z] ?\\in ?(?:\\mathbb ?\{? ?[ZN] ?\}?|[ZN]) ?\\\}$"
)
"""The set of all that a formula gives for the integers."""
LETTERED = re.compile(r"(?:^|(?<=[ ,;]))([a-d]|i{1,3})\)(?= ?\S)")
FOR_ALL_CLAUSE = re.compile(r"^([^=]*=[^=]*?),? for (?:all|any|every|each)\b(?!.*(?:[=;<>0-9]|\\ne|\\[lg]e))[^=]*$")
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


def strip_surrounding_words(text: str) -> str:
    """The answer without words that add nothing: `the circle x^2 + y^2 = 16`, `6 or 9 (both work)`.

    Labels, as in `a) 5`, and extremes get one spelling.
    """
    if len(set(EXTREME.findall(text))) == 2:
        text = EXTREME.sub(r"\1=", text)
    text = BUILT.sub(r"\1", SAYS.sub("", text))
    text = NOUN.sub("", IN_BRACKETS.sub("", text))
    text = LETTERED.sub(r"(\1)", text) if "(" not in text else text
    return ALL_OF.sub("", FOR_ALL_CLAUSE.sub(r"\1", TRAILING_CLAUSE.sub("", text)))


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
"""A system of equations."""


def repair(text: str) -> str:
    """Money, operators of programs, and LaTeX that was escaped twice, as LaTeX: `x**2 >= 4`, `$5`, `1{,}000`."""
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


def rewrite_unusual(text: str) -> str:
    """Numbers with words, exponents, spaces or repeating digits in them, and systems of equations, as plain LaTeX."""
    text = WORDED.sub(lambda found: SIGNS[found[1] or found[2]], ORDINAL.sub(r"\1", text))
    text = DERIVATIVE.sub(r"\1'", text)
    text = RATIO_SIGN.sub(":", text) if RATIO.fullmatch(text) else text
    text = DOTTED.sub(lambda found: f"\\overline{{{found[1]}{found[2].replace(' ', '')}{found[3]}}}", text)
    text = ENDLESS.sub(lambda found: f"{found[1]}\\overline{{{found[2] or found[3]}}}", text)
    text = strip_surrounding_words(CHOOSE.sub(_binomial, text))
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


def drop_repeating_bar(text: str) -> str:
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
    | {"°": "^\\circ", "\t": " ", "\n": " ", "\r": " ", "≈": "\\approx ", "∜": "\\sqrt[4]"}
    | {"ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "ℕ": "\\mathbb{N}", "ℚ": "\\mathbb{Q}", "ℂ": "\\mathbb{C}"}
    | {"∅": "\\emptyset ", "¢": "\\text{ cent}", "⟨": "(", "⟩": ")", "\u2003": " ", "\u2009": " ", "\u202f": " "}
    # An unescaped "\\frac" and "\\begin" become these in a string of JSON or Python.
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
"""`\\mathrm{m\\,s^{-2}}`: a thin space between units, where elsewhere it may separate thousands."""
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
"""A comma and a space separate a list, `12, 345`; a comma alone may separate thousands."""
SPACE_AROUND = re.compile(r"(?<!\d) | (?!\d)")


def normalise(text: str) -> str:
    r"""The text without typesetting commands, one spelling per operator; `\text{...}` stays."""
    text = unicode_to_latex(text)
    if not (text.isascii() and text.isprintable()):
        text = text.translate(CHARACTERS)
    if "\\," in text:
        text = THIN_IN_UNIT.sub(lambda font: font[0].replace("\\,", " "), text)
    text = (
        UNIT_VECTOR.sub(r" \1", repair(text))
        if "\\b" in text or "\\mathbf" in text or "hat" in text or "vec" in text
        else repair(text)
    )
    text = COMMAND.sub(_replace, text)
    text = ROMAN_LETTER.sub(r"\1", CHINESE_GAP.sub("", " ".join(text.split())))
    text = LOST_BACKSLASH.sub(r"\\\1", ROMAN.sub(r"\\text", text))
    text = SHORT_ROOT.sub(r"\\sqrt\1{\2}", SHORT_FRACTION.sub(_full_fraction, text))
    text = _unwrap(_strip_ends(text))
    # Between conditions `and` is not `or`; between values either makes a list.
    text = BOTH.sub(" \\\\land ", text) if ORDERED.search(text) else text
    text = CONJUNCTION.sub(",", text).replace("\\text{^\\circ}", "^\\circ")
    if len(text) > 2 and text[0] == text[-1] and text[0] in "'\"":
        text = text[1:-1]
    if text.startswith("\\text{") and (quantity := QUANTITY.fullmatch(text)):
        text = quantity[1]
    return _strip_ends(APPROXIMATELY.sub("", rewrite_unusual(text) if UNUSUAL.search(text) else text))


def squeeze(normalised: str) -> str:
    """The string that is compared letter by letter."""
    text = plain(normalised)
    text = LISTED.sub(";", text) if ", " in text else text
    return _strip_ends(SPACE_AROUND.sub("", text) if " " in text else text)


def plain(normalised: str) -> str:
    r"""Without `\text{}` and braces around one character; words keep their spaces."""
    while normalised.startswith("\\text{") and closing_brace(normalised, len("\\text")) == len(normalised) - 1:
        normalised = normalised[len("\\text{") : -1]
    text = LONE_BRACES.sub(r"\1\2", TEXT.sub(r"\1", normalised)) if "{" in normalised else normalised
    return " ".join(text.split())


def _unwrap(text: str) -> str:
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
