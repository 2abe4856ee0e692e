"""The sampling loop: ledger first, engine kept full, each group stopped as soon as its outcome is certain.

A group is one question with its `samples`. Samples are drawn breadth first, by sample index, so that many questions
are in flight and few samples beyond the deciding one. What counts is the prefix: the samples 0, 1, 2, ... up to the one
that makes the outcome certain. Whatever finishes beyond it stays in the ledger and out of the tables, so that the same
seeds give the same tables whatever the batching, the order of finishing, or an interruption.
"""

import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NamedTuple

from tasks.engines.groups import Drawn, Group, Judge, Rule, State, never
from tasks.engines.ledger import Ledger
from tasks.engines.progress import Progress
from tasks.engines.protocol import Engine, Request
from tasks.records.response import TOO_LONG, Response

POLL_SECONDS = 1.0


class Sampled(NamedTuple):
    """The samples that count, by group and sample index, and the facts of the run."""

    drawn: list[Drawn]
    facts: dict[str, Any]


def sample(
    groups: Sequence[Group],
    *,
    name: str,
    model_id: str,
    ledger: Ledger,
    open_engine: Callable[[], Engine],
    places: int,
    rule: Rule = never,
    judge: Judge | None = None,
) -> Sampled:
    """Draw every group's samples until `rule` says that its outcome is certain.

    Args:
        name: the stage, for progress lines.
        open_engine: starts the engine; not called when the ledger holds all that is needed.
        places: responses in flight at once.
        judge: grades responses; None: nothing is graded, and `rule` sees no correct ones.
    """
    run = _Run(groups, model_id, rule, judge)
    started = time.monotonic()
    with terminate_cleanly(), ledger:
        run.take_from(ledger)
        progress = Progress(name, len(groups))
        if not run.done:
            engine = open_engine()
            try:
                _generate(run, engine, ledger, places, progress)
            finally:
                ledger.flush()
                engine.close()
    return Sampled(run.counted(), run.facts(time.monotonic() - started))


def _generate(run: "_Run", engine: Engine, ledger: Ledger, places: int, progress: Progress) -> None:
    progress.start(run.known)
    while not run.done:
        engine.submit(list(run.next_requests(places)))
        responses = engine.finished(POLL_SECONDS)
        ledger.add([response for response in responses if response.finish_reason != TOO_LONG])
        ledger.flush_if_due()
        engine.cancel(run.take(responses))
        if progress.due():
            progress.tell(run.decided, run.known, run.tokens_generated, run.left)


class _Run:
    """All groups while they are sampled: what is known, what is in flight, what to ask for next."""

    def __init__(self, groups: Sequence[Group], model_id: str, rule: Rule, judge: Judge | None) -> None:
        self._rule, self._judge = rule, judge
        self._states = [State(group, model_id) for group in groups]
        self._open = deque(range(len(groups)))
        self._undecided = set(range(len(groups)))
        self._responses: dict[str, Response] = {}
        self._ledgered: set[str] = set()
        self._twins: dict[str, list[int]] = {}
        """Groups with the same prompt share their responses; by the id of the first."""
        for number, state in enumerate(self._states):
            self._twins.setdefault(state.first_id, []).append(number)
        self._flying: dict[str, int] = {}
        """A group for each response in flight."""
        self.generated = 0
        self.tokens_generated = 0

    @property
    def done(self) -> bool:
        return not self._undecided

    @property
    def decided(self) -> int:
        return len(self._states) - len(self._undecided)

    @property
    def known(self) -> int:
        return len(self._responses)

    @property
    def left(self) -> int:
        """Samples that may still be needed, at most."""
        return sum(self._states[number].bound - len(self._states[number].correct) for number in self._undecided)

    def take_from(self, ledger: Ledger) -> None:
        """Take every response that the ledger has already."""
        wanted = {
            state.request(index).response_id: number
            for number, state in enumerate(self._states)
            for index in range(state.group.samples)
        }
        found = ledger.lookup(wanted)
        self._ledgered.update(found)
        self._settle([(wanted[key], response) for key, response in found.items()])

    def next_requests(self, places: int) -> Iterator[Request]:
        """New requests, one a group in turn, until `places` are in flight or none is left to ask for."""
        while self._open and len(self._flying) < places:
            number = self._open.popleft()
            state = self._states[number]
            while state.next in state.correct:
                state.next += 1
            if state.next >= state.bound:
                continue
            request = state.request(state.next)
            state.next += 1
            self._open.append(number)
            if request.response_id not in self._flying:
                self._flying[request.response_id] = number
                yield request
        assert self._flying or self.done, "undecided groups, and nothing in flight that could decide them"

    def take(self, responses: Sequence[Response]) -> list[str]:
        """Take finished responses; returns the ids in flight that nobody needs any more."""
        sent = [response for response in responses if response.finish_reason != TOO_LONG]
        self.generated += len(sent)
        self.tokens_generated += sum(response.n_tokens for response in sent)
        awaited = [(self._flying.pop(one.response_id), one) for one in responses if one.response_id in self._flying]
        changed = self._settle(awaited)
        return self._drop_unneeded(changed)

    def _settle(self, found: list[tuple[int, Response]]) -> set[int]:
        """Grade responses for every group that shares them; returns those groups."""
        self._responses.update((response.response_id, response) for _, response in found)
        told = [(twin, response) for number, response in found for twin in self._twins[self._states[number].first_id]]
        drawn = [Drawn(self._states[number].group, response) for number, response in told]
        verdicts = self._judge(drawn) if self._judge else [False] * len(drawn)
        for (number, response), correct in zip(told, verdicts, strict=True):
            self._states[number].mark(response.sample_index, correct, self._rule)
        changed = {number for number, _ in told}
        self._undecided -= {number for number in changed if self._states[number].decided}
        return changed

    def _drop_unneeded(self, changed: set[int]) -> list[str]:
        unneeded = []
        for number in changed:
            state = self._states[number]
            bound = max(self._states[twin].bound for twin in self._twins[state.first_id])
            ids = [state.request(index).response_id for index in range(bound, state.next)]
            unneeded += [key for key in ids if self._flying.pop(key, None) is not None]
        return unneeded

    def counted(self) -> list[Drawn]:
        """The samples that count: each group's prefix."""
        return [
            Drawn(state.group, self._responses[state.request(index).response_id])
            for state in self._states
            for index in range(state.bound)
        ]

    def _saved(self, state: State) -> float:
        drawn = [self._responses[state.request(index).response_id].n_tokens for index in range(state.bound)]
        return (state.group.samples - state.bound) * sum(drawn) / max(len(drawn), 1)

    def facts(self, seconds: float) -> dict[str, Any]:
        """What the run cost and saved.

        Tokens saved are an estimate: a sample that was not drawn counts as long as its question's drawn ones.
        """
        counted = {drawn.response.response_id: drawn.response for drawn in self.counted()}
        tokens = sum(response.n_tokens for response in counted.values())
        new = [key for key, one in counted.items() if key not in self._ledgered and one.finish_reason != TOO_LONG]
        undrawn = sum(state.group.samples - state.bound for state in self._states)
        return {
            "responses": len(counted),
            "responses_generated": self.generated,
            "responses_from_ledger": len(counted.keys() & self._ledgered),
            "responses_generated_beyond": self.generated - len(new),
            "samples_not_drawn": undrawn,
            "tokens": tokens,
            "tokens_generated": self.tokens_generated,
            "tokens_saved": round(sum(self._saved(state) for state in self._states)),
            "truncated": sum(response.finish_reason == "length" for response in counted.values()),
            "too_long": sum(response.finish_reason == TOO_LONG for response in counted.values()),
            "seconds": round(seconds, 1),
        }


@contextmanager
def terminate_cleanly() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, so that what has finished is written before the process ends."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
