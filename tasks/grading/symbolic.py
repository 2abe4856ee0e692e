"""The symbolic check in worker processes: a kill after a time limit, a memory limit, and no trust.

Not everything is sent to it (`refusal`): some texts are made, or fit, to run for ever, fill memory or reach an
interpreter. A refusal costs a verdict of `ungraded`, never a wrong one; what slips through meets the limits.

A worker is a fresh interpreter that speaks JSON lines. It is not forked from this process, which may hold vLLM, torch
and their threads; it does not import the main module again, as multiprocessing's would; and nothing it writes is
unpickled. Workers start with the first undecided pair and serve all later calls.
"""

import atexit
import itertools
import json
import math
import os
import re
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
from tasks.grading.brackets import depth

MAX_CHARS = 1_000
MAX_DEPTH = 30
MAX_DIGIT_RUN = 120
MAX_EXPONENT = 5_000
LARGE_EXPONENT = 30
MAX_PRODUCT = 10**7
MAX_FACTORIALS = 6
MAX_OPERAND = 200
"""Largest number under a factorial, a binomial, or as the bound of a sum or product."""

DIGIT_RUN = re.compile(rf"[0-9]{{{MAX_DIGIT_RUN + 1},}}")
CODE = re.compile(r"__|\b(?:import|exec|eval|lambda|globals|getattr|subprocess|system|breakpoint|compile)\b")
PROGRAM = re.compile(r"__[a-z]+__|\b(?:eval|exec|open|print|input|getattr|compile)\(|\blambda\b[^:]*:|\bimport [a-z]")
EXPONENT = re.compile(r"(?:\^|\*\*)[ ({]*-?([0-9]+)")
TOWER = re.compile(r"(?=(?:\^|\*\*)[ ({]*-?([0-9]+)[ )}]*(?:\^|\*\*)[ ({]*-?([0-9]+))")
TALL_TOWER = re.compile(r"(?:(?:\^|\*\*)[ ({]*-?[0-9]+[ )}]*){4}")
FACTORIAL = re.compile(r"([^ ]?) ?!(?!=)")
POWERED = re.compile(r"(?:\^|\*\*)[ ({]*\w+ ?!|\\[dt]?binom ?\{[^{}]*\^|\\[dt]?binom ?\{[^{}]*\} ?\{[^{}]*\^")
OPERATED = re.compile(r"[\^*]|\\times|\\cdot|![ )}]*!")
CHOOSING = re.compile(r"\\[dt]?binom|\\choose|\\sum|\\prod|[0-9}] ?C_?[0-9{]|C[_^]|\\i*int|\\lim")
NUMBER = re.compile(r"[0-9]+")

GRACE_SECONDS = 5.0
"""A worker kills its check by a timer; one without a reply for this much longer is killed from here."""

START_SECONDS = 300.0
TIMEOUT = "timeout"


class Limits(NamedTuple):
    """What one symbolic check may cost, and how many run at once."""

    seconds: float = 3.0
    """CPU seconds; the wall clock may show 2.5 more."""
    memory_mb: int = 1_000
    workers: int = 0
    """0: one a core, at most 8."""


class Check(NamedTuple):
    """Two normalised answers to compare."""

    gold: str
    answer: str


def refusal(text: str) -> str | None:
    """Why `text` must not be handed to the symbolic check, or None."""
    if len(text) > MAX_CHARS:
        return "too_long"
    bad = any(ord(character) < 32 or 0xD800 <= ord(character) < 0xE000 for character in text)
    if bad or CODE.search(text) or DIGIT_RUN.search(text) or depth(text) > MAX_DEPTH:
        return "refused_hostile"
    return "refused_hostile" if _towers(text) or _counts(text) else None


def is_code(text: str) -> bool:
    """Whether it is a program, which answers nothing."""
    return PROGRAM.search(text) is not None


def _towers(text: str) -> bool:
    """Powers of powers; two levels pass when the upper power is small, as in `2^{3^2}`."""
    exponents = [int(exponent) for exponent in EXPONENT.findall(text)]
    if max(exponents, default=0) > MAX_EXPONENT or TALL_TOWER.search(text):
        return True
    # Small exponents are what polynomials are made of; large ones may be stacked: ((9^{999})^{999})^{999}.
    if math.prod(exponent for exponent in exponents if exponent >= LARGE_EXPONENT) > MAX_PRODUCT:
        return True
    return any(int(low) ** int(high) > MAX_EXPONENT for low, high in TOWER.findall(text))


def _counts(text: str) -> bool:
    """Factorials, binomials, sums and products over more than a few hundred."""
    factorials = FACTORIAL.findall(text)
    of_an_operation = any(before in (")", "}", "!", "") for before in factorials) and OPERATED.search(text)
    if len(factorials) > MAX_FACTORIALS or of_an_operation or POWERED.search(text):
        return True
    counted = bool(factorials) or CHOOSING.search(text) is not None
    return counted and any(int(number) > MAX_OPERAND for number in NUMBER.findall(text))


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    requests: IO[bytes]
    replies: IO[bytes]
    place: int = -1
    """Index of the check it runs; -1 when idle."""
    number: int = -1
    """The number that its reply must begin with: never used twice."""


@dataclass
class _Pool:
    limits: Limits
    owner: int
    workers: list[_Worker]


_lock = threading.Lock()
_numbers = itertools.count()
_pools: list[_Pool] = []


def check_many(checks: Sequence[Check], limits: Limits) -> list[str]:
    """The outcome of each check, in order: those of `worker.check`, or `timeout`, or `worker_died`.

    Raises:
        LimoError: a worker cannot start.
    """
    with _lock:
        pool = _pool(limits, len(checks))
        try:
            return _check_all(checks, pool)
        except BaseException:
            # Interrupted between request and reply: a later call must not read this one's replies.
            close()
            raise


def close() -> None:
    """End the workers; the next check starts new ones."""
    while _pools:
        pool = _pools.pop()
        if pool.owner == os.getpid():
            for each in pool.workers:
                _kill(each)


def _check_all(checks: Sequence[Check], pool: _Pool) -> list[str]:
    outcomes = [""] * len(checks)
    waiting = deque(range(len(checks)))
    retried: set[int] = set()
    with selectors.DefaultSelector() as selector:
        for each in pool.workers:
            selector.register(each.replies, selectors.EVENT_READ, each)
        for each in pool.workers:
            _send(each, checks, waiting)
        while any(each.place >= 0 for each in pool.workers):
            ready = [key.data for key, _ in selector.select(pool.limits.seconds + GRACE_SECONDS)]
            # Nothing for longer than any check may take: every busy worker is stuck.
            for each in ready or [each for each in pool.workers if each.place >= 0]:
                outcome = _outcome(each) if ready else ""
                if not outcome:
                    selector.unregister(each.replies)
                    _restart(each, pool.limits)
                    selector.register(each.replies, selectors.EVENT_READ, each)
                if each.place >= 0 and not outcome and each.place not in retried:
                    # The worker may have died of something else, such as the kernel running out of memory.
                    retried.add(each.place)
                    waiting.appendleft(each.place)
                elif each.place >= 0:
                    outcomes[each.place] = outcome or "worker_died"
                _send(each, checks, waiting)
    return outcomes


def _outcome(each: _Worker) -> str:
    """The worker's outcome of its check; empty when it died, or replied to another."""
    number, _, outcome = each.replies.readline().decode().strip().partition(" ")
    if number == TIMEOUT:
        # Its timers run during a check only, so this is the check it runs.
        return TIMEOUT
    return outcome if number == str(each.number) else ""


def _send(each: _Worker, checks: Sequence[Check], waiting: deque[int]) -> None:
    each.place = waiting.popleft() if waiting else -1
    if each.place >= 0:
        # The end of its replies shows that a worker has died.
        with suppress(BrokenPipeError):
            each.number = next(_numbers)
            each.requests.write(json.dumps([each.number, *checks[each.place]]).encode() + b"\n")


def _pool(limits: Limits, wanted: int) -> _Pool:
    """The pool for `limits`, with no more workers than checks were ever requested at once."""
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
    # -P: a module of its own folder must not shadow one of the standard library.
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
    each.process, each.requests, each.replies = fresh.process, fresh.requests, fresh.replies


def _kill(each: _Worker) -> None:
    with suppress(ProcessLookupError):
        os.killpg(each.process.pid, signal.SIGKILL)
    each.process.wait()
    each.requests.close()
    each.replies.close()


atexit.register(close)
