"""Constants that may be any number: the `C` of an antiderivative, the `c_1` and `c_2` of a general solution."""

import re
from itertools import permutations

from tasks.grading.expression import POINTS, equal_values, evaluate, same
from tasks.grading.reader import Node, Parsed
from tasks.grading.trees import divides_by, substituted

INTEGRATION = re.compile(r"(?<=.)\+ ?[CcKk]$")
OF_A_VARIABLE = re.compile(r"[xtuyz]|\\theta")
OTHER_PARAMETER = re.compile(
    r"(?<![A-Za-z\\])(?![xtuyzei](?![A-Za-z]))[a-z](?![A-Za-z])|(?<![A-Za-z\\])[a-z]{2}(?![A-Za-z])"
)
CONSTANT = re.compile(r"[ABCKck](?:_[0-9])?")
NUMBERED = re.compile(r"[Cc]_[0-9]")
MAX_CONSTANTS = 3


def without_constant(gold: str, answer: str) -> tuple[str, str] | None:
    """Two antiderivatives without their `+ C`; None where either is none."""
    found = INTEGRATION.search(gold), INTEGRATION.search(answer)
    if not (found[0] and found[1] and OF_A_VARIABLE.search(gold)):
        return None
    if not found[0][0].endswith("C") and OTHER_PARAMETER.search(gold[: found[0].start()]):
        # The c of ax + c is as given as the a.
        return None
    return gold[: found[0].start()].strip(), answer[: found[1].start()].strip()


def by_a_constant(left: Parsed, right: Parsed) -> bool:
    """Whether two expressions of variables differ by the same number everywhere, as two antiderivatives may."""
    values = [(evaluate(left, point), evaluate(right, point)) for point in range(POINTS)]
    pairs = [(complex(one), complex(other)) for one, other in values if one is not None and other is not None]
    if len(pairs) < POINTS or not (left.names or right.names):
        return False
    size = max(abs(value) for pair in pairs for value in pair)
    first, *others = (one - other for one, other in pairs)
    # Compared beside the values, since the difference of large ones is rounded as they are.
    return all(equal_values(size + first, size + other) for other in others)


def renamed(left: Parsed, right: Parsed, fewest: int) -> bool:
    """Whether two general solutions are the same but for the names of their constants, or the order of these.

    Args:
        fewest: constants that there must be: one letter alone may be no constant at all.
    """
    own = [sorted(name for name in side.names if CONSTANT.fullmatch(name)) for side in (left, right)]
    variables = [side.names.difference(names) for side, names in zip((left, right), own, strict=True)]
    if len(own[0]) != len(own[1]) or not fewest <= len(own[0]) <= MAX_CONSTANTS or not variables[0]:
        return False
    numbered = [all(map(NUMBERED.fullmatch, names)) for names in own]
    # What stands on both sides, or below a fraction bar, is given and not chosen.
    if set(own[0]) & set(own[1]) and (own[0] != own[1] or not all(numbered)):
        return False
    alone = len(own[0]) == 1 and all("_" in name and name[0] not in "Cc" for names in own for name in names)
    if alone or divides_by(left.node, own[0]) or divides_by(right.node, own[1]):
        return False
    if variables[0] != variables[1] or (fewest > 1 and not any(numbered)):
        return False
    return any(same(left, _with_names(right, dict(zip(own[1], order, strict=True)))) for order in permutations(own[0]))


def _with_names(parsed: Parsed, names: dict[str, str]) -> Parsed:
    others: dict[Node, Node] = {("var", old): ("var", new) for old, new in names.items()}
    return Parsed(substituted(parsed.node, others), frozenset(names.get(name, name) for name in parsed.names))
