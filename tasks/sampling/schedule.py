"""Which samples are needed, which to request next, and what is known of each.

A group is one question with its `samples`. What counts is a prefix: the samples 0, 1, 2, ... up to the one that makes
the outcome certain. Whatever finishes beyond it stays in the ledger and out of the tables, so that the same seeds give
the same tables whatever the batching, the order of finishing, or an interruption.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tasks.engines.params import SamplingParams
from tasks.engines.protocol import Request, response_ids
from tasks.records.response import LOOP, TOO_LONG

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


class GroupState:
    """One group while it is sampled: which of its samples are known, and which are needed."""

    def __init__(self, group: Group, offset: int, certainty: Certainty) -> None:
        """All samples unknown; `offset` is the number of its first sample among those of all groups."""
        self.group = group
        self.offset = offset
        self.source = 0
        """Number of the `PromptSamples` that it draws from."""
        self.tokens_saved = 0.0
        """Tokens not generated, once its outcome is certain; an estimate."""
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


class PromptSamples:
    """The samples of one prompt, shared by all groups that have it with the same sampling parameters."""

    def __init__(self, model_id: str, groups: list[GroupState]) -> None:
        """Nothing requested yet."""
        self.groups = groups
        self._model_id = model_id
        self._group = max((state.group for state in groups), key=lambda group: group.samples)
        self.samples = self._group.samples
        self.max_tokens = self._group.sampling.max_tokens
        self.arrived = bytearray(self.samples)
        """Which samples have arrived, as bytes of 0 and 1."""
        self._next = 0

    @property
    def floor(self) -> int:
        """Samples before it count for a group in any case."""
        return max(state.floor for state in self.groups)

    @property
    def bound(self) -> int:
        """Samples from here on count for none."""
        return max(state.bound for state in self.groups)

    @property
    def decided(self) -> bool:
        """Whether every sample that counts has arrived, for every group."""
        return not any(state.missing for state in self.groups)

    @property
    def next(self) -> int:
        """The lowest index that has neither arrived nor been requested."""
        found = self.arrived.find(0, self._next)
        self._next = self.samples if found < 0 else found
        return self._next

    def request(self) -> Request:
        """The request for the next sample, which counts as requested from now on."""
        index = self.next
        self._next += 1
        group = self._group
        return Request(self._model_id, group.prompt, group.sampling, index, self.ids(index, index + 1)[0])

    def ids(self, start: int, stop: int) -> list[str]:
        """The response ids of these samples."""
        return response_ids(self._model_id, self._group.prompt, self._group.sampling, range(start, stop))


def by_prompt(states: list[GroupState], model_id: str) -> list[PromptSamples]:
    """One `PromptSamples` for each prompt and sampling parameters; sets each state's `source`."""
    shared: dict[str, list[GroupState]] = {}
    for state in states:
        first = response_ids(model_id, state.group.prompt, state.group.sampling, [0])[0]
        shared.setdefault(first, []).append(state)
    for number, those in enumerate(shared.values()):
        for state in those:
            state.source = number
    return [PromptSamples(model_id, those) for those in shared.values()]


class Schedule:
    """The samples in flight, and which to request next.

    What is needed in any case goes first, then new prompts, then what may be needed. Samples of one prompt that are
    certain to count are requested one after another, so that they share its prefix; none of them is ever wasted. New
    prompts are taken up in order as slots fall free. Only when none is left, at the end of a run, slots are filled with
    samples that may turn out not to count: nearest to the certain ones first.
    """

    def __init__(self, prompts: list[PromptSamples]) -> None:
        """Nothing in flight."""
        self._prompts = prompts
        self._new = deque(range(len(prompts)))
        self._needed: deque[int] = deque()
        self._flying: dict[str, tuple[int, int]] = {}
        """By response id: number of the prompt, sample index."""
        self.undecided = {number for number, one in enumerate(prompts) if not one.decided}
        """Numbers of the undecided prompts."""

    @property
    def in_flight(self) -> int:
        """Samples in flight."""
        return len(self._flying)

    def next(self, concurrency: int) -> list[Request]:
        """Requests to send now, so that `concurrency` are in flight, or as many as there are."""
        requests: list[Request] = []
        while self.in_flight < concurrency and (self._needed or self._new):
            number = (self._needed or self._new).popleft()
            prompt = self._prompts[number]
            if number in self.undecided and prompt.next < prompt.floor:
                requests.append(self._request(number))
                self._needed.appendleft(number)
        if self.in_flight < concurrency:
            requests += self._speculate(concurrency)
        return requests

    def _speculate(self, concurrency: int) -> list[Request]:
        """Samples beyond the certain ones; those of all undecided prompts in turn, each step one further."""
        requests: list[Request] = []
        near = [
            (one.next - one.floor, number)
            for number in self.undecided
            if (one := self._prompts[number]).next < one.bound
        ]
        heapify(near)
        while near and self.in_flight < concurrency:
            distance, number = near[0]
            requests.append(self._request(number))
            if self._prompts[number].next < self._prompts[number].bound:
                heapreplace(near, (distance + 1, number))
            else:
                heappop(near)
        return requests

    def _request(self, number: int) -> Request:
        request = self._prompts[number].request()
        self._flying[request.response_id] = (number, request.sample_index)
        return request

    def finish(self, response_id: str) -> tuple[int, int] | None:
        """Prompt and sample index of a response that was in flight; None when it was not, or no longer."""
        return self._flying.pop(response_id, None)

    def update(self, number: int) -> list[str]:
        """Note that more is known of a prompt; returns the ids of its samples in flight that cannot count any more."""
        prompt = self._prompts[number]
        if prompt.decided:
            self.undecided.discard(number)
        elif prompt.next < prompt.floor:
            self._needed.append(number)
        beyond = prompt.ids(prompt.bound, prompt.next) if prompt.next > prompt.bound else []
        return [key for key in beyond if self._flying.pop(key, None)]


FINISH_REASONS = ("", "stop", "length", LOOP, TOO_LONG)
"""By their number; 0: the sample has not arrived."""

SAMPLES = pl.Schema(
    {
        "key": pl.String,
        "number": pl.Int64,
        "response_id": pl.String,
        "sample_index": pl.Int64,
        "finish_reason": pl.String,
        "n_tokens": pl.Int64,
        "opened": pl.String,
        "finished_at": pl.Float64,
    }
)
"""The samples that count, in the order of groups and sample index. `number` is a sample's among those of all groups;
`opened` goes before the response's text."""


class Arrival(NamedTuple):
    """A sample that has arrived, from the ledger or the engine."""

    prompt: int
    """Its number."""
    sample: int
    text: str
    finish_reason: str
    n_tokens: int
    seconds: float
    engine: str
    finished_at: float


def offsets(sizes: Sequence[int]) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """Where each of several runs of entries begins when they stand in one array, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, np.int64))]).astype(np.int64)


def busy_seconds(finished_at: "np.ndarray[Any, Any]", seconds: "np.ndarray[Any, Any]") -> float:
    """How long at least one of these responses was being generated: the union of the times [finish - seconds, finish].

    The start of an engine, and the pause between a run that was killed and the next, are no part of it.
    """
    if not len(finished_at):
        return 0.0
    started = finished_at - seconds
    order = np.argsort(started, kind="stable")
    started, ended = started[order], np.maximum.accumulate(finished_at[order])
    idle = np.maximum(started[1:] - ended[:-1], 0.0).sum()
    return float(ended[-1] - started[0] - idle)


class SampleStore:
    """What is known of each sample in a few bytes, so that millions fit in memory; texts stay in the ledger.

    One entry a sample, in the order of prompts and sample index.
    """

    def __init__(self, prompts: Sequence[PromptSamples]) -> None:
        """No sample has arrived."""
        self.offset = offsets([one.samples for one in prompts])
        size = self.offset[-1]
        self._reason = np.zeros(size, np.int8)
        self._tokens = np.zeros(size, np.int32)
        self._seconds = np.zeros(size, np.float32)
        self._finished = np.zeros(size, np.float64)
        self._engine = np.zeros(size, np.int16)
        self._engines: dict[str, int] = {}
        """Numbers by name."""
        self._new = np.zeros(size, np.bool_)

    def add(self, arrival: Arrival, *, new: bool) -> None:
        """Note an arrival, from the ledger or `new`."""
        at = self.offset[arrival.prompt] + arrival.sample
        self._reason[at] = FINISH_REASONS.index(arrival.finish_reason)
        self._tokens[at] = arrival.n_tokens
        self._seconds[at] = arrival.seconds
        self._finished[at] = arrival.finished_at
        self._engine[at] = self._engines.setdefault(arrival.engine, len(self._engines))
        self._new[at] = new

    def saved(self, state: GroupState) -> float:
        """Tokens that a group did not draw, by an estimate: a sample not drawn is as long as its drawn ones."""
        start = self.offset[state.source]
        return float((state.group.samples - state.bound) * self._tokens[start : start + state.bound].mean())

    def counted(self, states: Sequence[GroupState], prompts: Sequence[PromptSamples]) -> pl.DataFrame:
        """The samples that count (SAMPLES): each group's prefix."""
        bounds = np.array([state.bound for state in states], np.int64)
        owner = np.repeat(np.arange(len(states)), bounds)
        index = np.arange(len(owner)) - offsets(list(bounds))[:-1][owner]
        entry = self.offset[[state.source for state in states]][owner] + index if states else index
        ids = [key for state in states for key in prompts[state.source].ids(0, state.bound)]
        table = pl.DataFrame(
            {
                "key": pl.Series([state.group.key for state in states], dtype=pl.String).gather(owner),
                "number": np.array([state.offset for state in states], np.int64)[owner] + index,
                "response_id": pl.Series(ids, dtype=pl.String),
                "sample_index": index,
                "finish_reason": pl.Series(FINISH_REASONS).gather(self._reason[entry]),
                "n_tokens": self._tokens[entry],
                "opened": pl.Series([state.group.opened for state in states], dtype=pl.String).gather(owner),
                "finished_at": self._finished[entry],
            }
        )
        return table.select(pl.col(name).cast(kind) for name, kind in SAMPLES.items())

    def facts(self, states: Sequence[GroupState], prompts: Sequence[PromptSamples]) -> dict[str, Any]:
        """What counts, what it cost when it was generated, and what was not drawn: the same however often it is reused.

        `seconds` (see `busy_seconds`) is None where a row does not record when it finished, as rows of early versions.
        """
        counts, sent = self._masks(prompts)
        finished, seconds = self._finished[sent], self._seconds[sent].astype(np.float64)
        names = list(self._engines)
        return {
            "responses": int(counts.sum()),
            "tokens": int(self._tokens[sent].sum()),
            "seconds": round(busy_seconds(finished, seconds), 1) if finished.all() else None,
            "engines": sorted(name for number in np.unique(self._engine[sent]) if (name := names[number])),
            # `fsum` is exact, so that the order in which groups were decided is not seen.
            "tokens_saved": round(math.fsum(state.tokens_saved for state in states)),
            "samples_not_drawn": sum(state.group.samples - state.bound for state in states),
            "truncated": int((counts & (self._reason == FINISH_REASONS.index("length"))).sum()),
            "looped": int((counts & (self._reason == FINISH_REASONS.index(LOOP))).sum()),
            "too_long": int((counts & ~sent).sum()),
        }

    def reused(self, prompts: Sequence[PromptSamples]) -> tuple[int, int]:
        """Responses that count: those from the ledger, and those that this run generated."""
        _, sent = self._masks(prompts)
        return int((sent & ~self._new).sum()), int((sent & self._new).sum())

    def _masks(self, prompts: Sequence[PromptSamples]) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
        """Which samples count, and which of those fitted the context, so that something was generated."""
        counts = np.zeros(len(self._reason), np.bool_)
        for number, one in enumerate(prompts):
            counts[self.offset[number] : self.offset[number] + one.bound] = True
        return counts, counts & (self._reason != FINISH_REASONS.index(TOO_LONG))
