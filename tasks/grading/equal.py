"""Whether a normalised answer equals a normalised gold, by a benchmark's rules: all that is decided in this process.

First the exact rules (`decide`), then values, units and words (`equal`); the symbolic check gets the rest.
"""

import re
from typing import NamedTuple

from tasks.grading.brackets import GROUPED, BracketList, read_list
from tasks.grading.expression import evaluate, parse
from tasks.grading.latex import plain, squeeze
from tasks.grading.relations import same_residues
from tasks.grading.rules import Rules
from tasks.grading.structure import compare_parts
from tasks.grading.units import (
    Quantity,
    measure,
    read_quantity,
    read_short_quantities,
    read_short_quantity,
    same_ratio,
    same_time,
)
from tasks.grading.values import BASED, Number, compare_measures, equal_when_rounded, read_number, value_in_base
from tasks.grading.words import SYNONYMS, as_digits, different_words, leading_word, plain_words

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
"""An answer that negates its letter, or names another one too."""
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
NUMBERS_IN = re.compile(r"(?:(?<![\w)}])-)?[0-9]+(?:\.[0-9]+)?")
PUNCTUATION = re.compile(r"[\s,.;:!?'\"“”‘’()（）\[\]{}\\]+|(?<=[^\W\d_])-(?=[^\W\d_])")


class Decision(NamedTuple):
    """Whether the answer is right (None: undecided), and the rule that decided."""

    correct: bool | None
    rule: str


UNDECIDED = Decision(None, "none")


def decide(gold: str, answer: str) -> Decision:
    """Compare two squeezed answers exactly under the rules for `auto`, in microseconds; never wrong when it decides.

    Decimals that differ by less than 5% stay open (`decide_rounded` then compares them), as do lists in which a comma
    might be a thousands separator.
    """
    if gold == answer or (";" in gold and gold.replace(";", ",") == answer.replace(";", ",")):
        return Decision(bool(gold), "string")
    if COMMA_DECIMAL.fullmatch(answer) and answer.replace(",", ".") == gold:
        return Decision(True, "number")
    for rule in (_numbers, _bases, _options, _lists):
        decision = rule(gold, answer)
        if decision.rule != "none":
            return decision
    if WORDS.fullmatch(gold) and len(gold) > 2 and gold.casefold() == answer.casefold() and "\\" not in answer:
        return Decision(True if len(gold) > 3 or gold.casefold() in {"yes", "odd"} else None, "word")
    return UNDECIDED


def drop_variable(gold: str, answer: str) -> tuple[str, str]:
    """Drop the variable where one side alone names it: `x=5` and `5` are compared as `5` and `5`."""
    left, right = ASSIGNED.fullmatch(gold), ASSIGNED.fullmatch(answer)
    if left is not None and right is None and "=" not in answer:
        return left["value"].strip(), answer
    if right is not None and left is None and "=" not in gold:
        return gold, right["value"].strip()
    return gold, answer


def decide_rounded(gold: str, answer: str) -> Decision:
    """Decide two numbers that `decide` left open: right when one is the other, rounded to its last place."""
    left, right = read_number(gold), read_number(answer)
    if left is None or right is None or left.grouped or right.grouped:
        return UNDECIDED
    return Decision(equal_when_rounded(left, right), "rounding")


def decide_choice(gold: str, answer: str) -> Decision:
    """Compare choice letters; the text of a gold such as `C. 3` is right too."""
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
    """The only separate letter before the first comma: `for sure D, not A`; empty where there are several."""
    clause = re.split(r"[,;.，。；]", text, maxsplit=1)[0]
    letters = set(LONE_LETTER.findall(clause))
    return letters.pop() if len(letters) == 1 and not NEGATED.search(clause) else ""


def decide_words(gold: str, answer: str) -> Decision:
    """Compare texts, blind to case, spaces and punctuation; different texts may still mean the same."""
    left, right = (PUNCTUATION.sub("", text.casefold()) for text in (gold, answer))
    if left == right and numbers_in(gold) == numbers_in(answer) and _same_ends(gold, answer):
        return Decision(bool(left), "text")
    one_sign_each = len(left) == len(right) == 1 and CHINESE.match(left) and CHINESE.match(right)
    return Decision(False, "text") if one_sign_each else UNDECIDED


def _same_ends(gold: str, answer: str) -> bool:
    """Whether two texts have the same brackets, where both have brackets and numbers: `(0,1]` is not `[0,1)`."""
    ends = ["".join(re.findall(r"[\[\]()（）]", text)) for text in (gold, answer)]
    return ends[0] == ends[1] or "" in ends or not numbers_in(gold)


def numbers_in(text: str) -> list[str]:
    """The numbers in a text: without its punctuation `1:11` would be `11:1`, and -3 be 3."""
    return NUMBERS_IN.findall(GROUPED.sub(lambda number: number[0].replace(",", ""), text))


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


def _one_percent(left: Number, right: Number) -> Decision:
    """`50%` is 0.5, and also equals a plain 50, which the question may want in percent (but 0.5 is not 0.5%)."""
    share, plain = (left, right) if left.percent else (right, left)
    if share.value == plain.value * 100 or (share.value == plain.value and abs(plain.value) >= 1):
        return Decision(True, "percent")
    near = any(abs(share.value - value) * APART <= abs(share.value) for value in (plain.value, plain.value * 100))
    return Decision(None if near else False, "percent")


def _bases(gold: str, answer: str) -> Decision:
    left, right = BASED.fullmatch(gold), BASED.fullmatch(answer)
    if left is None:
        return UNDECIDED
    if right is not None:
        same = [left[part].strip("{}") == right[part].strip("{}") for part in ("digits", "base")]
        if all(same) or same[1]:
            return Decision(all(same), "base")
        values = value_in_base(left), value_in_base(right)
        # Digits that do not exist in the base: the name of a variable.
        return Decision(False, "base") if None in values or values[0] != values[1] else UNDECIDED
    if answer == left["digits"]:
        return Decision(True, "base")
    # In base ten it may be right in value, but not in the base that the question wants.
    return Decision(False, "base") if read_number(answer) is not None else UNDECIDED


def _options(gold: str, answer: str) -> Decision:
    if WORDED_OPTION.fullmatch(gold) or (BARE_OPTION.fullmatch(gold) and WORDED_OPTION.fullmatch(answer)):
        return decide_choice(gold, answer)
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
    left, right = _as_list(gold), _as_list(answer)
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


def _as_list(text: str) -> BracketList | None:
    """A list of two or more; a bare one is a set."""
    brackets, parts = read_list(text)
    if len(parts) < 2 or not all(parts):
        return None
    return BracketList(brackets or "{}", [squeeze(part) for part in parts])


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


PROSE = re.compile(r"[A-Za-z]{3,}|[\u4e00-\u9fff]")
WORD = re.compile(r"[A-Za-z][A-Za-z' .-]{2,}")
ORDERED = {"set": False, "tuple": True}
"""Whether the order of a list counts for a kind whose rules do not say."""


class Outcome(NamedTuple):
    """A decision, or the reason for none."""

    decision: Decision
    reason: str | None = None
    """Why the symbolic check would not help."""


def equal(rules: Rules, gold: str, answer: str) -> Outcome:
    """Whether two normalised answers are equal."""
    plain_gold, plain_answer = squeeze(gold), squeeze(answer)
    if rules.kind == "choice":
        chosen = decide_choice(plain_gold, plain_answer)
        return Outcome(
            chosen if chosen.correct is not None else decide_choice(plain(gold), plain(answer)), "not_a_choice"
        )
    if plain_gold.isalpha() and plain_words(plain_gold) in ("yes", "no"):
        answer = leading_word(plain(answer))
        plain_answer = squeeze(answer)
    decision = _decide_by_rules(rules, plain_gold, plain_answer)
    if rules.tolerance is not None and not decision.correct:
        near = _decide_by_tolerance(gold, answer, rules.tolerance)
        decision = near if near.correct is not None else decision
    if decision.correct is None:
        decision = decide_rounded(plain_gold, plain_answer)
    if decision.correct is not None:
        return Outcome(decision)
    return _decide_by_value(rules, gold, answer)


def _decide_by_rules(rules: Rules, gold: str, answer: str) -> Decision:
    if rules.kind == "text":
        return decide(gold, answer) if read_number(gold) and read_number(answer) else decide_words(gold, answer)
    if rules.kind == "integer" and ("%" in gold) != ("%" in answer):
        return Decision(False, "percent")
    order = _order(rules)
    if order is not None and max(len(read_list(text).parts) for text in (gold, answer)) > 1:
        return Decision(compare_parts(gold, answer, ordered=order), "list")
    return decide(gold, answer)


def _order(rules: Rules) -> bool | None:
    return ORDERED.get(rules.kind) if rules.ordered is None else rules.ordered


def _decide_by_tolerance(gold: str, answer: str, tolerance: float) -> Decision:
    """Whether two quantities, or the parts of two lists, agree within the tolerance; open where one has no value."""
    left, right = read_list(gold), read_list(answer)
    if len(left.parts) > 1 and len(left.parts) == len(right.parts) and left.brackets == right.brackets:
        found = [_decide_by_tolerance(*pair, tolerance).correct for pair in zip(left.parts, right.parts, strict=True)]
        return Decision(None if None in found else all(found), "tolerance")
    sides = _quantities(gold, answer)
    units = [measure(side.unit) for side in sides]
    if sides[0].unit and sides[1].unit and sides[0].unit != sides[1].unit and None not in units:
        scales = [unit.size if unit else 1.0 for unit in units]
        if units[0] and units[1] and units[0].dimension != units[1].dimension:
            return Decision(False, "unit")
    elif sides[0].unit and sides[1].unit and sides[0].unit != sides[1].unit:
        return UNDECIDED
    else:
        scales = [1.0, 1.0]
    values = [_constant(side.body) for side in sides]
    if values[0] is None or values[1] is None:
        return UNDECIDED
    expected, given = (value * scale for value, scale in zip(values, scales, strict=True) if value is not None)
    percent = [side.body.endswith("%") for side in sides]
    if percent[0] != percent[1]:
        # 50% is 0.5, and a plain 50.
        plain = given if percent[0] else expected
        expected, given = (
            (expected, given * 100)
            if percent[0] and abs(plain) < 1
            else ((expected * 100, given) if percent[1] and abs(plain) < 1 else (expected, given))
        )
    return Decision(abs(expected - given) <= tolerance * abs(expected), "tolerance")


def _constant(text: str) -> float | None:
    """The value of a number or an expression without variables, where it is real."""
    number = read_number(squeeze(text))
    if number is not None:
        return float(number.value)
    parsed = parse(text)
    value = evaluate(parsed) if parsed is not None and not parsed.names else None
    return None if value is None or abs(complex(value).imag) > 0 else complex(value).real


def _decide_by_value(rules: Rules, gold: str, answer: str) -> Outcome:
    clock = same_time(plain(gold), plain(answer)) if ":" in gold and ":" in answer else None
    if clock is not None:
        return Outcome(Decision(clock, "time"))
    if (proportional := same_ratio(gold, answer)) is not None:
        return Outcome(Decision(proportional, "ratio"))
    if ("\\equiv" in gold + answer or "mod" in gold + answer) and (
        congruent := same_residues(plain(gold), plain(answer))
    ) is not None:
        return Outcome(Decision(congruent, "congruence"))
    left, right = _quantities(gold, answer)
    if left.unit and right.unit and left.unit != right.unit:
        return _other_units(left, right)
    left, right = _in_degrees(left, right.body), _in_degrees(right, left.body)
    bodies = squeeze(left.body), squeeze(right.body)
    if left.unit or right.unit:
        decision = decide(*bodies)
        decision = decision if decision.correct is not None else decide_rounded(*bodies)
        if decision.correct is not None:
            return Outcome(Decision(decision.correct, "unit"))
    equal = None if rules.kind == "text" else compare_parts(left.body, right.body, ordered=_order(rules))
    if equal is not None:
        return Outcome(Decision(equal, "value"))
    return _decide_worded(rules, plain(left.body), plain(right.body))


def _quantities(gold: str, answer: str) -> tuple[Quantity, Quantity]:
    """Both without their units; where one side has a unit, the other's may be short, or the sign for degrees."""
    left, right = read_quantity(gold), read_quantity(answer)
    if not left.unit and not right.unit and (short := read_short_quantities(gold, answer)):
        return short
    if left.unit or (not right.unit and read_number(squeeze(gold))):
        right = right if right.unit else _short_or_degrees(answer)
    elif right.unit:
        left = _short_or_degrees(gold)
    return left, right


def _in_degrees(side: Quantity, other: str) -> Quantity:
    """`45 degrees` with the degree sign that makes it a number, where the other side is `\\frac{\\pi}{4}`."""
    angle = side.unit == "degree" and "\\pi" in other and read_number(squeeze(side.body))
    return Quantity(f"{side.body}^{{\\circ}}", "") if angle else side


def _short_or_degrees(text: str) -> Quantity:
    found = read_short_quantity(text)
    return Quantity(text, "degree") if not found.unit and text.endswith("\\circ") else found


def _other_units(gold: Quantity, answer: Quantity) -> Outcome:
    """Two quantities in different units: by value, where both are known."""
    if {gold.unit, answer.unit} == {"gbp", "lb"}:
        # Pounds are money too.
        gold, answer = gold._replace(unit="gbp"), answer._replace(unit="gbp")
    left, right = measure(gold.unit), measure(answer.unit)
    if left is None or right is None:
        return Outcome(Decision(None, "unit"), "units_differ")
    if left.dimension != right.dimension:
        return Outcome(Decision(False, "unit"))
    return Outcome(Decision(compare_measures(gold.body, left.size, answer.body, right.size), "unit"), "units_differ")


def _decide_worded(rules: Rules, gold: str, answer: str) -> Outcome:
    """Answers in words: the same, plainly different, a word against a number; or open."""
    decision = decide_words(plain_words(gold), plain_words(answer))
    prose = rules.kind == "text" or plain_words(gold) in SYNONYMS or (PROSE.search(gold) and "\\" not in gold + answer)
    if decision.correct and prose and numbers_in(as_digits(gold)) == numbers_in(as_digits(answer)):
        return Outcome(decision)
    if decision.correct:
        decision = UNDECIDED
    if CHINESE.search(gold) or CHINESE.search(answer) or rules.kind == "text" or WORD.fullmatch(gold):
        if decision.correct is None and different_words(gold, answer):
            decision = Decision(False, "words")
        return Outcome(decision, "text_differs")
    if WORD.fullmatch(answer) and parse(gold) is not None:
        return Outcome(Decision(False, "words"))
    return Outcome(Decision(None, "none"))
