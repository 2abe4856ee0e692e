"""When an outcome is certain: which samples are needed in any case, and which cannot count any more."""

from collections.abc import Callable
from typing import NamedTuple

Rule = Callable[[int, int], bool]
"""`rule(correct, drawn)`: whether the outcome is certain after `drawn` samples of which `correct` are right."""

UNKNOWN, WRONG, RIGHT = range(3)
"""What is known of a sample, as a byte."""


class Span(NamedTuple):
    """What is certain of the prefix that will count: it holds `floor` samples at least and `bound` at most."""

    floor: int
    bound: int


class Certainty:
    """A rule, tabulated for groups of so many samples."""

    def __init__(self, rule: Rule, samples: int) -> None:
        """Ask the rule once for each count; bit `c` of `_stops[d - 1]` says that `c` right of `d` end the sampling."""
        self._stops = [
            sum(1 << correct for correct in range(drawn + 1) if rule(correct, drawn)) for drawn in range(1, samples + 1)
        ]
        self._ends = any(self._stops)

    def span(self, known: bytearray) -> Span:
        """The shortest and the longest prefix over every way that the unknown samples can turn out.

        The numbers of right samples that can still be reached are kept as the bits of an integer. Exact for any rule.
        """
        if not self._ends:
            return Span(len(known), len(known))
        reachable, floor = 1, 0
        for drawn, (state, stops) in enumerate(zip(known, self._stops, strict=True), 1):
            if state == RIGHT:
                reachable <<= 1
            elif state == UNKNOWN:
                reachable |= reachable << 1
            if stopped := reachable & stops:
                floor = floor or drawn
                reachable ^= stopped
                if not reachable:
                    return Span(floor, drawn)
        return Span(floor or len(known), len(known))


def never(_correct: int, _drawn: int) -> bool:
    """The rule that never stops: every sample is drawn."""
    return False
