r"""Grade responses: extract the final answer, compare it with the gold, record which rule decided.

Tiers, each given only what the one before left open: exact rules and values in this process, the symbolic check in
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
from tasks.grading.equal import SEVERAL_OPTIONS, WORD, Decision, drop_variable, equal, option_letters
from tasks.grading.expression import parse
from tasks.grading.extract import Extraction, extract, stated_value
from tasks.grading.latex import drop_repeating_bar, normalise, squeeze
from tasks.grading.relations import drop_point_name
from tasks.grading.rules import Requirement, Rules, read_rules
from tasks.grading.symbolic import Check, Limits, check_many, is_code, refusal
from tasks.grading.units import read_short_quantity, split_unit
from tasks.grading.values import read_number
from tasks.grading.words import as_digits, plain_words

NOT_DECIDING = ("golds", "judge")
"""Modules of this folder that decide no verdict, and are not in the version."""
LIBRARIES = ("latex2sympy2_extended", "math-verify", "sympy")


def _version() -> str:
    """With a digest of the code that decides and of the libraries it uses: an edited rule is another grader."""
    digest = code_digest(path for path in Path(__file__).parent.glob("*.py") if path.stem not in NOT_DECIDING)
    digest.update(" ".join(f"{name} {version(name)}" for name in LIBRARIES).encode())
    return f"limo-grader 0.2+{digest.hexdigest()[:8]} (math-verify {version('math-verify')})"


GRADER = _version()
"""The version of the grader, which every verdict names."""


class VerdictKey(NamedTuple):
    """All that a verdict depends on: graded once, however many responses share it."""

    gold: str
    answer: str
    rules: str


class VerdictCache:
    """Verdicts of the symbolic check, on disk by grader version; all others cost less than reading them back.

    One file a version, a JSON line a verdict, appended whole, so that processes may share it. Open ones are not cached:
    a timeout may pass on a quieter machine.
    """

    def __init__(self, folder: Path, grader: str) -> None:
        """Read the verdicts of earlier runs of this version in `folder`, which need not exist."""
        self._path = folder / f"{hashlib.sha256(grader.encode()).hexdigest()[:16]}.jsonl"
        self._found = dict(_read(self._path))

    def get(self, key: VerdictKey) -> str | None:
        """`correct` or `incorrect`; None when it is not cached."""
        return self._found.get(key)

    def add(self, verdicts: Mapping[VerdictKey, str]) -> None:
        """Cache these from now on; nothing is written where none is new."""
        fresh = {key: verdict for key, verdict in verdicts.items() if key not in self._found}
        if not fresh:
            return
        self._found |= fresh
        lines = "".join(json.dumps([*key, verdict]) + "\n" for key, verdict in fresh.items())
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab", buffering=0) as file:
            # A line that a killed process left unfinished must not swallow the first of these.
            file.write(("\n" + lines).encode())


def _read(path: Path) -> Iterator[tuple[VerdictKey, str]]:
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            gold, answer, rules, verdict = json.loads(line)
        except (ValueError, TypeError):
            # Empty, or cut off by a kill: graded again.
            continue
        yield VerdictKey(gold, answer, rules), verdict


SIGNS = {
    "percent": re.compile(r"%|\bpercent\b|百分之"),
    "degrees": re.compile(r"\\circ|°|\\degree|\bdegrees?\b|度"),
    "base": re.compile(r"[0-9A-Z]_(?:[0-9]|\{)"),
    "currency": re.compile(r"\\\$|^\$[0-9.,]+$|[£€¥元]|\bdollars?\b|\bUSD\b|\bcents?\b"),
}
"""How each requirement shows in an answer as it was written."""


def missing_requirement(gold: str, answer: str, required: Sequence[Requirement]) -> Requirement | None:
    """The first of `required` that the gold states and the answer does not."""
    return next((each for each in required if states(gold, each) and not states(answer, each)), None)


def states(text: str, what: Requirement) -> bool:
    """Whether an answer, as it was written, states its unit, percent sign, degrees, base or currency."""
    if what == "unit":
        return bool(read_short_quantity(normalise(text)).unit)
    return bool(SIGNS[what].search(text))


MAX_ANSWER = 2_000
"""Longest answer, in characters, that is compared in any other way than letter by letter."""

PREFIX = re.compile(
    r"(?:(?:the )?(?:final )?answer *(?:is *:?|[:：])|(?:最终)?答(?:案 ?(?:是|为)[:：]?|(?:案 ?)?[:：])) *",
    re.IGNORECASE,
)
"""Prefixes such as "The answer is" to strip from a bare answer."""

ALTERNATIVE = re.compile(r"\bor\b|或")
PRIME = re.compile(r"(?<=[\w)}^{ ])'|\\prime")
MAX_CACHED = 200_000
DECIDED = ("correct", "incorrect")
DEFAULT_LIMITS = Limits()


class Verdict(NamedTuple):
    """A graded response: `correct`, `incorrect` or `ungraded`."""

    verdict: str
    extracted: str | None
    rule: str
    """The rule that decided: `string`, `number`, `choice`, `symbolic`, ...; or `none`."""
    reason: str | None
    """Why it is ungraded, or why it has no answer."""
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
    """Whether it was truncated: then only a box counts, since its last words conclude nothing."""


_graded: dict[VerdictKey, Verdict] = {}


def grade(gold: object, response: object, rules: Rules | str = "auto") -> Verdict:
    """The verdict on one response, by a benchmark's rules. Never raises, whatever gold and response hold."""
    return grade_many([_pair(gold, response, rules, bare=False)])[0]


def grade_answer(gold: object, answer: object, rules: Rules | str = "auto") -> Verdict:
    """The verdict on a bare final answer."""
    return grade_many([_pair(gold, answer, rules, bare=True)])[0]


def _pair(gold: object, response: object, rules: Rules | str, bare: bool) -> Pair:
    """A value that is no text is read as a file's cell is; None is no gold, or no answer."""
    left, right = [given if isinstance(given, str) else as_text(given) or "" for given in (gold, response)]
    return Pair(left, right, rules if isinstance(rules, str) else rules.text(), bare)


def grade_many(
    pairs: Sequence[Pair], limits: Limits = DEFAULT_LIMITS, cache: VerdictCache | None = None
) -> list[Verdict]:
    """The verdicts, in order; each different (gold, final answer, rules) is graded once in the life of this process.

    Args:
        cache: symbolic verdicts of earlier runs, to use and to add to.

    Raises:
        LimoError: invalid rules, or workers that cannot start.
    """
    found = [final_answer(pair) for pair in pairs]
    keys = [
        VerdictKey(stated_value(_unboxed(pair.gold)), got.answer, pair.rules) if got.answer is not None else None
        for pair, got in zip(pairs, found, strict=True)
    ]
    graded = _grade_keys(list(dict.fromkeys(key for key in keys if key is not None)), limits, cache)
    return [
        graded[key] if key is not None else _unanswered(pair, got)
        for pair, key, got in zip(pairs, keys, found, strict=True)
    ]


def _unanswered(pair: Pair, got: Extraction) -> Verdict:
    if not pair.gold.strip():
        return Verdict("ungraded", None, "none", "no_gold")
    return Verdict("incorrect", None, "none", got.reason)


def verdict_cache(ledger: Path) -> VerdictCache:
    """The cached symbolic verdicts of this version of the grader, in a folder next to the ledgers."""
    return VerdictCache(ledger.parent / "verdicts", GRADER)


def final_answer(pair: Pair) -> Extraction:
    """The final answer of a pair's response, or why it has none."""
    if not pair.bare:
        rules = read_rules(pair.rules)
        return extract(pair.response, rules.model_copy(update={"extraction": ("box",)}) if pair.cut_off else rules)
    answer = PREFIX.sub("", pair.response.strip(), count=1)
    if answer.startswith("**") and answer.endswith("**"):
        answer = answer.strip("* ")
    if "\\boxed" in answer or "\\fbox" in answer:
        return extract(answer, read_rules(pair.rules))
    answer = stated_value(answer)
    return Extraction(answer) if answer else Extraction(None, "no_answer")


def _unboxed(gold: str) -> str:
    r"""The final answer of a gold that is a whole solution, or `\boxed{5}`."""
    return (extract(gold).answer or gold) if "\\boxed" in gold or "\\fbox" in gold else gold


def answer_key(answer: str, rules: str = "auto") -> str:
    """One string for answers that are plainly the same, such as `3` and `3.0`: what a majority counts."""
    if len(answer) > MAX_ANSWER:
        return answer.strip()
    kind = read_rules(rules).kind
    text = squeeze(split_unit(normalise(answer)).body)
    if kind == "choice":
        return option_letters(text) or text
    number = read_number(drop_variable("0", text)[1])
    if number is not None:
        return f"{number.value}{'%' * number.percent}"
    return plain_words(text) if kind == "text" or WORD.fullmatch(text) else text.replace(" ", "")


def _grade_keys(keys: list[VerdictKey], limits: Limits, cache: VerdictCache | None) -> dict[VerdictKey, Verdict]:
    graded: dict[VerdictKey, Verdict] = {key: _graded[key] for key in keys if key in _graded}
    checks: dict[VerdictKey, Check] = {}
    for key in keys:
        if key not in graded:
            result = _decide(key)
            if isinstance(result, Check):
                checks[key] = result
            else:
                graded[key] = result
    graded |= {key: _symbolic(key, outcome) for key, outcome in _check(checks, limits, cache).items()}
    _store(graded)
    return graded


def _check(checks: dict[VerdictKey, Check], limits: Limits, cache: VerdictCache | None) -> dict[VerdictKey, str]:
    """The outcome of the symbolic check of each; those in the cache are not checked again."""
    known = {key: verdict for key in checks if cache and (verdict := cache.get(key))}
    fresh = [key for key in checks if key not in known]
    outcomes = check_many([checks[key] for key in fresh], limits) if fresh else []
    found = dict(zip(fresh, outcomes, strict=True))
    if cache:
        cache.add({key: outcome for key, outcome in found.items() if outcome in DECIDED})
    return known | found


def _decide(key: VerdictKey) -> Verdict | Check:
    """A bug of ours must not end a run of a week: that answer is ungraded, and counted under `grader_failed`."""
    try:
        return decide_in_process(key)
    except Exception:
        return Verdict("ungraded", key.answer, "none", "grader_failed")


def decide_in_process(key: VerdictKey) -> Verdict | Check:
    """The verdict, where the rules in this process have one, or else the symbolic check to run."""
    if key.gold.strip() == key.answer and key.answer:
        return _verdict(key, Decision(True, "string"))
    if not key.gold.strip():
        return Verdict("ungraded", key.answer, "none", "no_gold")
    if len(key.answer) > MAX_ANSWER or len(key.gold) > MAX_ANSWER:
        return _overlong(key)
    rules = read_rules(key.rules)
    gold, answer = drop_variable(*(as_digits(normalise(text)) for text in drop_point_name(key.gold, key.answer)))
    if (
        "." in key.gold
        and "\\" in key.gold
        and key.answer.strip("$ ") == drop_repeating_bar(key.gold) != key.gold.strip("$ ")
    ):
        return Verdict("incorrect", key.answer, "number", None)
    if rules.required and (lacking := missing_requirement(key.gold, key.answer, rules.required)):
        return Verdict("incorrect", key.answer, lacking, f"without_{lacking}")
    if SEVERAL_OPTIONS.fullmatch(gold) and ALTERNATIVE.search(key.answer):
        return Verdict("incorrect", key.answer, "choice", None)
    decision, reason = equal(rules, gold, answer)
    if decision.correct is not None:
        return _verdict(key, decision)
    if is_code(answer) and parse(gold) is not None:
        return Verdict("incorrect", key.answer, "code", None)
    reason = reason or refusal(gold) or refusal(answer)
    if reason is not None:
        return Verdict("ungraded", key.answer, "none", reason)
    if "\\text" not in gold + answer and len(PRIME.findall(gold)) != len(PRIME.findall(answer)):
        # The symbolic check drops primes: f' is not f.
        return Verdict("incorrect", key.answer, "prime", None)
    return Check(split_unit(gold).body, split_unit(answer).body)


def _overlong(key: VerdictKey) -> Verdict:
    """An answer of thousands of characters to a gold of a few is wrong; a long gold cannot be compared here."""
    short = len(key.gold) * 20 < len(key.answer)
    return Verdict("incorrect" if short else "ungraded", key.answer, "length" if short else "none", "too_long")


def _verdict(key: VerdictKey, decision: Decision) -> Verdict:
    return Verdict("correct" if decision.correct else "incorrect", key.answer, decision.rule, None)


def _symbolic(key: VerdictKey, outcome: str) -> Verdict:
    if outcome in DECIDED:
        return Verdict(outcome, key.answer, "symbolic", None)
    return Verdict("ungraded", key.answer, "none", outcome)


def clear_cache() -> None:
    """Empty the cache of this process, so that a measurement starts from nothing."""
    _graded.clear()


def _store(graded: dict[VerdictKey, Verdict]) -> None:
    """Cache the verdicts; a full cache is cleared whole. A timeout may pass on a quieter machine: not cached."""
    if len(_graded) > MAX_CACHED:
        _graded.clear()
    _graded.update(
        (key, verdict) for key, verdict in graded.items() if verdict.reason not in ("timeout", "worker_died")
    )
