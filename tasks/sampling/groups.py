"""A group, the samples of one question, and what is known of them while they are drawn."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tasks.engines.params import SamplingParams
from tasks.engines.protocol import Request, response_ids
from tasks.sampling.outcomes import RIGHT, UNKNOWN, WRONG, Certainty


class Group(NamedTuple):
    """The samples of one question."""

    key: str
    """The id of the question or item."""
    prompt: str
    gold: str
    kind: str
    samples: int
    sampling: SamplingParams
    opened: str = ""
    """The end of the prompt that belongs to the response, such as `<think>`."""


class Drawn(NamedTuple):
    """One response to a group's prompt."""

    group: Group
    place: int
    """Number of the sample among all samples of all groups."""
    text: str
    finish_reason: str


Judge = Callable[[Sequence[Drawn]], Sequence[bool]]
"""Which of these responses are right, in order."""


class State:
    """One group while it is sampled."""

    def __init__(self, group: Group, offset: int, certainty: Certainty) -> None:
        """Nothing known yet; `offset` is the place of its first sample."""
        self.group = group
        self.offset = offset
        self.series = 0
        """Number of the series that it draws from."""
        self._certainty = certainty
        self._known = bytearray(group.samples)
        self.floor, self.bound = certainty.span(self._known)
        """Samples before `floor` count in any case; those from `bound` on cannot."""
        self.missing = self.bound
        """Unknown samples before `bound`."""

    def mark(self, results: Sequence[tuple[int, bool]]) -> None:
        """Note results: a sample's index, and whether it is right."""
        for index, correct in results:
            self._known[index] = RIGHT if correct else WRONG
        self.floor, self.bound = self._certainty.span(self._known)
        self.missing = self._known.count(UNKNOWN, 0, self.bound)


class Series:
    """The samples of one prompt, which all groups share that ask it with the same sampling parameters."""

    def __init__(self, model_id: str, states: list[State]) -> None:
        """Nothing asked for yet."""
        self.states = states
        self._model_id = model_id
        self._group = max((state.group for state in states), key=lambda group: group.samples)
        self.samples = self._group.samples
        self.max_tokens = self._group.sampling.max_tokens
        self.there = bytearray(self.samples)
        """Which samples have come, as bytes of 0 and 1."""
        self._next = 0

    @property
    def floor(self) -> int:
        """Samples before it count for a group in any case."""
        return max(state.floor for state in self.states)

    @property
    def bound(self) -> int:
        """Samples from here on count for none."""
        return max(state.bound for state in self.states)

    @property
    def decided(self) -> bool:
        """Whether every sample that counts is there, for every group."""
        return not any(state.missing for state in self.states)

    @property
    def next(self) -> int:
        """The lowest index that is neither there nor asked for."""
        found = self.there.find(0, self._next)
        self._next = self.samples if found < 0 else found
        return self._next

    def ask(self) -> Request:
        """The request for the next sample, which from now on is asked for."""
        index = self.next
        self._next += 1
        group = self._group
        return Request(self._model_id, group.prompt, group.sampling, index, self.ids(index, index + 1)[0])

    def ids(self, start: int, stop: int) -> list[str]:
        """The response ids of these samples."""
        return response_ids(self._model_id, self._group.prompt, self._group.sampling, range(start, stop))
