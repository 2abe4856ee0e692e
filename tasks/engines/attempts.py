"""Graded samples of pool questions: what `screen`, `band` and `reason` decide on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.engines.groups import Drawn, Group, Rule
from tasks.engines.launch import open_engine
from tasks.engines.ledger import Ledger
from tasks.engines.params import ChatParams, EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import Engine
from tasks.engines.sampler import sample
from tasks.grading.grader import Pair, Verdict, grade_many
from tasks.records.model import Model
from tasks.records.response import ATTEMPT, TOO_LONG

TOO_LONG_REASON = "prompt_too_long"


class Attempts(NamedTuple):
    """The attempts (ATTEMPT) by question and sample index, and the facts of the run."""

    table: pl.DataFrame
    facts: dict[str, Any]


def attempt(
    questions: pl.DataFrame,
    *,
    name: str,
    model: Model,
    samples: int,
    sampling: SamplingParams,
    rule: Rule,
    engine: EngineParams,
    chat: ChatParams,
    ledger: Path,
    start: Callable[[], Engine] | None = None,
) -> Attempts:
    """Draw and grade up to `samples` responses of `model` to each question, until `rule` is certain.

    Args:
        start: starts the engine, where it is not the one of params.
    """
    render = prompt_renderer(Path(model.path), chat)
    groups = [
        Group(row["question_id"], render(row["question"]), row["answer"] or "", "auto", samples, sampling)
        for row in questions.iter_rows(named=True)
    ]
    book = _Verdicts()
    drawn, facts = sample(
        groups,
        name=name,
        model_id=model.model_id,
        ledger=Ledger(ledger, model.model_id, engine.flush_responses, engine.flush_seconds),
        open_engine=start or (lambda: open_engine(engine, model, ledger / "vllm.log")),
        places=engine.places,
        rule=rule,
        judge=book.judge,
    )
    table = pl.DataFrame([book.row(one) for one in drawn], schema=ATTEMPT)
    ungraded = table.filter(pl.col("verdict") == "ungraded").height
    return Attempts(table, {"model": model.name, "model_id": model.model_id, **facts, "ungraded": ungraded})


class _Verdicts:
    """The verdict of each response, given once."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], Verdict] = {}

    def judge(self, drawn: Sequence[Drawn]) -> list[bool]:
        graded = [one for one in drawn if one.response.finish_reason != TOO_LONG]
        verdicts = grade_many([Pair(one.group.gold, one.response.text, one.group.kind) for one in graded])
        self._given.update(zip(map(_key, graded), verdicts, strict=True))
        return [_key(one) in self._given and self._given[_key(one)].verdict == "correct" for one in drawn]

    def row(self, one: Drawn) -> dict[str, Any]:
        missing = Verdict("ungraded", None, "none", TOO_LONG_REASON)
        verdict = self._given.get(_key(one), missing)
        response = one.response
        return {
            "question_id": one.group.key,
            "response_id": response.response_id,
            "model_id": response.model_id,
            "sample_index": response.sample_index,
            "verdict": verdict.verdict,
            "extracted": verdict.extracted,
            "rule": verdict.rule,
            "verdict_reason": verdict.reason,
            "finish_reason": response.finish_reason,
            "n_tokens": response.n_tokens,
            "text": response.text,
        }


def _key(one: Drawn) -> tuple[str, str]:
    return (one.group.key, one.response.response_id)


def too_long(attempts: pl.DataFrame) -> pl.Series:
    """The ids of questions whose prompt leaves no room for a response."""
    return attempts.filter(pl.col("finish_reason") == TOO_LONG)["question_id"]
