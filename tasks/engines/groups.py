"""A group, the samples of one question: what is known of it, and how many of its samples can still count."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tasks.engines.params import SamplingParams
from tasks.engines.protocol import Request, make_request
from tasks.records.response import Response


class Group(NamedTuple):
    """The samples of one question."""

    key: str
    """The id of the question or item."""
    prompt: str
    gold: str
    kind: str
    samples: int
    sampling: SamplingParams


class Drawn(NamedTuple):
    """One response to a group's prompt."""

    group: Group
    response: Response


Rule = Callable[[int, int], bool]
"""`rule(correct, drawn)`: whether the outcome is certain after `drawn` samples of which `correct` are right."""
Judge = Callable[[Sequence[Drawn]], Sequence[bool]]
"""Which of these responses are right, in order."""


def never(_correct: int, _drawn: int) -> bool:
    """The rule that never stops: every sample is drawn."""
    return False


class State:
    """One group while it is sampled."""

    def __init__(self, group: Group, model_id: str) -> None:
        """Nothing known yet, and every sample may count."""
        self.group = group
        self.bound = group.samples
        """Samples at index `bound` and beyond cannot count any more."""
        self.next = 0
        """The lowest index not yet asked for."""
        self.correct: dict[int, bool] = {}
        self.model_id = model_id
        self.first_id = self.request(0).response_id

    def request(self, index: int) -> Request:
        """The request for one of the group's samples."""
        return make_request(self.model_id, self.group.prompt, self.group.sampling, index)

    @property
    def decided(self) -> bool:
        """Whether every sample that counts is there."""
        return all(index in self.correct for index in range(self.bound))

    def mark(self, index: int, correct: bool, rule: Rule) -> None:
        """Note a result. The bound is the later end of the two extreme cases: all that is unknown right, or wrong."""
        self.correct[index] = correct
        ends = (self._end(rule, unknown=False), self._end(rule, unknown=True))
        self.bound = min(self.bound, max(ends))

    def _end(self, rule: Rule, *, unknown: bool) -> int:
        right = 0
        for index in range(self.group.samples):
            right += self.correct.get(index, unknown)
            if rule(right, index + 1):
                return index + 1
        return self.group.samples
