r"""Grade responses: extract the final answer, compare it with the gold, say which rule decided.

Tiers, each asked only what the one before left open: exact rules and values in this process, the symbolic check in
workers that can be killed. What is open after that is `ungraded`, with the reason, and never silently wrong.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from tasks.core.cells import as_text
from tasks.core.files import code_digest
from tasks.grading.equal import SEVERAL_OPTIONS, WORD, Decision, equal, option_letters, unnamed
from tasks.grading.expression import read
from tasks.grading.extract import Extracted, extract, stated
from tasks.grading.hostile import is_code, refusal
from tasks.grading.latex import split_unit, squeeze, tidy, without_bar
from tasks.grading.quantities import short_quantity
from tasks.grading.relations import same_point
from tasks.grading.rules import Carried, Rules, read_rules
from tasks.grading.symbolic import Limits, Question, check_many
from tasks.grading.values import read_number
from tasks.grading.words import numeral, plain_words

# The version of the grader, which every verdict names.

BESIDE = ("golds", "judge")
"""Modules here that decide no verdict."""
LIBRARIES = ("latex2sympy2_extended", "math-verify", "sympy")


def _version() -> str:
    """With a digest of the code that decides and of what it stands on: an edited rule is another grader."""
    digest = code_digest(path for path in Path(__file__).parent.glob("*.py") if path.stem not in BESIDE)
    digest.update(" ".join(f"{name} {version(name)}" for name in LIBRARIES).encode())
    return f"limo-grader 0.2+{digest.hexdigest()[:8]} (math-verify {version('math-verify')})"


GRADER = _version()


# Verdicts of the symbolic check, kept on disk by grader version: all others cost less than reading them back.
#
# One file a version, a JSON line a verdict, appended whole, so that processes may share it. What was left open is not
# kept: a timeout may pass on a quieter machine.


class Key(NamedTuple):
    """What a verdict depends on, and nothing else: graded once, however many responses share it."""

    gold: str
    answer: str
    rules: str


class Kept:
    """The verdicts of earlier runs, and of this one."""

    def __init__(self, folder: Path, grader: str) -> None:
        """Read what earlier runs of this version kept in `folder`, which need not be there."""
        self._path = folder / f"{hashlib.sha256(grader.encode()).hexdigest()[:16]}.jsonl"
        self._found = dict(_read(self._path))

    def get(self, key: Key) -> str | None:
        """`correct` or `incorrect`; None when it is not known."""
        return self._found.get(key)

    def add(self, verdicts: Mapping[Key, str]) -> None:
        """Keep these from now on; nothing is written where there are none."""
        fresh = {key: verdict for key, verdict in verdicts.items() if key not in self._found}
        if not fresh:
            return
        self._found |= fresh
        lines = "".join(json.dumps([*key, verdict]) + "\n" for key, verdict in fresh.items())
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab", buffering=0) as file:
            # A line that a killed process left unfinished must not swallow the first of these.
            file.write(("\n" + lines).encode())


def _read(path: Path) -> Iterator[tuple[Key, str]]:
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            gold, answer, rules, verdict = json.loads(line)
        except (ValueError, TypeError):
            # Empty, or torn by a kill: graded again.
            continue
        yield Key(gold, answer, rules), verdict


# What an answer carries besides its value: a unit, a percent sign, degrees, a base, a currency.

SIGNS = {
    "percent": re.compile(r"%|\bpercent\b|百分之"),
    "degrees": re.compile(r"\\circ|°|\\degree|\bdegrees?\b|度"),
    "base": re.compile(r"[0-9A-Z]_(?:[0-9]|\{)"),
    "currency": re.compile(r"\\\$|^\$[0-9.,]+$|[£€¥元]|\bdollars?\b|\bUSD\b|\bcents?\b"),
}
"""Where each shows in an answer as it was written."""


def lacks(gold: str, answer: str, required: Sequence[Carried]) -> Carried | None:
    """The first of `required` that the gold carries and the answer does not."""
    return next((each for each in required if carries(gold, each) and not carries(answer, each)), None)


def carries(text: str, what: Carried) -> bool:
    """Whether an answer, as it was written, carries this."""
    if what == "unit":
        return bool(short_quantity(tidy(text)).unit)
    return bool(SIGNS[what].search(text))


MAX_ANSWER = 2_000
"""Longest answer, in characters, that is compared otherwise than letter by letter."""

PREFIX = re.compile(
    r"(?:(?:the )?(?:final )?answer *(?:is *:?|[:：])|(?:最终)?答(?:案 ?(?:是|为)[:：]?|(?:案 ?)?[:：])) *",
    re.IGNORECASE,
)
"""What a bare answer may begin with, and which is none of it."""

ALTERNATIVE = re.compile(r"\bor\b|或")
PRIME = re.compile(r"(?<=[\w)}^{ ])'|\\prime")
CACHED = 200_000
DECIDED = ("correct", "incorrect")
DEFAULT_LIMITS = Limits()


class Verdict(NamedTuple):
    """What became of a response: `correct`, `incorrect` or `ungraded`."""

    verdict: str
    extracted: str | None
    rule: str
    """What decided: `string`, `number`, `choice`, `symbolic`, ...; `none` where nothing could."""
    reason: str | None
    """Why it is ungraded, or why there was no answer to grade."""
    grader: str = GRADER
    """Version of what decided, with a digest of its code."""


class Pair(NamedTuple):
    """A gold and a response to it."""

    gold: str
    response: str
    rules: str = "auto"
    """The text of `Rules`: a kind, or JSON."""
    bare: bool = False
    """Whether `response` is the final answer itself."""
    cut_off: bool = False
    """Whether it never came to its end: then only a box counts, since its last words conclude nothing."""


_cache: dict[Key, Verdict] = {}


def grade(gold: object, response: object, rules: Rules | str = "auto") -> Verdict:
    """The verdict on one response, by a benchmark's rules. Never raises, whatever gold and response hold."""
    return grade_many([_pair(gold, response, rules, bare=False)])[0]


def grade_answer(gold: object, answer: object, rules: Rules | str = "auto") -> Verdict:
    """The verdict on a bare final answer."""
    return grade_many([_pair(gold, answer, rules, bare=True)])[0]


def _pair(gold: object, response: object, rules: Rules | str, bare: bool) -> Pair:
    """What is no text is read as the cell of a file is; None is no gold, or no answer."""
    left, right = [given if isinstance(given, str) else as_text(given) or "" for given in (gold, response)]
    return Pair(left, right, rules if isinstance(rules, str) else rules.text(), bare)


def grade_many(pairs: Sequence[Pair], limits: Limits = DEFAULT_LIMITS, kept: Kept | None = None) -> list[Verdict]:
    """The verdicts, in order; each different (gold, final answer, rules) is graded once in the life of this process.

    Args:
        kept: symbolic verdicts of earlier runs, to use and to add to.

    Raises:
        LimoError: rules that are none, or workers that cannot start.
    """
    found = [final_answer(pair) for pair in pairs]
    keys = [
        Key(stated(_unboxed(pair.gold)), got.answer, pair.rules) if got.answer is not None else None
        for pair, got in zip(pairs, found, strict=True)
    ]
    graded = _grade_keys(list(dict.fromkeys(key for key in keys if key is not None)), limits, kept)
    return [
        graded[key] if key is not None else _unanswered(pair, got)
        for pair, key, got in zip(pairs, keys, found, strict=True)
    ]


def _unanswered(pair: Pair, got: Extracted) -> Verdict:
    if not pair.gold.strip():
        return Verdict("ungraded", None, "none", "no_gold")
    return Verdict("incorrect", None, "none", got.reason)


def kept_beside(ledger: Path) -> Kept:
    """The symbolic verdicts that this version of the grader keeps beside the ledgers."""
    return Kept(ledger.parent / "verdicts", GRADER)


def final_answer(pair: Pair) -> Extracted:
    """What the response of a pair answers, or why it has no answer."""
    if not pair.bare:
        rules = read_rules(pair.rules)
        return extract(pair.response, rules.model_copy(update={"extraction": ("box",)}) if pair.cut_off else rules)
    answer = PREFIX.sub("", pair.response.strip(), count=1)
    if answer.startswith("**") and answer.endswith("**"):
        answer = answer.strip("* ")
    if "\\boxed" in answer or "\\fbox" in answer:
        return extract(answer, read_rules(pair.rules))
    answer = stated(answer)
    return Extracted(answer) if answer else Extracted(None, "no_answer")


def _unboxed(gold: str) -> str:
    r"""The final answer of a gold that is a whole solution, or `\boxed{5}`."""
    return (extract(gold).answer or gold) if "\\boxed" in gold or "\\fbox" in gold else gold


def answer_key(answer: str, rules: str = "auto") -> str:
    """One string for answers that are plainly the same, such as `3` and `3.0`: what a majority counts."""
    if len(answer) > MAX_ANSWER:
        return answer.strip()
    kind = read_rules(rules).kind
    text = squeeze(split_unit(tidy(answer)).body)
    if kind == "choice":
        return option_letters(text) or text
    number = read_number(unnamed("0", text)[1])
    if number is not None:
        return f"{number.value}{'%' * number.percent}"
    return plain_words(text) if kind == "text" or WORD.fullmatch(text) else text.replace(" ", "")


def _grade_keys(keys: list[Key], limits: Limits, kept: Kept | None) -> dict[Key, Verdict]:
    graded: dict[Key, Verdict] = {key: _cache[key] for key in keys if key in _cache}
    asked: dict[Key, Question] = {}
    for key in keys:
        if key not in graded:
            result = _guarded(key)
            if isinstance(result, Question):
                asked[key] = result
            else:
                graded[key] = result
    graded |= {key: _symbolic(key, outcome) for key, outcome in _check(asked, limits, kept).items()}
    _remember(graded)
    return graded


def _check(asked: dict[Key, Question], limits: Limits, kept: Kept | None) -> dict[Key, str]:
    """The outcome of the symbolic check of each, those of earlier runs unasked."""
    known = {key: verdict for key in asked if kept and (verdict := kept.get(key))}
    fresh = [key for key in asked if key not in known]
    outcomes = check_many([asked[key] for key in fresh], limits) if fresh else []
    found = dict(zip(fresh, outcomes, strict=True))
    if kept:
        kept.add({key: outcome for key, outcome in found.items() if outcome in DECIDED})
    return known | found


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
    if not key.gold.strip():
        return Verdict("ungraded", key.answer, "none", "no_gold")
    if len(key.answer) > MAX_ANSWER or len(key.gold) > MAX_ANSWER:
        return _overlong(key)
    rules = read_rules(key.rules)
    gold, answer = unnamed(*(numeral(tidy(text)) for text in same_point(key.gold, key.answer)))
    if "." in key.gold and "\\" in key.gold and key.answer.strip("$ ") == without_bar(key.gold) != key.gold.strip("$ "):
        return Verdict("incorrect", key.answer, "number", None)
    if rules.required and (lacking := lacks(key.gold, key.answer, rules.required)):
        return Verdict("incorrect", key.answer, lacking, f"without_{lacking}")
    if SEVERAL_OPTIONS.fullmatch(gold) and ALTERNATIVE.search(key.answer):
        return Verdict("incorrect", key.answer, "choice", None)
    decision, reason = equal(rules, gold, answer)
    if decision.correct is not None:
        return _verdict(key, decision)
    if is_code(answer) and read(gold) is not None:
        return Verdict("incorrect", key.answer, "code", None)
    reason = reason or refusal(gold) or refusal(answer)
    if reason is not None:
        return Verdict("ungraded", key.answer, "none", reason)
    if "\\text" not in gold + answer and len(PRIME.findall(gold)) != len(PRIME.findall(answer)):
        # Which the symbolic check does not see: f' is not f.
        return Verdict("incorrect", key.answer, "prime", None)
    return Question(split_unit(gold).body, split_unit(answer).body)


def _overlong(key: Key) -> Verdict:
    """An answer of thousands of characters to a gold of a few is none; a long gold cannot be compared here."""
    short = len(key.gold) * 20 < len(key.answer)
    return Verdict("incorrect" if short else "ungraded", key.answer, "length" if short else "none", "too_long")


def _verdict(key: Key, decision: Decision) -> Verdict:
    return Verdict("correct" if decision.correct else "incorrect", key.answer, decision.rule, None)


def _symbolic(key: Key, outcome: str) -> Verdict:
    if outcome in DECIDED:
        return Verdict(outcome, key.answer, "symbolic", None)
    return Verdict("ungraded", key.answer, "none", outcome)


def forget() -> None:
    """Drop all that was remembered, so that a measurement starts from nothing."""
    _cache.clear()


def _remember(graded: dict[Key, Verdict]) -> None:
    """Keep the verdicts; the cache is dropped whole when full. A timeout may pass on a quieter machine: not kept."""
    if len(_cache) > CACHED:
        _cache.clear()
    _cache.update((key, verdict) for key, verdict in graded.items() if verdict.reason not in ("timeout", "worker_died"))
