r"""Grade responses: extract the final answer, compare it with the gold, say which rule decided.

Three tiers, each asked only what the one before left open: exact rules in this process, the symbolic check in workers
that can be killed, and nothing: such a response is `ungraded`, with the reason, and never silently wrong.
"""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from tasks.grading.extract import extract
from tasks.grading.fast import CHINESE, Decision, choice, decide, rounded, unnamed, words
from tasks.grading.hostile import refusal
from tasks.grading.normalise import split_unit, squeeze, tidy
from tasks.grading.symbolic import Limits, Question, check_many

DECIDING = ("extract", "fast", "grader", "hostile", "normalise", "symbolic", "values", "worker")
"""Modules that decide a verdict."""


def _version() -> str:
    """The grader's version, with a digest of the code that decides: an edited rule is another grader."""
    sources = b"".join(Path(__file__).with_name(f"{name}.py").read_bytes() for name in DECIDING)
    return f"limo-grader 0.1+{hashlib.sha256(sources).hexdigest()[:8]} (math-verify {version('math-verify')})"


GRADER = _version()

MAX_ANSWER = 2_000
"""Longest answer, in characters, that is compared otherwise than letter by letter."""

CACHED = 200_000
DEFAULT_LIMITS = Limits()


class Verdict(NamedTuple):
    """What became of a response: `correct`, `incorrect` or `ungraded`."""

    verdict: str
    extracted: str | None
    rule: str
    """What decided: `string`, `number`, `choice`, `symbolic`, ...; `none` where nothing could."""
    reason: str | None
    """Why it is ungraded, or why there was no answer to grade."""


class Pair(NamedTuple):
    """A gold and a response to it; `kind` is the rule set: `auto`, `choice` or `text`."""

    gold: str
    response: str
    kind: str = "auto"


class Key(NamedTuple):
    """What a verdict depends on, and nothing else: graded once, however many responses share it."""

    gold: str
    answer: str
    kind: str


_cache: dict[Key, Verdict] = {}


def grade(gold: str, response: str, kind: str = "auto") -> Verdict:
    """The verdict on one response. Never raises, whatever the response holds."""
    return grade_many([Pair(gold, response, kind)])[0]


def grade_many(pairs: Sequence[Pair], limits: Limits = DEFAULT_LIMITS) -> list[Verdict]:
    """The verdicts, in order; each different (gold, final answer, kind) is graded once in the life of this process."""
    found = [extract(pair.response, pair.kind) for pair in pairs]
    keys = [
        Key(pair.gold, got.answer, pair.kind) if got.answer is not None else None
        for pair, got in zip(pairs, found, strict=True)
    ]
    graded = _grade_keys(list(dict.fromkeys(key for key in keys if key is not None)), limits)
    return [
        graded[key] if key is not None else Verdict("incorrect", None, "none", got.reason)
        for key, got in zip(keys, found, strict=True)
    ]


def _grade_keys(keys: list[Key], limits: Limits) -> dict[Key, Verdict]:
    graded: dict[Key, Verdict] = {key: _cache[key] for key in keys if key in _cache}
    asked: dict[Key, Question] = {}
    for key in keys:
        if key not in graded:
            result = _guarded(key)
            if isinstance(result, Question):
                asked[key] = result
            else:
                graded[key] = result
    outcomes = check_many(list(asked.values()), limits) if asked else []
    graded |= {key: _symbolic(key, outcome) for key, outcome in zip(asked, outcomes, strict=True)}
    _remember(graded)
    return graded


def _guarded(key: Key) -> Verdict | Question:
    """A mistake of ours must not end a run of a week: that answer is ungraded, and counted under `grader_failed`."""
    try:
        return in_process(key)
    except Exception:
        return Verdict("ungraded", key.answer, "none", "grader_failed")


def in_process(key: Key) -> Verdict | Question:
    """The verdict, where the exact rules have one, or else what to ask of the symbolic check."""
    if key.gold.strip() == key.answer and key.answer:
        return _verdict(key, Decision(True, "string"))
    if len(key.answer) > MAX_ANSWER or len(key.gold) > MAX_ANSWER:
        return Verdict("ungraded", key.answer, "none", "too_long")
    gold, answer = unnamed(tidy(key.gold), tidy(key.answer))
    decision, reason = _decide(key.kind, gold, answer)
    if decision.correct is not None:
        return _verdict(key, decision)
    reason = reason or refusal(gold) or refusal(answer)
    if reason is not None:
        return Verdict("ungraded", key.answer, "none", reason)
    return Question(split_unit(gold).body, split_unit(answer).body)


class _Open(NamedTuple):
    decision: Decision
    reason: str | None = None
    """Why the symbolic check would not help."""


def _decide(kind: str, gold: str, answer: str) -> _Open:
    plain_gold, plain_answer = squeeze(gold), squeeze(answer)
    if kind == "choice":
        return _Open(choice(plain_gold, plain_answer), "not_a_choice")
    decision = words(plain_gold, plain_answer) if kind == "text" else decide(plain_gold, plain_answer)
    if decision.correct is None:
        decision = rounded(plain_gold, plain_answer)
    if decision.correct is not None:
        return _Open(decision)
    return _without_units(kind, gold, answer)


def _without_units(kind: str, gold: str, answer: str) -> _Open:
    left, right = split_unit(gold), split_unit(answer)
    if left.unit and right.unit and left.unit != right.unit:
        return _Open(Decision(None, "unit"), "units_differ")
    bodies = squeeze(left.body), squeeze(right.body)
    if left.unit or right.unit:
        decision = decide(*bodies)
        decision = decision if decision.correct is not None else rounded(*bodies)
        if decision.correct is not None:
            return _Open(Decision(decision.correct, "unit"))
    if CHINESE.search(bodies[0]) or CHINESE.search(bodies[1]) or kind == "text":
        decision = words(*bodies)
        return _Open(decision, "text_differs")
    return _Open(Decision(None, "none"))


def _verdict(key: Key, decision: Decision) -> Verdict:
    return Verdict("correct" if decision.correct else "incorrect", key.answer, decision.rule, None)


def _symbolic(key: Key, outcome: str) -> Verdict:
    if outcome in ("correct", "incorrect"):
        return Verdict(outcome, key.answer, "symbolic", None)
    return Verdict("ungraded", key.answer, "none", outcome)


def _remember(graded: dict[Key, Verdict]) -> None:
    """Keep the verdicts; the cache is dropped whole when full. A timeout may pass on a quieter machine: not kept."""
    if len(_cache) > CACHED:
        _cache.clear()
    _cache.update((key, verdict) for key, verdict in graded.items() if verdict.reason not in ("timeout", "worker_died"))
