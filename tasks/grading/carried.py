"""What an answer carries besides its value: a unit, a percent sign, degrees, a base, a currency."""

import re
from collections.abc import Sequence

from tasks.grading.normalise import tidy
from tasks.grading.quantities import short_quantity
from tasks.grading.rules import Carried

SIGNS = {
    "percent": re.compile(r"%|\bpercent\b|百分之"),
    "degrees": re.compile(r"\\circ|°|\\degree|\bdegrees?\b|度"),
    "base": re.compile(r"[0-9A-Z]_(?:[0-9]|\{)"),
    "currency": re.compile(r"\\\$|^\$[0-9.,]+$|[£€¥元]|\bdollars?\b|\bUSD\b|\bcents?\b"),
}
"""Where each shows in an answer as it was written."""


def lacks(gold: str, answer: str, required: Sequence[Carried]) -> Carried | None:
    """The first of `required` that the gold carries and the answer does not."""
    return next((each for each in required if carries(gold, each) and not carries(answer, each)), None)


def carries(text: str, what: Carried) -> bool:
    """Whether an answer, as it was written, carries this."""
    if what == "unit":
        return bool(short_quantity(tidy(text)).unit)
    return bool(SIGNS[what].search(text))
