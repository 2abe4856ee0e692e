"""The reasons of the filters in words, and their evidence in short."""

import json
from collections.abc import Mapping
from typing import Any

REASONS: Mapping[str, str] = {
    "empty_question": "the row has no question",
    "no_answer": "the source states no answer",
    "repeated_row": "the source has the same text in an earlier row",
    "question_too_short": "too few characters to be a question",
    "question_too_long": "more characters than a question may have",
    "oversized_question": "too large to be a question",
    "control_characters": "holds control characters, so that its text cannot be trusted",
    "no_verifiable_answer": "no final answer that a rule could check",
    "answer_too_long": "its answer is a text, which no rule can check",
    "asks_for_proof": "asks for a proof, which no rule can check",
    "several_parts": "asks for several things, which one answer cannot grade",
    "needs_image": "needs an image",
    "other_language": "not in a language that was asked for",
    "exact_duplicate": "says the same as an earlier question, but for typesetting",
    "near_duplicate": "says nearly the same as an earlier question",
    "answers_disagree": "says nearly the same as other questions, and their answers disagree",
    "benchmark_overlap": "stands in a benchmark",
    "prompt_too_long": "does not fit the model's context",
    "solved_by_weak_model": "too easy: the weak model solves it",
    "never_solved": "too hard: the strong model never solves it",
    "solved_too_seldom": "too hard: the strong model solves it too seldom",
    "solved_too_often": "too easy: the strong model solves it too often",
    "truncated": "was cut off before its end",
    "looped": "was stopped for repeating itself",
    "not_best_of_question": "another chain of the same question is better",
    "below_cut": "good, but not among the best that were asked for",
    "domain_full": "good, but its domain has had its share",
    "benchmark_leak": "its chain holds a benchmark item",
    "too_long": "has more tokens than training takes",
}
"""A reason that is not here is shown by its name alone."""


def in_words(reason: str) -> str:
    """A reason with what it means: `near_duplicate: says nearly the same as an earlier question`."""
    return f"{reason}: {REASONS[reason]}" if reason in REASONS else reason


def parsed(evidence: str | None) -> dict[str, Any]:
    """Evidence that is a JSON object, as such; empty for any other."""
    if not evidence or not evidence.startswith("{"):
        return {}
    try:
        value: dict[str, Any] = json.loads(evidence)
    except json.JSONDecodeError:
        return {}
    return value


def in_short(evidence: str | None) -> str:
    """Evidence as one line: the entries of a JSON object one after the other, without the matched text."""
    entries = parsed(evidence)
    if not entries:
        return evidence or ""
    shown = [(name, value) for name, value in entries.items() if name != "match" and value is not None]
    return ", ".join(_entry(name, value) for name, value in shown)


def _entry(name: str, value: object) -> str:
    """An id or the name of a benchmark speaks for itself."""
    return str(value) if name.endswith("_id") or name == "benchmark" else f"{name} {value}"
