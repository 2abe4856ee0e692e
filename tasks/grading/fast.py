r"""The exact fast path: True, False or None (undecided) in microseconds, and never wrong when it decides.

What it leaves open goes to the symbolic check. Decimals that differ by less than 5% stay open here (`rounded` below
then asks whether one is the other, rounded); so do lists in which a comma might be a thousands separator.
"""

import re
from typing import NamedTuple

from tasks.grading.listing import GROUPED, Listed, listed
from tasks.grading.normalise import squeeze
from tasks.grading.values import BASED, Value, agrees_rounded, in_base, read_number

APART = 20
"""Two decimals decide as different when they are more than 1/20 of the larger apart."""

LETTERS = "ABCDEFGHIJ"
OPTION = re.compile(rf"\(?([{LETTERS}])\)?(?:[.,:].*|\).*| .*|)", re.DOTALL)
CHOSEN = re.compile(
    rf"(?:the ?)?(?:correct ?)?(?:option|choice|answer|选项?|选择|故选|答案)(?: ?is|为|是)?[:： ]*\(?([{LETTERS}])\)?"
    r"|\(?([a-j])\)?",
    re.IGNORECASE,
)
COMMA_DECIMAL = re.compile(r"-?[0-9]+,(?:[0-9]{1,2}|[0-9]{4,})")
"""A decimal as continental Europe writes it, where the gold has a point."""
LONE_LETTER = re.compile(r"(?<![A-Za-z\\'])([B-HJ]|A(?! [a-z]))(?![A-Za-z'(^_=+*/-])")
NEGATED = re.compile(r"\bnot?\b|n't|不|非|[0-9=+\\]", re.IGNORECASE)
SEVERAL = re.compile(
    rf"(?i:\b(?:except|neither)\b|除了)"
    rf"|^\W*(?i:option|choice)? ?\(?(?P<one>[{LETTERS}])\)?"
    rf"(?: ?(?i:is|are|was|不)(?i:n't| not| wrong| incorrect| false|对|正确)\b"
    rf"|(?:(?: or |[;/] ?)(?i:option |choice )?|, ?(?i:option|choice) ?|, ?(?=\())"
    rf"\(?(?!(?P=one))[{LETTERS}](?![A-Za-z]))"
    rf"|^\(?(?P<first>[{LETTERS}])\).*(?<![A-Za-z(])(?!(?P=first))[{LETTERS}]\)"
)
"""An answer that says something else of its letter, or names another one too."""
OPTIONS = re.compile(rf"\(?[{LETTERS}](?:(?:,|\),?\(| )?[{LETTERS}])*\)?\.?")
BARE_OPTION = re.compile(rf"\(([{LETTERS}])\)|([{LETTERS}])\.?")
NAMED_OPTION = re.compile(r"^(?:[Oo]ption|[Cc]hoice|选项?) ?")
WORDED_OPTION = re.compile(rf"(?:[{LETTERS}][.:]|\(?[{LETTERS}]\)[.:]?)(?P<wording>.+)")
SEVERAL_OPTIONS = re.compile(r"(?=[A-G]{2,7}$)A?B?C?D?E?F?G?")
LISTED_OPTIONS = re.compile(r"\(?[A-G]\)?(?:[,;]\(?[A-G]\)?)+")
SMALL_OPTION = re.compile(r"\(?([a-e])\)?\.?")
WORDS = re.compile(r"[A-Za-z][A-Za-z' -]+")
ASSIGNED = re.compile(r"(?:\\?[A-Za-z]+(?:_\w+)?|[A-Za-z]\([A-Za-z]\)) ?=(?P<value>[^=<>]+)")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
FIGURES = re.compile(r"(?:(?<![\w)}])-)?[0-9]+(?:\.[0-9]+)?")
PUNCTUATION = re.compile(r"[\s,.;:!?'\"“”‘’()（）\[\]{}\\]+|(?<=[^\W\d_])-(?=[^\W\d_])")


class Decision(NamedTuple):
    """Whether the answer is right (None: undecided), and the rule that says so."""

    correct: bool | None
    rule: str


UNDECIDED = Decision(None, "none")


def decide(gold: str, answer: str) -> Decision:
    """Compare two squeezed answers under the rules for `auto`."""
    if gold == answer or (";" in gold and gold.replace(";", ",") == answer.replace(";", ",")):
        return Decision(bool(gold), "string")
    if COMMA_DECIMAL.fullmatch(answer) and answer.replace(",", ".") == gold:
        return Decision(True, "number")
    for rule in (_numbers, _based, _options, _lists):
        decision = rule(gold, answer)
        if decision.rule != "none":
            return decision
    if WORDS.fullmatch(gold) and len(gold) > 2 and gold.casefold() == answer.casefold() and "\\" not in answer:
        return Decision(True if len(gold) > 3 or gold.casefold() in {"yes", "odd"} else None, "word")
    return UNDECIDED


def unnamed(gold: str, answer: str) -> tuple[str, str]:
    """Drop the variable where one side alone names it: `x=5` and `5` are compared as `5` and `5`."""
    left, right = ASSIGNED.fullmatch(gold), ASSIGNED.fullmatch(answer)
    if left is not None and right is None and "=" not in answer:
        return left["value"].strip(), answer
    if right is not None and left is None and "=" not in gold:
        return gold, right["value"].strip()
    return gold, answer


def rounded(gold: str, answer: str) -> Decision:
    """Decide two numbers that `decide` left open: right when one is the other, rounded to its last place."""
    left, right = read_number(gold), read_number(answer)
    if left is None or right is None or left.grouped or right.grouped:
        return UNDECIDED
    return Decision(agrees_rounded(left, right), "rounding")


def choice(gold: str, answer: str) -> Decision:
    """Compare choice letters; a gold such as `C. 3` is also met by its text."""
    if SEVERAL.search(answer) and not OPTIONS.fullmatch(answer):
        return UNDECIDED
    letters = option_letters(gold) or chosen_letter(gold)
    given = option_letters(answer) or chosen_letter(answer) or (_only_letter(answer) if " " in answer else "")
    if letters and given:
        return Decision(letters == given, "choice")
    worded = WORDED_OPTION.fullmatch(gold)
    if letters and worded:
        return Decision(decide(worded["wording"].strip(), answer).correct, "choice")
    return UNDECIDED if letters else decide(gold, answer)


def option_letters(text: str) -> str:
    """The chosen letters in order: `AC` of `A, C`, `C` of `(C)` and of `C. 3`; empty when it is no choice."""
    if OPTIONS.fullmatch(text):
        return "".join(sorted({letter for letter in text if letter in LETTERS}))
    match = OPTION.fullmatch(text)
    return match[1] if match else ""


def chosen_letter(text: str) -> str:
    """The letter of `Option C`, `选C`, `the answer is (C)`, or of a lone small letter; empty where there is none."""
    match = CHOSEN.fullmatch(text)
    return (match[1] or match[2]).upper() if match else ""


def _only_letter(text: str) -> str:
    """The one letter that stands alone before a first comma: `for sure D, not A`; empty where there are several."""
    clause = re.split(r"[,;.，。；]", text, maxsplit=1)[0]
    letters = set(LONE_LETTER.findall(clause))
    return letters.pop() if len(letters) == 1 and not NEGATED.search(clause) else ""


def words(gold: str, answer: str) -> Decision:
    """Compare texts, blind to case, spaces and punctuation; different texts may still mean the same."""
    left, right = (PUNCTUATION.sub("", text.casefold()) for text in (gold, answer))
    if left == right and figures(gold) == figures(answer) and _same_ends(gold, answer):
        return Decision(bool(left), "text")
    one_sign_each = len(left) == len(right) == 1 and CHINESE.match(left) and CHINESE.match(right)
    return Decision(False, "text") if one_sign_each else UNDECIDED


def _same_ends(gold: str, answer: str) -> bool:
    """Whether two texts have the same brackets, where both have some beside figures: `(0,1]` is not `[0,1)`."""
    ends = ["".join(re.findall(r"[\[\]()（）]", text)) for text in (gold, answer)]
    return ends[0] == ends[1] or "" in ends or not figures(gold)


def figures(text: str) -> list[str]:
    """The numbers in a text: without its punctuation `1:11` would be `11:1`, and -3 be 3."""
    return FIGURES.findall(GROUPED.sub(lambda number: number[0].replace(",", ""), text))


def _numbers(gold: str, answer: str) -> Decision:
    left, right = read_number(gold), read_number(answer)
    if left is None or right is None:
        return UNDECIDED
    if left.percent != right.percent:
        return Decision(False, "percent") if "circ" in gold + answer else _one_percent(left, right)
    if left.value == right.value:
        return Decision(True, "number")
    if (left.grouped or right.grouped) and not (left.exact and right.exact):
        return Decision(None, "number")
    far = abs(left.value - right.value) * APART > max(abs(left.value), abs(right.value))
    return Decision(False if far or (left.exact and right.exact) else None, "number")


def _one_percent(left: Value, right: Value) -> Decision:
    """`50%` is 0.5, and is what was asked for when the other side is a plain 50 (but 0.5 is not 0.5%)."""
    share, plain = (left, right) if left.percent else (right, left)
    if share.value == plain.value * 100 or (share.value == plain.value and abs(plain.value) >= 1):
        return Decision(True, "percent")
    near = any(abs(share.value - value) * APART <= abs(share.value) for value in (plain.value, plain.value * 100))
    return Decision(None if near else False, "percent")


def _based(gold: str, answer: str) -> Decision:
    left, right = BASED.fullmatch(gold), BASED.fullmatch(answer)
    if left is None:
        return UNDECIDED
    if right is not None:
        same = [left[part].strip("{}") == right[part].strip("{}") for part in ("digits", "base")]
        if all(same) or same[1]:
            return Decision(all(same), "base")
        values = in_base(left), in_base(right)
        # What is no number in its base is the name of a variable.
        return Decision(False, "base") if None in values or values[0] != values[1] else UNDECIDED
    if answer == left["digits"]:
        return Decision(True, "base")
    # In base ten it may be right in value, and is not what was asked for.
    return Decision(False, "base") if read_number(answer) is not None else UNDECIDED


def _options(gold: str, answer: str) -> Decision:
    if WORDED_OPTION.fullmatch(gold) or (BARE_OPTION.fullmatch(gold) and WORDED_OPTION.fullmatch(answer)):
        return choice(gold, answer)
    for one, other in ((gold, answer), (answer, gold)):
        if SEVERAL_OPTIONS.fullmatch(one) and LISTED_OPTIONS.fullmatch(other):
            return Decision(option_letters(one) == "".join(sorted(set(re.findall("[A-G]", other)))), "choice")
    if gold in "ABCDE" and (small := SMALL_OPTION.fullmatch(answer)):
        return Decision(gold == small[1].upper(), "choice")
    valued = WORDED_OPTION.fullmatch(answer)
    if valued and gold not in LETTERS and decide(gold, valued["wording"].lstrip(". ")).correct:
        # `(C) 117`, where the gold is the number.
        return Decision(True, "choice")
    left, right = (BARE_OPTION.fullmatch(NAMED_OPTION.sub("", text)) for text in (gold, answer))
    if left is None or right is None:
        return UNDECIDED
    return Decision((left[1] or left[2]) == (right[1] or right[2]), "choice")


def _lists(gold: str, answer: str) -> Decision:
    left, right = _listed(gold), _listed(answer)
    if left is None or right is None or left.brackets != right.brackets:
        return UNDECIDED
    if left.brackets == "{}":
        return _sets(left.parts, right.parts, grouped=bool(GROUPED.search(gold) or GROUPED.search(answer)))
    if len(left.parts) != len(right.parts):
        return UNDECIDED
    decisions = [True if a == b else _numbers(a, b).correct for a, b in zip(left.parts, right.parts, strict=True)]
    if all(decisions):
        return Decision(True, "list")
    return Decision(False, "list") if False in decisions else UNDECIDED


def _listed(text: str) -> Listed | None:
    """A list of two or more; a bare one is a set."""
    brackets, parts = listed(text)
    if len(parts) < 2 or not all(parts):
        return None
    return Listed(brackets or "{}", [squeeze(part) for part in parts])


def _sets(gold: list[str], answer: list[str], *, grouped: bool) -> Decision:
    if sorted(gold) == sorted(answer):
        return Decision(True, "list")
    left, right = [read_number(item) for item in gold], [read_number(item) for item in answer]
    if grouped or not all(value is not None and value.exact and not value.percent for value in left + right):
        return UNDECIDED
    values = [sorted(value.value for value in side if value is not None) for side in (left, right)]
    if values[0] == values[1]:
        return Decision(True, "list")
    return Decision(False, "list") if set(values[0]) != set(values[1]) else UNDECIDED
