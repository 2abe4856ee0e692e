r"""A gold as a typed record: what kind of answer it is, its value in one spelling, and its unit.

Read once, when a benchmark is pulled, so that a gold that is not of the kind its benchmark declares is found before
anything is generated. Grading itself compares texts and caches what it has parsed of them.
"""

from typing import NamedTuple

from tasks.grading.brackets import BracketList, depth, read_list
from tasks.grading.equal import CHINESE, OPTIONS, drop_variable, option_letters
from tasks.grading.expression import parse
from tasks.grading.latex import normalise, squeeze
from tasks.grading.relations import RELATION, condition_interval, read_interval
from tasks.grading.rules import Rules
from tasks.grading.structure import MATRIX, MAX_NESTED, MEMBER
from tasks.grading.units import split_unit
from tasks.grading.values import BASED, Number, read_number
from tasks.grading.words import as_digits, plain_words

NUMBERS = {"integer": ("integer",), "rational": ("integer", "rational"), "decimal": ("integer", "rational", "decimal")}
FITTING = {
    **NUMBERS,
    "expression": (*NUMBERS["decimal"], "expression"),
    "interval": ("interval", "tuple"),
    "set": (*NUMBERS["decimal"], "expression", "set", "text"),
    "tuple": ("tuple", "interval", "set", "matrix"),
    "equation": ("equation", "interval"),
    "matrix": ("matrix", "tuple"),
    "choice": ("choice",),
}
"""Kinds of golds that a declared kind allows; `auto` and `text` allow all. A pair in brackets may be a tuple or an
interval, an inequality is an interval, and a set may have one member."""


class Gold(NamedTuple):
    """A typed gold."""

    kind: str
    """A kind of `Rules`, or `other`: what only the symbolic check may parse."""
    value: str
    """The value in one spelling: `3/4`, `{1, 2}`, `AC`."""
    unit: str
    """`%`, `base 8`, `cm`, `^\\circ`, `dollar`; or empty."""


def read_gold(gold: str, rules: Rules | None = None) -> Gold:
    """The typed record of a gold under the rules of its benchmark. Never raises."""
    declared = rules.kind if rules else "auto"
    text = drop_variable("0", as_digits(normalise(gold)))[1]
    plain = squeeze(text)
    if declared == "choice" or (OPTIONS.fullmatch(plain) and plain.startswith("(")):
        letters = option_letters(plain)
        return Gold("choice", letters, "") if letters else Gold("other", plain, "")
    if declared == "text":
        return Gold("text", plain_words(plain), "")
    based = BASED.fullmatch(plain)
    if based is not None:
        return Gold("integer", based["digits"], f"base {based['base'].strip('{}')}")
    number = read_number(plain)
    body, unit = (plain, "") if number else split_unit(text)
    number = number or read_number(squeeze(body))
    if number is not None:
        kind = "integer" if number.value.denominator == 1 else "rational" if number.exact else "decimal"
        return Gold(kind, str(number.value), _number_unit(number, gold, unit))
    return _compound(body, unit, declared)


def misfit(gold: Gold, rules: Rules) -> bool:
    """Whether a gold is not of the kind that its benchmark declares."""
    return rules.kind in FITTING and gold.kind not in FITTING[rules.kind]


def _number_unit(number: Number, gold: str, unit: str) -> str:
    if number.percent:
        return "%"
    if gold.strip().startswith("\\$"):
        return "dollar"
    return "^\\circ" if "circ" in gold or "°" in gold else unit


def _compound(text: str, unit: str, declared: str) -> Gold:
    """A gold with parts, an expression, or words."""
    if depth(text) > MAX_NESTED:
        return Gold("other", text, unit)
    text = MEMBER.sub("", text)
    plain = squeeze(text)
    found = read_list(text)
    if MATRIX.search(text):
        return Gold("matrix", plain, unit)
    if "\\cup" in text or condition_interval(text) or _is_interval(text, declared):
        return Gold("interval", plain, unit)
    if len(found.parts) > 1 or found.brackets:
        return _list(found, unit)
    kind = _plain_kind(text, plain)
    return Gold(kind, plain_words(plain) if kind == "text" else plain, unit)


def _list(found: BracketList, unit: str) -> Gold:
    parts = [read_gold(part).value for part in found.parts]
    if found.brackets in ("", "{}"):
        return Gold("set", f"{{{', '.join(sorted(parts))}}}", unit)
    return Gold("tuple", f"({', '.join(parts)})", unit)


def _plain_kind(text: str, plain: str) -> str:
    """The kind of a gold of one part."""
    if "\\pm" in text:
        return "set"
    if RELATION.search(text):
        return "equation"
    if parse(text) is not None:
        return "expression"
    return "text" if CHINESE.search(plain) or plain.replace(" ", "").replace("-", "").isalpha() else "other"


def _is_interval(text: str, declared: str) -> bool:
    """`[1,2)` and `(1,\\infty)` are intervals, `(1,2)` is one where the benchmark says so."""
    if read_interval(text) is None:
        return False
    return declared == "interval" or not (text.startswith("(") and text.endswith(")")) or "\\infty" in text
