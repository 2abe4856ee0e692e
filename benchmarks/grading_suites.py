r"""How often this project's grader and Math-Verify are right on labelled pairs: what `grading.py --suite` prints."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypedDict

from math_verify import parse, verify

from tasks.grading.grader import Pair, Verdict, grade_many


class Row(TypedDict, total=False):
    """A labelled pair, as a suite's file has it."""

    gold: str
    answer: str
    response: str
    kind: str
    correct: bool


class Counts(NamedTuple):
    """The outcomes of a grader on a suite."""

    right: int
    false_positives: int
    """Wrong by the label, correct by the grader."""
    false_negatives: int
    ungraded: int


class SuiteCounts(NamedTuple):
    """Both graders on one suite."""

    name: str
    pairs: int
    ours: Counts
    theirs: Counts


def count_suite(path: Path, *, show: bool = False) -> SuiteCounts:
    """Grade the pairs of a file.

    Args:
        show: print each pair that this project's grader misses.
    """
    rows: list[Row] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    verdicts = grade_many([_pair(row) for row in rows])
    if show:
        _show(path.stem, rows, verdicts)
    # Math-Verify warns of each answer that it cannot read.
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    ours = _counts(rows, (verdict.verdict for verdict in verdicts))
    return SuiteCounts(path.stem, len(rows), ours, _counts(rows, map(_theirs, rows)))


def table(suites: list[SuiteCounts]) -> str:
    """One line a suite and one for all of them: right, false positives, false negatives, ungraded."""
    total = SuiteCounts(
        "all",
        sum(suite.pairs for suite in suites),
        _added(suite.ours for suite in suites),
        _added(suite.theirs for suite in suites),
    )
    head = f"{'suite':<20} {'pairs':>5}   {'this grader':>12}  FP  FN  open   {'Math-Verify':>12}  FP  FN  open"
    return "\n".join([head, *map(_line, [*suites, total])])


def _line(suite: SuiteCounts) -> str:
    parts = [f"{suite.name:<20} {suite.pairs:>5}"]
    for counts in (suite.ours, suite.theirs):
        right, false_positives, false_negatives, ungraded = counts
        share = right / max(1, suite.pairs)
        parts.append(f"{right:>5} {share:6.1%} {false_positives:>3} {false_negatives:>3} {ungraded:>5}")
    return "   ".join(parts)


def _pair(row: Row) -> Pair:
    bare = "answer" in row
    return Pair(row["gold"], row["answer"] if bare else row["response"], row.get("kind", "auto"), bare)


def _theirs(row: Row) -> str:
    """Math-Verify's verdict, as its documentation says: gold first; a bare answer becomes a formula."""
    answer = row["response"] if "response" in row else _formula(row["answer"])
    try:
        gold, given = parse(_formula(row["gold"])), parse(answer)
        return "correct" if verify(gold, given) else "incorrect"
    except Exception:
        return "ungraded"


def _formula(text: str) -> str:
    return text if "$" in text or "\\boxed" in text else f"${text}$"


def _counts(rows: list[Row], verdicts: Iterable[str]) -> Counts:
    found = [(row["correct"], verdict) for row, verdict in zip(rows, verdicts, strict=True)]
    return Counts(
        sum(verdict == ("correct" if label else "incorrect") for label, verdict in found),
        sum(verdict == "correct" and not label for label, verdict in found),
        sum(verdict == "incorrect" and label for label, verdict in found),
        sum(verdict == "ungraded" for _, verdict in found),
    )


def _added(counts: Iterable[Counts]) -> Counts:
    return Counts(*map(sum, zip(*counts, strict=True)))


def _show(name: str, rows: list[Row], verdicts: list[Verdict]) -> None:
    for row, verdict in zip(rows, verdicts, strict=True):
        if verdict.verdict != ("correct" if row["correct"] else "incorrect"):
            label = "right" if row["correct"] else "wrong"
            given = row.get("answer", row.get("response", ""))
            print(f"{name}: {label} by its label: gold {row['gold']!r}, answer {given!r}: {verdict[:4]}")
