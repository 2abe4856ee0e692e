"""How far a stage is: a bar on a terminal, elsewhere a line now and then, and a small JSON file for other programs.

The file `<folder>/<name>.json` is a `Snapshot` as JSON. Nothing here may fail a stage: a file that cannot be written is
left out.
"""

import math
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn
from rich.progress import Progress as Bar

from tasks.core.files import write_json

WINDOW_SECONDS = 30.0
BAR_SECONDS, FILE_SECONDS, FIRST_LINE_SECONDS, LINE_SECONDS = 0.25, 1.0, 5.0, 30.0
STARTING, RUNNING = "starting", "running"


class Snapshot(NamedTuple):
    """How far a stage is."""

    stage: str
    state: str
    """`starting` (the engine), `running`, then `done`, `stopped` or `failed`."""
    questions: int
    decided: int
    responses: int
    responses_from_ledger: int
    tokens: int
    """Generated in this run."""
    tokens_per_second: float
    """Recently."""
    tokens_saved: int
    """By stopping once an outcome was certain; an estimate."""
    responses_left_at_most: int | None
    """None until sampling begins."""
    eta_seconds: float | None
    """At most, at the recent speed; None where no response has arrived yet."""
    started: float
    """Seconds since 1970, as is `updated`."""
    updated: float
    pid: int
    run: dict[str, Any] | None = None
    """What this run did, once it is done: responses generated, and reused from the ledger, its engine, its time."""


def describe(state: Snapshot) -> str:
    """A snapshot in a line."""
    ledger = f" ({state.responses_from_ledger:,} from the ledger)" if state.responses_from_ledger else ""
    parts = [
        f"{state.stage}: {state.decided:,} of {state.questions:,} questions decided",
        f"{state.responses:,} responses{ledger}",
        f"{state.tokens_per_second:,.0f} tokens/s",
        f"{state.tokens_saved:,} tokens saved",
        time_left(state.eta_seconds) if state.state in (STARTING, RUNNING) else state.state,
    ]
    return ", ".join(parts)


def time_left(seconds: float | None) -> str:
    """Seconds in the unit a person would choose, rounded up."""
    if seconds is None:
        return "time left unknown"
    for unit, size, most in (("s", 1, 90), ("min", 60, 5400), ("h", 3600, 72 * 3600)):
        if seconds <= most:
            return f"at most {math.ceil(seconds / size)} {unit} left"
    return f"at most {math.ceil(seconds / 86400)} days left"


def file_name(stage: str) -> str:
    """The name of a stage's file: `reason (careful)` -> `reason-careful.json`."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", stage).strip("-.") + ".json"


class Pace:
    """Responses and tokens a second over the last half minute, or since the last arrival where that is longer ago."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int, int]] = deque()

    def add(self, now: float, responses: int, tokens: int) -> None:
        """Record that there are so many responses and tokens by now."""
        if not self._seen or now - self._seen[-1][0] >= BAR_SECONDS:
            self._seen.append((now, responses, tokens))
        # A response of 32k tokens takes minutes: the window reaches back until there is something in it.
        while len(self._seen) > 2 and now - self._seen[1][0] >= WINDOW_SECONDS and self._seen[1][1] < responses:
            self._seen.popleft()

    def rates(self, now: float, responses: int, tokens: int) -> tuple[float, float]:
        """Responses and tokens a second."""
        if not self._seen or now <= self._seen[0][0]:
            return 0.0, 0.0
        then, responses_then, tokens_then = self._seen[0]
        return (responses - responses_then) / (now - then), (tokens - tokens_then) / (now - then)


class Progress:
    """The progress of one stage; a context manager that closes itself."""

    def __init__(
        self, name: str, groups: int, folder: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Progress of the stage `name` over `groups` questions.

        Args:
            folder: where the JSON file goes; None: there is none.
        """
        self._clock, self._pace = clock, Pace()
        self._file = None if folder is None else folder / file_name(name)
        self._began = clock()
        self._sampling_since: float | None = None
        now = time.time()
        self._state = Snapshot(name, STARTING, groups, 0, 0, 0, 0, 0.0, 0, None, None, now, now, os.getpid())
        self._shown: _Terminal | _Lines = _Terminal(self._state) if sys.stderr.isatty() else _Lines()
        self._due_file = 0.0
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        """Close as done, stopped (a signal) or failed."""
        stopped = kind is not None and not issubclass(kind, Exception)
        self.close("done" if kind is None else "stopped" if stopped else "failed")

    def start(self, known: int, decided: int) -> None:
        """Begin with what the ledger has."""
        self._state = self._state._replace(responses=known, responses_from_ledger=known, decided=decided)
        self._publish(self._clock())

    def update(self, decided: int, known: int, tokens: int, saved: int, left: int) -> None:
        """Report the counts; may be called at every turn of a loop.

        Args:
            known: responses, with those from the ledger.
            tokens: generated in this run.
            saved: tokens that need not be generated, so far and by an estimate.
            left: responses that may still be needed, at most.
        """
        now = self._clock()
        if self._sampling_since is None:
            self._sampling_since = now
        self._pace.add(now, known, tokens)
        self._state = self._state._replace(state=RUNNING, decided=decided, responses=known, tokens=tokens)
        self._state = self._state._replace(tokens_saved=saved, responses_left_at_most=left)
        if self._shown.due(self._sampled(now)) or now >= self._due_file:
            self._publish(now)

    def finish(self, run: dict[str, Any]) -> None:
        """Report what this run did, in the file."""
        self._state = self._state._replace(run=run)

    def close(self, outcome: str = "done") -> None:
        """End as `done`, `stopped` or `failed`. Only the first call counts."""
        if self._closed:
            return
        self._closed = True
        now = self._clock()
        sampled = self._sampled(now)
        speed = round(self._state.tokens / sampled, 1) if sampled else 0.0
        self._state = self._state._replace(state=outcome, tokens_per_second=speed, eta_seconds=None)
        self._state = self._state._replace(updated=round(self._state.started + now - self._began, 3))
        self._write()
        with suppress(OSError):
            self._shown.close(self._state)

    def _sampled(self, now: float) -> float:
        """Seconds since sampling began; the engine's start is no part of them."""
        return 0.0 if self._sampling_since is None else now - self._sampling_since

    def _publish(self, now: float) -> None:
        state = self._state
        responses, tokens = self._pace.rates(now, state.responses, state.tokens)
        left = state.responses_left_at_most
        # Bound over speed, rather than what the decided questions suggest: easy ones are decided first.
        eta = round(left / responses, 1) if left is not None and responses else None
        self._state = state._replace(
            tokens_per_second=round(tokens, 1), eta_seconds=eta, updated=round(state.started + now - self._began, 3)
        )
        if self._shown.due(self._sampled(now)):
            with suppress(OSError):
                # Nobody reads stderr any more: no reason to stop.
                self._shown.show(self._state, self._sampled(now))
        if now >= self._due_file:
            self._due_file = now + FILE_SECONDS
            self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._file, self._state._asdict())
        except OSError:
            # A full disk is the stage's own to report.
            self._file = None


class _Display:
    """What is shown on stderr, at times."""

    _next = 0.0

    def due(self, seconds: float) -> bool:
        return seconds >= self._next


class _Lines(_Display):
    """Plain lines, few enough for a log."""

    def __init__(self) -> None:
        self._next = FIRST_LINE_SECONDS

    def show(self, state: Snapshot, seconds: float) -> None:
        self._next = seconds + LINE_SECONDS
        print(describe(state), file=sys.stderr, flush=True)

    def close(self, state: Snapshot) -> None:
        print(describe(state), file=sys.stderr, flush=True)


class _Terminal(_Display):
    """A bar, drawn by the caller: a thread of its own and engines that fork do not go together."""

    def __init__(self, state: Snapshot) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} decided, {task.fields[rest]}"),
        )
        self._bar = Bar(*columns, console=Console(stderr=True), auto_refresh=False)
        self._bar.start()
        self._task = self._bar.add_task(state.stage, total=state.questions, rest="reading the ledger")
        self._bar.refresh()

    def show(self, state: Snapshot, seconds: float) -> None:
        self._next = seconds + BAR_SECONDS
        rest: Any = "starting the engine" if state.state == STARTING else describe(state).partition("decided, ")[2]
        self._bar.update(self._task, completed=state.decided, rest=rest, refresh=True)

    def close(self, state: Snapshot) -> None:
        self.show(state, 0.0)
        self._bar.stop()
