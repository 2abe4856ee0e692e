"""The sampling loop: ledger first, engine kept full, each group stopped as soon as its outcome is certain.

A group is one question with its `samples`. What counts is a prefix: the samples 0, 1, 2, ... up to the one that makes
the outcome certain. Whatever finishes beyond it stays in the ledger and out of the tables, so that the same seeds give
the same tables whatever the batching, the order of finishing, or an interruption.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from tasks.engines.protocol import Engine
from tasks.errors import LimoError
from tasks.ledger.ledger import Ledger
from tasks.records.response import TOO_LONG, Response
from tasks.sampling.groups import Group, Judge
from tasks.sampling.outcomes import Rule, never
from tasks.sampling.progress import Progress
from tasks.sampling.run import Run
from tasks.sampling.sampled import Sampled

POLL_SECONDS = 1.0


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
    context: int | None = None,
    progress: Path | None = None,
) -> Sampled:
    """Draw every group's samples until `rule` says that its outcome is certain.

    Args:
        name: the stage, for progress.
        open_engine: starts the engine; not called when the ledger holds all that is needed.
        places: responses in flight at once.
        judge: grades responses; None: nothing is graded, and `rule` sees no correct ones.
        context: longest prompt plus response, tokens, where it is stated: what a shorter one once cut is drawn anew.
        progress: folder of machine-readable progress.
    """
    started = time.monotonic()
    with terminate_cleanly() as signals, ledger, Progress(name, len(groups), progress) as shown:
        run = Run(groups, model_id, rule, judge, context)
        run.take_from(ledger)
        facts: dict[str, object] = {"ledger_seconds": round(time.monotonic() - started, 1)}
        shown.start(run.known, run.decided)
        if not run.done:
            ledger.reserve()
            engine = open_engine()
            try:
                run.shorten(engine.facts.get("context"), ledger)
                _generate(run, engine, ledger, places, shown, signals)
                facts["engine"] = engine.facts
            finally:
                engine.close()
        ledger.flush()
        facts |= run.facts() | {"seconds": round(time.monotonic() - started, 1)}
    return Sampled(run.counted(), facts, ledger)


def _generate(run: Run, engine: Engine, ledger: Ledger, places: int, shown: Progress, signals: "Signals") -> None:
    """Draw what is missing."""
    try:
        while not run.done:
            engine.submit(run.next_requests(places))
            with signals.held():
                _keep(ledger, responses := engine.finished(POLL_SECONDS))
            engine.cancel(run.take(responses))
            shown.tell(run.decided, run.known, run.tokens_generated, round(run.tokens_saved), run.left)
    except BaseException:
        # Whatever ends the run, what has finished since the last turn is kept; an engine that failed says so once.
        with suppress(LimoError):
            _keep(ledger, engine.finished(0))
        raise


def _keep(ledger: Ledger, responses: Sequence[Response]) -> None:
    ledger.add([response for response in responses if response.finish_reason != TOO_LONG])
    ledger.flush_if_due()


class Signals:
    """What SIGTERM does: it ends the run, but never between taking responses from the engine and keeping them."""

    def __init__(self) -> None:
        """None has come."""
        self._holding = False
        self._come: int | None = None

    def leave(self, number: int, _frame: FrameType | None) -> None:
        """The handler."""
        self._come = number
        if not self._holding:
            sys.exit(128 + number)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put the end off until after the block."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._come is not None:
            sys.exit(128 + self._come)


@contextmanager
def terminate_cleanly() -> Iterator[Signals]:
    """Turn SIGTERM into SystemExit, so that what has finished is written before the process ends."""
    signals = Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = signal.signal(signal.SIGTERM, signals.leave)
    try:
        yield signals
    finally:
        signal.signal(signal.SIGTERM, before)
