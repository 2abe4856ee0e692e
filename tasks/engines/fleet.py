"""Copies of one model side by side: requests are shared out, and a copy that dies is started again.

What a dead copy had not finished is sent to its successor, so that each request is answered exactly once.
"""

import atexit
import os
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from tasks.engines.messages import Cancel, Failed, Finished, Generate, Report, Results, Setup, Started
from tasks.engines.protocol import Request
from tasks.engines.replica import GoneError, Launcher, Replica
from tasks.errors import LimoError
from tasks.records.response import Response

RESTARTS = 3
"""So often in a row a copy is started again that gives no response."""
DEATHS = 20
"""At so many ends of its copy a request is taken for their cause, even where others finish in between."""
KEPT_HOMES = 20_000
"""Prompts of which it is remembered which copy has them in its prefix cache."""


class Flight(NamedTuple):
    """A request under way."""

    request: Request
    submitted: float
    deaths: int = 0
    """How often its copy has ended meanwhile."""


class Slot:
    """The place of one copy, which may be taken by one process after another."""

    def __init__(self, setup: Setup, replica: Replica) -> None:
        """A copy that has just begun to start."""
        self.setup = setup
        self.replica = replica
        self.started: Started | None = None
        self.barren = 0
        """Restarts since its last response."""
        self.flying: dict[str, Flight] = {}


class Fleet:
    """The engine over copies that `launcher` starts, one for each setup."""

    def __init__(self, launcher: Launcher, setups: Sequence[Setup]) -> None:
        """Start the copies, and wait until they are ready.

        Raises:
            LimoError: one does not start, in vLLM's own words.
        """
        self._launcher = launcher
        self._began = time.monotonic()
        self._slots: list[Slot] = []
        self._homes: dict[str, int] = {}
        self._restarts = 0
        self._failure: Exception | None = None
        # Before multiprocessing's own handler, which waits for processes that nobody has ended.
        atexit.register(self.close)
        try:
            for setup in setups:
                self._slots.append(Slot(setup, launcher.start(setup)))
            while any(slot.started is None for slot in self._slots):
                self._listen(1.0)
        except BaseException:
            self.close()
            raise
        self._seconds = round(time.monotonic() - self._began, 1)

    @property
    def facts(self) -> dict[str, Any]:
        """What it runs with, and what happened to it."""
        ready = [slot.started for slot in self._slots if slot.started]
        least = min(ready, key=lambda one: one.max_num_seqs)
        return {
            "engine": least.engine,
            "replicas": len(self._slots),
            "context": min(one.context for one in ready),
            "kv_cache_tokens": least.kv_cache_tokens,
            "kv_cache_gib": round(least.kv_cache_bytes / 2**30, 3),
            "max_num_seqs": min(slot.setup.params.max_num_seqs for slot in self._slots),
            "start_seconds": self._seconds,
            "model_start_seconds": max(one.seconds for one in ready),
            "restarts": self._restarts,
            "log": os.path.relpath(self._slots[0].setup.log),
        }

    def submit(self, requests: Sequence[Request]) -> None:
        """Share requests out; the samples of one prompt go to the same copy."""
        shares: dict[int, list[Request]] = {}
        now = time.monotonic()
        for request in requests:
            number = self._home(request.prompt)
            self._slots[number].flying[request.response_id] = Flight(request, now)
            shares.setdefault(number, []).append(request)
        for number, share in shares.items():
            self._slots[number].replica.send(Generate(share))

    def _home(self, prompt: str) -> int:
        if len(self._slots) == 1:
            return 0
        loads = [len(slot.flying) for slot in self._slots]
        least = loads.index(min(loads))
        home = self._homes.pop(prompt, least)
        if loads[home] - loads[least] > self._slots[least].setup.params.max_num_seqs // 4:
            home = least
        self._homes[prompt] = home
        if len(self._homes) > KEPT_HOMES:
            del self._homes[next(iter(self._homes))]
        return home

    def finished(self, seconds: float) -> list[Response]:
        """What has finished; waits at most about `seconds` for the first.

        Raises:
            LimoError: a copy ends again and again. What has finished by then is handed out first.
        """
        until = time.monotonic() + seconds
        while any(slot.flying for slot in self._slots):
            left = until - time.monotonic()
            found = self._listen(max(left, 0.0))
            if found or left <= 0:
                return found
        return []

    def cancel(self, response_ids: Collection[str]) -> None:
        """Stop generating these."""
        for slot in self._slots:
            mine = [key for key in response_ids if slot.flying.pop(key, None)]
            if mine:
                slot.replica.send(Cancel(mine))

    def close(self) -> None:
        """End all copies, and what they have started."""
        atexit.unregister(self.close)
        for slot in self._slots:
            slot.replica.end()
        for slot in self._slots:
            slot.replica.kill()

    def _listen(self, seconds: float) -> list[Response]:
        if self._failure:
            raise self._failure
        self._launcher.wait([slot.replica for slot in self._slots], seconds)
        found: list[Response] = []
        for slot in self._slots:
            try:
                self._hear(slot, found)
            except Exception as error:
                # What this copy and the others have finished is not to be lost with it.
                self._failure = self._failure or error
        if self._failure and not found:
            raise self._failure
        return found

    def _hear(self, slot: Slot, found: list[Response]) -> None:
        try:
            for report in slot.replica.receive():
                found += self._take(slot, report)
        except GoneError as gone:
            self._restart(slot, str(gone), short_of_memory=gone.killed)

    def _take(self, slot: Slot, report: Report) -> list[Response]:
        if isinstance(report, Results):
            slot.barren = 0
            return [one for one in (_response(slot, result) for result in report.finished) if one]
        if isinstance(report, Started):
            slot.started = report
        elif isinstance(report, Failed):
            if slot.started is None and not report.out_of_memory:
                raise LimoError(f"{slot.setup.folder}: vLLM does not start: {report.reason}; more in {slot.setup.log}")
            self._restart(slot, report.reason, short_of_memory=report.out_of_memory)
        return []

    def _restart(self, slot: Slot, reason: str, *, short_of_memory: bool) -> None:
        log = slot.setup.log
        if slot.barren >= RESTARTS:
            raise LimoError(
                f"{slot.setup.folder}: vLLM ended {RESTARTS + 1} times without a response in between, at last: "
                f"{reason}; more in {log}"
            )
        _count_deaths(slot, reason)
        slot.barren += 1
        self._restarts += 1
        slot.replica.kill()
        if short_of_memory:
            slot.setup = _smaller(slot)
        count = slot.setup.params.max_num_seqs
        what = "ran short of memory" if short_of_memory else "failed"
        print(
            f"limo: engine: a copy of the model {what} ({reason}); started again with up to {count} responses at once; "
            f"log {log}",
            file=sys.stderr,
            flush=True,
        )
        slot.replica = self._launcher.start(slot.setup)
        if slot.flying:
            slot.replica.send(Generate([flight.request for flight in slot.flying.values()]))


def _count_deaths(slot: Slot, reason: str) -> None:
    """Raise a LimoError where one request has been there too often."""
    slot.flying = {key: flight._replace(deaths=flight.deaths + 1) for key, flight in slot.flying.items()}
    worst = max(slot.flying.values(), key=lambda flight: flight.deaths, default=None)
    if worst and worst.deaths >= DEATHS:
        raise LimoError(
            f"{slot.setup.folder}: vLLM ended {DEATHS} times while it worked on the prompt "
            f"{worst.request.prompt[:60]!r}, at last: {reason}; "
            f"lower max_tokens, or leave this question out; more in {slot.setup.log}"
        )


def _smaller(slot: Slot) -> Setup:
    """Half the responses at once; where it never got started, half of a KV cache that we have chosen too."""
    setup = slot.setup.halved
    if slot.started is None and setup.params.kv_cache_gib is None and setup.kv_cache_bytes is not None:
        return setup._replace(kv_cache_bytes=setup.kv_cache_bytes // 2)
    return setup


def _response(slot: Slot, result: Finished) -> Response | None:
    with suppress(KeyError):
        request, submitted, _ = slot.flying.pop(result.response_id)
        seconds = round(time.monotonic() - submitted, 3)
        _, text, reason, n_prompt, n_tokens, logprob = result
        engine = slot.started.engine if slot.started else ""
        return request.finish(text, reason, n_prompt, n_tokens, seconds, logprob, engine)
    return None


def tell(name: str, facts: dict[str, Any]) -> None:
    """One line about what has started."""
    copies = f"{facts['replicas']} x " if facts["replicas"] > 1 else ""
    size = f"{facts['kv_cache_gib']:.2g} GiB = " if facts["kv_cache_gib"] else ""
    print(
        f"{name}: engine: {copies}{facts['engine']}, context {facts['context']:,} tokens, KV cache {size}"
        f"{facts['kv_cache_tokens']:,} tokens, up to {facts['max_num_seqs']} responses at once, started in "
        f"{facts['start_seconds']:.1f} s; log {facts['log']}",
        file=sys.stderr,
        flush=True,
    )
