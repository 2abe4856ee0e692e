r"""What is no LaTeX, or half of it, as LaTeX: money, powers and signs of programs, numbers with words in them."""

import re

from tasks.grading.asides import without_asides

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
