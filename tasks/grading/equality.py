"""Whether a tidied answer equals a tidied gold, by a benchmark's rules: everything that is decided in this process."""

import re
from typing import NamedTuple

from tasks.grading.congruences import same_classes
from tasks.grading.expression import evaluate
from tasks.grading.fast import CHINESE, UNDECIDED, Decision, choice, decide, figures, rounded, words
from tasks.grading.listing import listed
from tasks.grading.normalise import Quantity, plain, squeeze
from tasks.grading.quantities import both_short, quantity, short_quantity
from tasks.grading.reader import read
from tasks.grading.rules import Rules
from tasks.grading.scalars import multiples
from tasks.grading.structure import compare
from tasks.grading.times import same_ratio, same_time
from tasks.grading.units import measure
from tasks.grading.values import read_number
from tasks.grading.wording import ALIKE, different_words, leading_word, numeral, plain_words

PROSE = re.compile(r"[A-Za-z]{3,}|[\u4e00-\u9fff]")
WORD = re.compile(r"[A-Za-z][A-Za-z' .-]{2,}")
ORDERED = {"set": False, "tuple": True}
"""What a kind says of the order of a list where the rules do not."""


class Open(NamedTuple):
    """A decision, or why there is none."""

    decision: Decision
    reason: str | None = None
    """Why the symbolic check would not help."""


def equal(rules: Rules, gold: str, answer: str) -> Open:
    """Whether two tidied answers are equal."""
    plain_gold, plain_answer = squeeze(gold), squeeze(answer)
    if rules.kind == "choice":
        chosen = choice(plain_gold, plain_answer)
        return Open(chosen if chosen.correct is not None else choice(plain(gold), plain(answer)), "not_a_choice")
    if plain_gold.isalpha() and plain_words(plain_gold) in ("yes", "no"):
        answer = leading_word(plain(answer))
        plain_answer = squeeze(answer)
    decision = _exactly(rules, plain_gold, plain_answer)
    if rules.tolerance is not None and not decision.correct:
        near = _near(gold, answer, rules.tolerance)
        decision = near if near.correct is not None else decision
    if decision.correct is None:
        decision = rounded(plain_gold, plain_answer)
    if decision.correct is not None:
        return Open(decision)
    return _without_units(rules, gold, answer)


def _exactly(rules: Rules, gold: str, answer: str) -> Decision:
    if rules.kind == "text":
        return decide(gold, answer) if read_number(gold) and read_number(answer) else words(gold, answer)
    if rules.kind == "integer" and ("%" in gold) != ("%" in answer):
        return Decision(False, "percent")
    order = _order(rules)
    if order is not None and max(len(listed(text).parts) for text in (gold, answer)) > 1:
        return Decision(compare(gold, answer, ordered=order), "list")
    return decide(gold, answer)


def _order(rules: Rules) -> bool | None:
    return ORDERED.get(rules.kind) if rules.ordered is None else rules.ordered


def _near(gold: str, answer: str, tolerance: float) -> Decision:
    """Whether two quantities, or the parts of two lists, agree within the tolerance; open where one has no value."""
    left, right = listed(gold), listed(answer)
    if len(left.parts) > 1 and len(left.parts) == len(right.parts) and left.brackets == right.brackets:
        found = [_near(*pair, tolerance).correct for pair in zip(left.parts, right.parts, strict=True)]
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
    parsed = read(text)
    value = evaluate(parsed) if parsed is not None and not parsed.names else None
    return None if value is None or abs(complex(value).imag) > 0 else complex(value).real


def _without_units(rules: Rules, gold: str, answer: str) -> Open:
    clock = same_time(plain(gold), plain(answer)) if ":" in gold and ":" in answer else None
    if clock is not None:
        return Open(Decision(clock, "time"))
    if (proportional := same_ratio(gold, answer)) is not None:
        return Open(Decision(proportional, "ratio"))
    if ("\\equiv" in gold + answer or "mod" in gold + answer) and (
        congruent := same_classes(plain(gold), plain(answer))
    ) is not None:
        return Open(Decision(congruent, "congruence"))
    left, right = _quantities(gold, answer)
    if left.unit and right.unit and left.unit != right.unit:
        return _other_units(left, right)
    left, right = _in_degrees(left, right.body), _in_degrees(right, left.body)
    bodies = squeeze(left.body), squeeze(right.body)
    if left.unit or right.unit:
        decision = decide(*bodies)
        decision = decision if decision.correct is not None else rounded(*bodies)
        if decision.correct is not None:
            return Open(Decision(decision.correct, "unit"))
    equal = None if rules.kind == "text" else compare(left.body, right.body, ordered=_order(rules))
    if equal is not None:
        return Open(Decision(equal, "value"))
    return _worded(rules, plain(left.body), plain(right.body))


def _quantities(gold: str, answer: str) -> tuple[Quantity, Quantity]:
    """Both without their units; where one side has a unit, the other's may be short, or the sign for degrees."""
    left, right = quantity(gold), quantity(answer)
    if not left.unit and not right.unit and (short := both_short(gold, answer)):
        return short
    if left.unit or (not right.unit and read_number(squeeze(gold))):
        right = right if right.unit else _short_or_degrees(answer)
    elif right.unit:
        left = _short_or_degrees(gold)
    return left, right


def _in_degrees(side: Quantity, other: str) -> Quantity:
    """`45 degrees` beside `\\frac{\\pi}{4}` with the sign that makes it a number."""
    angle = side.unit == "degree" and "\\pi" in other and read_number(squeeze(side.body))
    return Quantity(f"{side.body}^{{\\circ}}", "") if angle else side


def _short_or_degrees(text: str) -> Quantity:
    found = short_quantity(text)
    return Quantity(text, "degree") if not found.unit and text.endswith("\\circ") else found


def _other_units(gold: Quantity, answer: Quantity) -> Open:
    """Two quantities in different units: by value, where both are known."""
    if {gold.unit, answer.unit} == {"gbp", "lb"}:
        # Pounds are money too.
        gold, answer = gold._replace(unit="gbp"), answer._replace(unit="gbp")
    left, right = measure(gold.unit), measure(answer.unit)
    if left is None or right is None:
        return Open(Decision(None, "unit"), "units_differ")
    if left.dimension != right.dimension:
        return Open(Decision(False, "unit"))
    return Open(Decision(multiples(gold.body, left.size, answer.body, right.size), "unit"), "units_differ")


def _worded(rules: Rules, gold: str, answer: str) -> Open:
    """Answers in words: the same, plainly others, a word against a number; or open."""
    decision = words(plain_words(gold), plain_words(answer))
    prose = rules.kind == "text" or plain_words(gold) in ALIKE or (PROSE.search(gold) and "\\" not in gold + answer)
    if decision.correct and prose and figures(numeral(gold)) == figures(numeral(answer)):
        return Open(decision)
    if decision.correct:
        decision = UNDECIDED
    if CHINESE.search(gold) or CHINESE.search(answer) or rules.kind == "text" or WORD.fullmatch(gold):
        if decision.correct is None and different_words(gold, answer):
            decision = Decision(False, "words")
        return Open(decision, "text_differs")
    if WORD.fullmatch(answer) and read(gold) is not None:
        return Open(Decision(False, "words"))
    return Open(Decision(None, "none"))
