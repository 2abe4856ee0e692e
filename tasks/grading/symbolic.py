"""The symbolic check in worker processes: a kill after a time limit, a memory limit, and no trust.

A worker is a fresh interpreter that speaks JSON lines. It is not forked from this process, which may hold vLLM, torch
and their threads; it does not import the main module again, as multiprocessing's would; and nothing it writes is
unpickled. Workers start with the first undecided pair and serve all later calls.
"""

import atexit
import itertools
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from tasks.core.errors import LimoError
from tasks.grading import worker

GRACE_SECONDS = 5.0
"""A worker's check is killed by its own timer; one that says nothing for so much longer is killed from here."""

START_SECONDS = 300.0
TIMEOUT = "timeout"


class Limits(NamedTuple):
    """What one symbolic check may cost, and how many run at once."""

    seconds: float = 3.0
    """CPU seconds; the wall clock may show 2.5 more."""
    memory_mb: int = 1_000
    workers: int = 0
    """0: one a core, at most 8."""


class Question(NamedTuple):
    """Two tidied answers to compare."""

    gold: str
    answer: str


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    asks: IO[bytes]
    replies: IO[bytes]
    place: int = -1
    """Which question it is at; -1 when idle."""
    number: int = -1
    """The number that its reply must bear: never used twice."""


@dataclass
class _Pool:
    limits: Limits
    owner: int
    workers: list[_Worker]


_lock = threading.Lock()
_numbers = itertools.count()
_pools: list[_Pool] = []


def check_many(questions: Sequence[Question], limits: Limits) -> list[str]:
    """The outcome of each check, in order: those of `worker.check`, or `timeout`, or `worker_died`.

    Raises:
        LimoError: a worker cannot start.
    """
    with _lock:
        pool = _pool(limits, len(questions))
        try:
            return _check_all(questions, pool)
        except BaseException:
            # Interrupted between question and reply: a later call must not read this one's replies.
            close()
            raise


def close() -> None:
    """End the workers; the next check starts new ones."""
    while _pools:
        pool = _pools.pop()
        if pool.owner == os.getpid():
            for each in pool.workers:
                _kill(each)


def _check_all(questions: Sequence[Question], pool: _Pool) -> list[str]:
    outcomes = [""] * len(questions)
    waiting = deque(range(len(questions)))
    asked_again: set[int] = set()
    with selectors.DefaultSelector() as selector:
        for each in pool.workers:
            selector.register(each.replies, selectors.EVENT_READ, each)
        for each in pool.workers:
            _ask(each, questions, waiting)
        while any(each.place >= 0 for each in pool.workers):
            ready = [key.data for key, _ in selector.select(pool.limits.seconds + GRACE_SECONDS)]
            # Nothing for longer than any check may take: every busy worker is stuck.
            for each in ready or [each for each in pool.workers if each.place >= 0]:
                outcome = _outcome(each) if ready else ""
                if not outcome:
                    selector.unregister(each.replies)
                    _restart(each, pool.limits)
                    selector.register(each.replies, selectors.EVENT_READ, each)
                if each.place >= 0 and not outcome and each.place not in asked_again:
                    # The worker may have died of something else, such as the kernel's want of memory.
                    asked_again.add(each.place)
                    waiting.appendleft(each.place)
                elif each.place >= 0:
                    outcomes[each.place] = outcome or "worker_died"
                _ask(each, questions, waiting)
    return outcomes


def _outcome(each: _Worker) -> str:
    """What the worker says of the question it is at; empty when it died, or speaks of another."""
    number, _, outcome = each.replies.readline().decode().strip().partition(" ")
    if number == TIMEOUT:
        # Its timers run during a check only, so this is of the question it is at.
        return TIMEOUT
    return outcome if number == str(each.number) else ""


def _ask(each: _Worker, questions: Sequence[Question], waiting: deque[int]) -> None:
    each.place = waiting.popleft() if waiting else -1
    if each.place >= 0:
        # A worker that has died shows as the end of its replies.
        with suppress(BrokenPipeError):
            each.number = next(_numbers)
            each.asks.write(json.dumps([each.number, *questions[each.place]]).encode() + b"\n")


def _pool(limits: Limits, wanted: int) -> _Pool:
    """The pool for `limits`, with no more workers than questions were ever asked at once."""
    if not _pools or (_pools[0].limits, _pools[0].owner) != (limits, os.getpid()):
        close()
        _pools.append(_Pool(limits, os.getpid(), []))
    pool = _pools[0]
    most = limits.workers or min(8, os.cpu_count() or 1)
    new = [_launch(limits) for _ in range(min(most, wanted) - len(pool.workers))]
    pool.workers.extend(new)
    for each in new:
        _await_ready(each)
    return pool


def _launch(limits: Limits) -> _Worker:
    # -P: its own folder, where a `statistics.py` lies, must not come before the standard library.
    command = [sys.executable, "-P", str(Path(worker.__file__)), str(limits.seconds), str(limits.memory_mb * 1_000_000)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    return _Worker(process, process.stdin, process.stdout)


def _await_ready(each: _Worker) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(each.replies, selectors.EVENT_READ)
        started = bool(selector.select(START_SECONDS)) and each.replies.readline().decode().strip() == worker.READY
    if not started:
        close()
        raise LimoError("grading: a worker could not load math-verify (see above); run `make setup`")


def _restart(each: _Worker, limits: Limits) -> None:
    _kill(each)
    fresh = _launch(limits)
    _await_ready(fresh)
    each.process, each.asks, each.replies = fresh.process, fresh.asks, fresh.replies


def _kill(each: _Worker) -> None:
    with suppress(ProcessLookupError):
        os.killpg(each.process.pid, signal.SIGKILL)
    each.process.wait()
    each.asks.close()
    each.replies.close()


atexit.register(close)
