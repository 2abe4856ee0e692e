"""Times of the day: `9:05 a.m.`, `20:34`, `20:34:00`; and ratios of three numbers or more, which look like them."""

import re

from tasks.grading.expression import Value, equal_values, evaluate
from tasks.grading.reader import read

CLOCK = re.compile(
    r"(?P<hour>[0-9]{1,2}) ?: ?(?P<minute>[0-5][0-9])(?: ?: ?(?P<second>[0-5][0-9]))? ?(?P<half>[ap]\.? ?m\.?)?",
    re.IGNORECASE,
)


def same_time(gold: str, answer: str) -> bool | None:
    """Whether two texts are the same time of the day; None where either is none."""
    left, right = CLOCK.fullmatch(gold.strip()), CLOCK.fullmatch(answer.strip())
    if left is None or right is None:
        return None
    if not (left["half"] or right["half"]) and _seconds(left) != _seconds(right) and _same_ratio(left, right):
        # 10:15 and 20:30 are one ratio.
        return None
    times = _seconds(left), _seconds(right)
    if bool(left["half"]) != bool(right["half"]) and max(int(left["hour"]), int(right["hour"])) <= 12:
        # One side leaves out which half of the day.
        return (times[0] - times[1]) % (12 * 3600) == 0
    return times[0] == times[1]


def same_ratio(gold: str, answer: str) -> bool | None:
    r"""Whether `1:2:\sqrt{3}` and `2:4:2\sqrt{3}` are one ratio; None where either is none of three numbers or more."""
    left, right = _terms(gold), _terms(answer)
    if not left or not right:
        return None
    if len(left) != len(right) or not all(left + right):
        return left == right
    return all(equal_values(a * right[0], b * left[0]) for a, b in zip(left, right, strict=True))


def _terms(text: str) -> list[Value]:
    """The numbers of a ratio of three or more; none where it is something else."""
    parts = [read(part.strip()) for part in text.split(":")] if text.count(":") > 1 else []
    values = [evaluate(part) for part in parts if part is not None and not part.names]
    found = [value for value in values if value is not None]
    return found if len(found) == len(parts) else []


def _seconds(match: re.Match[str]) -> int:
    """Seconds since midnight."""
    hour = int(match["hour"])
    if match["half"]:
        hour = hour % 12 + (12 if match["half"][0] in "pP" else 0)
    return (hour * 60 + int(match["minute"])) * 60 + int(match["second"] or 0)


def _same_ratio(left: re.Match[str], right: re.Match[str]) -> bool:
    return int(left["minute"]) > 0 and int(left["hour"]) * int(right["minute"]) == int(right["hour"]) * int(
        left["minute"]
    )
