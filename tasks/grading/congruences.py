r"""Residue classes: `n \equiv 3 \pmod 7`, `n \equiv 1, 4 \pmod 6`, and `n = 7k + 3` beside one of these."""

import re
from math import lcm

CONGRUENCE = re.compile(
    r"(?:(?P<name>[A-Za-z]) ?\\equiv ?)?(?P<residues>-?[0-9]{1,6}(?:, ?-?[0-9]{1,6})*) ?\(? ?\\?[pb]?mod ?\{? ?"
    r"(?P<modulus>[1-9][0-9]{0,5}) ?\}? ?\)?"
)
MULTIPLES = re.compile(
    r"(?:(?P<name>[A-Za-z]) ?= ?)?(?P<modulus>[1-9][0-9]{0,5}) ?(?!(?P=name))[a-z] ?"
    r"(?P<rest>[-+] ?[0-9]{1,6})?(?:,? ?for (?:all|any|some|every|integers?)\b.*|,? ?for [a-z] ?\\ge ?0)?"
)
INTEGER = re.compile(r"-?[0-9]{1,6}")
MAX_MODULUS = 100_000


def same_classes(gold: str, answer: str) -> bool | None:
    """Whether two texts name the same integers; None where neither is a congruence, or either none that is read."""
    if not (CONGRUENCE.fullmatch(gold) or CONGRUENCE.fullmatch(answer)):
        return None
    left, right = _classes(gold), _classes(answer)
    for classes, other in ((left, answer), (right, gold)):
        if classes and INTEGER.fullmatch(other):
            # A residue whose modulus one side leaves out.
            return classes[2] == [int(other)] and 0 <= int(other) < classes[1]
    if left is None or right is None:
        return None
    modulus = lcm(left[1], right[1])
    if (left[0] and right[0] and left[0] != right[0]) or modulus > MAX_MODULUS:
        return None
    written_out = [
        {(residue + step) % modulus for residue in residues for step in range(0, modulus, own)}
        for _, own, residues in (left, right)
    ]
    return written_out[0] == written_out[1]


def _classes(text: str) -> tuple[str | None, int, list[int]] | None:
    """Whose classes they are, the modulus, and the residues."""
    if match := CONGRUENCE.fullmatch(text):
        return match["name"], int(match["modulus"]), [int(each) for each in match["residues"].split(",")]
    if match := MULTIPLES.fullmatch(text):
        return match["name"], int(match["modulus"]), [int((match["rest"] or "0").replace(" ", ""))]
    return None
