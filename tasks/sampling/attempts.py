"""Graded samples of pool questions: what `screen`, `band` and `reason` decide on."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.engines.params import ChatParams, EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import Engine
from tasks.grading.grader import Pair, Verdict, grade_many, kept_beside
from tasks.grading.kept import Kept
from tasks.ledger.ledger import Ledger
from tasks.records.model import Model
from tasks.records.response import ATTEMPT, CUT_OFF, TOO_LONG
from tasks.sampling.draw import draw
from tasks.sampling.groups import Drawn, Group
from tasks.sampling.outcomes import Rule
from tasks.sampling.sampled import with_texts, write_with_texts

TOO_LONG_REASON = "prompt_too_long"
VERDICT = {"verdict": pl.String, "extracted": pl.String, "rule": pl.String, "verdict_reason": pl.String}

ROWS_A_FRAME = 50_000


class Attempts(NamedTuple):
    """The attempts by question and sample index, and the facts of the run."""

    table: pl.DataFrame
    """ATTEMPT without the text, and what finds it in the ledger."""
    facts: dict[str, Any]
    ledger: Ledger

    def whole(self) -> pl.DataFrame:
        """The attempts with their texts (ATTEMPT), in memory."""
        return with_texts(self.table, self.ledger).select(ATTEMPT.names())

    def write(self, path: Path) -> None:
        """Write the attempts with their texts (ATTEMPT) as Parquet, in bounded memory."""
        write_with_texts(self.table, self.ledger, path, ATTEMPT.names())


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
        Group(
            row["question_id"], render(row["question"]), row["answer"] or "", "auto", samples, sampling, render.opened
        )
        for row in questions.iter_rows(named=True)
    ]
    book = _Verdicts(kept_beside(ledger))
    table, facts, drawn_from = draw(
        groups, name=name, model=model, engine=engine, ledger=ledger, rule=rule, judge=book.judge, start=start
    )
    graded = table.rename({"key": "question_id"}).join(book.table(), on="place", how="left", maintain_order="left")
    unsent = pl.col("finish_reason") == TOO_LONG
    filled = {"verdict": "ungraded", "rule": "none", "verdict_reason": TOO_LONG_REASON}
    graded = graded.with_columns(
        pl.lit(model.model_id).alias("model_id"),
        *(pl.when(unsent).then(pl.lit(value)).otherwise(column).alias(column) for column, value in filled.items()),
    )
    ungraded = graded.filter(pl.col("verdict") == "ungraded").height
    return Attempts(graded, {**facts, "ungraded": ungraded}, drawn_from)


class _Verdicts:
    """The verdict of each sample by its place, in columns, so that millions fit in memory."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._rows: list[tuple[int, Verdict]] = []
        self._frames = [pl.DataFrame(schema={"place": pl.Int64, **VERDICT})]

    def judge(self, drawn: Sequence[Drawn]) -> list[bool]:
        graded = [one for one in drawn if one.finish_reason != TOO_LONG]
        verdicts = grade_many(
            [Pair(one.group.gold, one.text, one.group.kind, cut_off=one.finish_reason in CUT_OFF) for one in graded],
            kept=self._kept,
        )
        places = [one.place for one in graded]
        self._rows += zip(places, verdicts, strict=True)
        if len(self._rows) >= ROWS_A_FRAME:
            self._pack()
        right = {place for place, verdict in zip(places, verdicts, strict=True) if verdict.verdict == "correct"}
        return [one.place in right for one in drawn]

    def _pack(self) -> None:
        rows = [(place, *verdict[: len(VERDICT)]) for place, verdict in self._rows]
        self._frames.append(pl.DataFrame(rows, schema=self._frames[0].schema, orient="row"))
        self._rows.clear()

    def table(self) -> pl.DataFrame:
        self._pack()
        return pl.concat(self._frames)


def too_long(attempts: pl.DataFrame) -> pl.Series:
    """The ids of questions whose prompt leaves no room for a response."""
    return attempts.filter(pl.col("finish_reason") == TOO_LONG)["question_id"]
