"""The symbolic check itself, a program of its own: run in worker processes only, and importing nothing of ours.

`math_verify` with its LaTeX extraction alone: its other extraction hands text to sympy's `parse_expr`, which is
Python's `eval`.
"""

import json
import logging
import math
import os
import resource
import signal
import sys
from functools import lru_cache
from typing import Any, NoReturn

READY = "ready"
CHECKS_PER_CHILD = 2_000
"""sympy's caches grow: a child is replaced after so many checks."""

WALL_EXTRA_SECONDS = 2.5
"""The limit is in CPU seconds, so that a busy machine changes no verdict; a wait may be this much longer."""

DONE, RECYCLED = 0, 3
TIMEOUTS = (signal.SIGPROF, signal.SIGALRM)
LINE_CHARS = 65_536


def serve(seconds: float, memory_bytes: int) -> None:
    """Answer checks, one JSON line in and one out, until the input ends.

    This process only loads the libraries and forks children, which do the checking; a child that is killed is replaced
    in milliseconds, and its check answered here with the reason. One check is under way at a time, so that nothing is
    lost with a child. A reply begins with the number of its request, so that none is taken for another's; the reply for
    a child that died has none, since the child may have died between two checks.
    """
    replies = os.dup(1)
    # What a library prints must not be read as a reply.
    os.dup2(2, 1)
    import math_verify

    assert math_verify
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    logging.getLogger("latex2sympy2_extended").setLevel(logging.CRITICAL)
    _reply(replies, READY)
    while True:
        pid = os.fork()
        if pid == 0:
            _child(replies, seconds, memory_bytes)
        _, status = os.waitpid(pid, 0)
        if os.WIFSIGNALED(status):
            _reply(replies, "timeout" if os.WTERMSIG(status) in TIMEOUTS else "worker_died")
        elif os.WEXITSTATUS(status) == DONE:
            return
        elif os.WEXITSTATUS(status) != RECYCLED:
            _reply(replies, "worker_died")


def _child(replies: int, seconds: float, memory_bytes: int) -> NoReturn:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    for number in TIMEOUTS:
        signal.signal(number, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for _ in range(CHECKS_PER_CHILD):
        line = _line()
        # Both signals have their default action, the kernel's kill, which ends even a loop inside C.
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, seconds + WALL_EXTRA_SECONDS)
        number, gold, answer = json.loads(line)
        outcome = check(gold, answer)
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _reply(replies, f"{number} {outcome}")
    os._exit(RECYCLED)


def _line() -> bytes:
    """The next line, read no further than its end; at the end of the input this child's work is done."""
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, LINE_CHARS)
        if not part:
            os._exit(DONE)
        line += part
    return line


def _reply(replies: int, outcome: str) -> None:
    os.write(replies, f"{outcome}\n".encode())


def check(gold: str, answer: str) -> str:
    """`correct`, `incorrect`, or why it is open: `unparsed`, `gold_unparsed`, `memory`, `failed`."""
    try:
        return _check(gold, answer)
    except MemoryError:
        return "memory"
    except Exception:
        return "failed"


def _check(gold: str, answer: str) -> str:
    from math_verify import verify

    expected, given = _parse(gold), _parse(answer)
    if not expected:
        return "gold_unparsed"
    if not given:
        return "unparsed"
    if _differ(expected[0], given[0]):
        return "incorrect"
    places = _places(expected[0])
    right = verify(expected, given, float_rounding=places, timeout_seconds=None, raise_on_error=True)
    return "correct" if right else "incorrect"


@lru_cache(maxsize=1_000)
def _parse(text: str) -> list[Any]:
    """Cached: golds recur with every sample."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    # Units are split off before: math_verify takes the `m` of `6m`, a variable, for metres.
    latex = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    config = [LatexExtractionConfig(boxed_match_priority=-1, normalization_config=latex)]
    return list(parse(f"${text}$", config, fallback_mode="no_fallback", parsing_timeout=None))


def _differ(gold: Any, answer: Any) -> bool:
    """Whether two expressions plainly differ in value, at one point where they have variables.

    It saves the seconds that sympy spends on simplifying the difference of two unequal expressions.
    """
    from sympy import Expr, Rational, Symbol

    if (
        not (isinstance(gold, Expr) and isinstance(answer, Expr))
        or isinstance(gold, Symbol)
        or isinstance(answer, Symbol)
    ):
        return False
    names = sorted(gold.free_symbols | answer.free_symbols, key=str)
    point = {name: Rational(37 + 12 * place, 31) for place, name in enumerate(names)}
    try:
        left, right = (complex(side.subs(point).evalf(15)) for side in (gold, answer))
    except (TypeError, ValueError, AttributeError, OverflowError):
        return False
    finite = [math.isfinite(abs(side)) for side in (left, right)]
    # Left to math_verify, a product of infinities was once taken for 7.
    return finite[0] != finite[1] or (all(finite) and abs(left - right) > 1e-3 * max(abs(left), abs(right)))


def _places(gold: Any) -> int:
    """Decimal places that make math_verify's absolute rounding a relative one for golds below 1."""
    try:
        size = abs(float(gold.evalf(5)))
    except Exception:
        return 6
    if not 0 < size < 1:
        return 6
    return min(300, 6 - math.floor(math.log10(size)))


if __name__ == "__main__":
    serve(seconds=float(sys.argv[1]), memory_bytes=int(sys.argv[2]))
