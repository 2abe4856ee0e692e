r"""Ways in which a question is copied: each takes a text and gives another one that asks the same.

A rewriter draws from the generator it is given and from nothing else. It may give the text back as it was, where there
is nothing that it could change.
"""

import random
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

Rewriter = Callable[[str, random.Random], str]

MATH = re.compile(r"\$\$.+?\$\$|(?<!\\)\$[^$]+\$|\\\(.+?\\\)|\\\[.+?\\\]", re.DOTALL)
HAN = re.compile(r"[\u4e00-\u9fff]")
NUMBER = re.compile(r"\d+")
LETTERS = re.compile(
    r"\\(?:text\w*|math\w+|operatorname|mbox)\s*\{[^}]*\}|\\[A-Za-z]+|([A-Z]{1,4}|[a-z]{1,2})(?![A-Za-z])|[A-Za-z]+"
)
"""Letters that stand for something; what has none in the group is a word or a command."""

SYMBOLS = {
    "\\pi": "π",
    "\\leq": "≤",
    "\\le": "≤",
    "\\geq": "≥",
    "\\ge": "≥",
    "\\neq": "≠",
    "\\ne": "≠",
    "\\times": "×",
    "\\cdot": "·",
    "\\theta": "θ",
    "\\alpha": "α",
    "\\beta": "β",
    "\\omega": "ω",
    "\\infty": "∞",
    "\\angle": "∠",
    "\\triangle": "△",
    "\\in": "∈",
    "\\cup": "∪",
    "\\cap": "∩",
    "\\ldots": "…",
    "\\dots": "…",
}


class Part(NamedTuple):
    """A run of a text, inside or outside of a formula."""

    text: str
    math: bool


def parts(text: str) -> Iterator[Part]:
    """The formulas and what is between them. A Chinese text without any `$` is one formula: LaTeX stands bare there."""
    if "$" not in text and "\\(" not in text and HAN.search(text):
        yield Part(text, True)
        return
    at = 0
    for match in MATH.finditer(text):
        yield Part(text[at : match.start()], False)
        yield Part(match.group(), True)
        at = match.end()
    yield Part(text[at:], False)


def in_math(text: str, change: Callable[[str], str]) -> str:
    return "".join(change(part.text) if part.math else part.text for part in parts(text))


def outside_math(text: str, change: Callable[[str], str]) -> str:
    return "".join(part.text if part.math else change(part.text) for part in parts(text))


def verbatim(text: str, generator: random.Random) -> str:
    return text


# Each toggle turns one habit of typesetting into another, whichever of the two a text has.


def _toggle(text: str, pattern: str, replacement: str, back: str, back_replacement: str) -> str:
    changed = re.sub(pattern, replacement, text)
    return changed if changed != text else re.sub(back, back_replacement, text)


def script_braces(text: str) -> str:
    return _toggle(text, r"([\^_])\{(\w)\}", r"\1\2 ", r"([\^_])(\d|[a-zA-Z])", r"\1{\2}").replace("  ", " ")


def frac_braces(text: str) -> str:
    return _toggle(text, r"frac\{(\d)\}\{(\d)\}", r"frac\1\2", r"frac(\d)(\d)", r"frac{\1}{\2}")


def frac_size(text: str) -> str:
    return _toggle(text, r"\\frac\b|\\frac(?=\d)", r"\\dfrac", r"\\[dt]frac", r"\\frac")


def delimiters(text: str) -> str:
    if "\\(" in text:
        return re.sub(r"\\\(\s*|\s*\\\)", "$", text)
    text = re.sub(r"\$\$(.+?)\$\$", r"\\[\1\\]", text, flags=re.DOTALL)
    return re.sub(r"(?<!\\)\$([^$]+)\$", r"\\(\1\\)", text)


def formula_spaces(text: str) -> str:
    def change(formula: str) -> str:
        return _toggle(formula, r" ?([=+<>]) ", r"\1", r"(?<=[\w})])([=+<>])(?=[\w\\({])", r" \1 ")

    return in_math(text, change)


def sized_brackets(text: str) -> str:
    if "\\left" in text:
        return re.sub(r"\\left([(\[|])|\\right([)\]|])", lambda found: found.group(1) or found.group(2), text)

    def change(formula: str) -> str:
        # A formula's own \( and \) are no brackets.
        inner = re.sub(r"(?<!\\)\(", r"\\left(", formula)
        return re.sub(r"(?<!\\)\)", r"\\right)", inner) if formula.count("(") == formula.count(")") else formula

    return in_math(text, change)


def product_sign(text: str) -> str:
    return _toggle(text, r"\\times(?![A-Za-z])", r"\\cdot", r"\\cdot(?![A-Za-z])", r"\\times")


def symbols(text: str) -> str:
    changed = text
    for command, symbol in SYMBOLS.items():
        changed = re.sub(re.escape(command) + r"(?![A-Za-z])", symbol, changed)
    if changed != text:
        return changed
    for command, symbol in SYMBOLS.items():
        changed = changed.replace(symbol, command + " ")
    return changed


TOGGLES = (
    script_braces,
    frac_braces,
    frac_size,
    formula_spaces,
    sized_brackets,
    product_sign,
    symbols,
    delimiters,
)


def retypeset(text: str, generator: random.Random) -> str:
    """Seven in ten of the toggles, or all where those change nothing."""
    drawn = [toggle for toggle in TOGGLES if generator.random() < 0.7]
    for toggles in (drawn, TOGGLES):
        changed = text
        for toggle in toggles:
            changed = toggle(changed)
        if changed != text:
            return changed
    return text


def respace(text: str, generator: random.Random) -> str:
    """Other whitespace everywhere, another case outside of formulas."""
    case = generator.choice([str.upper, str.lower, str.title])
    recased = outside_math(text, case)
    return re.sub(r"\s+", lambda _: generator.choice([" ", "  ", "\n", " \t", "   "]), recased)


def renumber(text: str, generator: random.Random, share: float = 1.0) -> str:
    """Numbers replaced by others of as many digits, equal ones by equal ones.

    Args:
        share: of the different numbers, rounded up.
    """
    numbers = sorted(set(NUMBER.findall(text)))
    drawn = generator.sample(numbers, -int(-share * len(numbers) // 1))
    other = {number: _other(number, generator) for number in drawn}
    return NUMBER.sub(lambda found: other.get(found.group(), found.group()), text)


def _other(number: str, generator: random.Random) -> str:
    low, high = (2, 9) if len(number) == 1 else (10 ** (len(number) - 1), 10 ** len(number) - 1)
    while (drawn := str(generator.randint(low, high))) == number:
        pass
    return drawn


def renumber_some(text: str, generator: random.Random) -> str:
    """A third of the different numbers, one at least."""
    return renumber(text, generator, 1 / 3)


RENAMED = dict(zip("xyznmkabcpqrstuvijfghABCDEMNOPQRSTXYZ", "tuvkljpqrabcxyzwmnghfPQRSTKLIABCDEUVW", strict=True))


def rename(text: str, generator: random.Random) -> str:
    """x -> t, n -> k, triangle ABC -> PQR: letters that stand alone in formulas."""

    def renamed(found: re.Match[str]) -> str:
        return "".join(RENAMED.get(letter, letter) for letter in found.group()) if found.group(1) else found.group()

    return in_math(text, lambda formula: LETTERS.sub(renamed, formula))


PREFIXES = (
    "Problem {}. ",
    "Solve the following problem.\n\n",
    "Example {}. ({} points) ",
    "Question: ",
    "You are given a maths problem. Think carefully before answering. ",
)
SUFFIXES = (
    " Please reason step by step, and put your final answer within \\boxed{}.",
    " Show all of your work.",
    "\n\nAnswer:",
    " Give your answer in its simplest form and explain every step.",
)


def wrap(text: str, generator: random.Random) -> str:
    """A heading before, an instruction after."""
    prefix = generator.choice(PREFIXES).replace("{}", str(generator.randint(1, 30)))
    return prefix + text + generator.choice(SUFFIXES)


# Rewording by rule, without a language model, so it is a mild paraphrase: synonyms, and word order.
# In this order: none makes what a later one changes back.
SYNONYMS = (
    (r"\bDetermine\b", "Work out"),
    (r"\bFind the value of\b", "Compute"),
    (r"\bFind\b", "Determine"),
    (r"\bfind\b", "determine"),
    (r"\bCompute\b", "Calculate"),
    (r"\bEvaluate\b", "Find the value of"),
    (r"\bSimplify\b", "Reduce"),
    (r"\bWhat is\b", "Calculate"),
    (r"\bwhat is\b", "calculate"),
    (r"\bHow many\b", "What is the number of"),
    (r"\bhow many\b", "what is the number of"),
    (r"\bSuppose that\b|\bSuppose\b", "Assume that"),
    (r"\bLet\b", "Say that we let"),
    (r"\bGiven that\b", "It is known that"),
    (r"\bsuch that\b", "so that"),
    (r"\bsatisfying\b", "which satisfy"),
    (r"\bpositive integers\b", "natural numbers"),
    (r"\bpositive integer\b", "natural number"),
    (r"\bthe sum of\b", "the total of"),
    (r"\bsmallest\b", "least"),
    (r"\blargest\b", "greatest"),
    (r"\bmaximum\b", "largest"),
    (r"\bminimum\b", "smallest"),
    (r"\bdistinct\b", "different"),
    (r"\bwhere\b", "in which"),
    (r"\bif\b", "when"),
    (r"\bIf\b", "When"),
    (r"\bchosen\b", "picked"),
    (r"\bat random\b", "randomly"),
    (r"\bprobability\b", "chance"),
    (r"\bExpress your answer\b", "Write the answer"),
    (r"\bEach\b", "Every"),
    (r"\beach\b", "every"),
    (r"\bbegins\b", "starts"),
    (r"\bequation\b", "relation"),
    (r"已知", "设有"),
    (r"则", "那么"),
    (r"计算[：:]?", "求值："),
    (r"多少", "几"),
    (r"的值", "之值"),
)
LEADS = (
    # "If A, B?" and "B if A": the clauses change places.
    (r"^(If|When|Assuming that) ([^,.?]+), ([^.?]+)([.?])$", r"\3, given that \2\4"),
    (r"^([A-Z][^,.?]+), where ([^.?]+)([.?])$", r"Where \2, \1\3"),
)
ENOUGH = 2
"""Rules that must have changed something: one exchanged word is no paraphrase."""


def reword(text: str, generator: random.Random) -> str:
    """One synonym exchanged, wherever it stands."""
    rules = [rule for rule in SYNONYMS if re.search(rule[0], text)]
    return re.sub(*generator.choice(rules), text) if rules else text


def paraphrase(text: str, generator: random.Random) -> str:
    """Reworded by every rule that applies, each with nine chances in ten; the text itself where too few apply."""
    changes, done = text, 0
    for pattern, replacement in (*LEADS, *SYNONYMS):
        changed = re.sub(pattern, replacement, changes)
        if changed != changes and generator.random() < 0.9:
            changes, done = changed, done + 1
    return changes if done >= ENOUGH else text
