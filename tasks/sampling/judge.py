"""Have a model judge the answers that rules and symbols left open."""

from typing import Any, NamedTuple

import polars as pl

from tasks.core.params import ModelName, Params
from tasks.engines.params import SamplingParams
from tasks.grading.judge import Case, can_be_judged, prompt, read_verdict
from tasks.records.benchmark import JUDGEMENT
from tasks.sampling.sampler import Sampler
from tasks.sampling.schedule import Group


class JudgeParams(Params):
    """Which model judges, and how its judgements are drawn."""

    model: ModelName
    """By its name under base.models. Paper: Qwen2.5-32B-Instruct, for answers that rules cannot compare."""
    sampling: SamplingParams = SamplingParams(temperature=0, max_tokens=1024)
    """How a judgement is drawn, one a different answer to an item. Paper: not stated."""


class Judgements(NamedTuple):
    """The judgements (JUDGEMENT), one a different answer to an item, and the facts of drawing them."""

    table: pl.DataFrame
    facts: dict[str, Any]


def judge_open(verdicts: pl.DataFrame, items: pl.DataFrame, judge: Sampler, sampling: SamplingParams) -> Judgements:
    """Judge each different answer to an item among the open `verdicts` (VERDICT) that a judge can decide.

    Args:
        items: the items (ITEM), with question and gold.
        judge: of the model that judges; its chat has no system message.
    """
    cases = open_cases(verdicts, items)
    render = judge.render
    groups = [
        Group(str(row), render(prompt(Case(*map(render.disarmed, case)))), "", "auto", 1, sampling, render.opened)
        for row, case in enumerate(cases.select("question", "gold", "extracted").iter_rows())
    ]
    samples = judge.draw(groups)
    drawn = samples.with_texts().with_columns(pl.col("key").cast(pl.UInt32).alias("row"))
    answered = cases.with_row_index("row").join(drawn, on="row", how="left", maintain_order="left")
    words = [read_verdict(text, finish) for text, finish in answered.select("text", "finish_reason").iter_rows()]
    table = answered.with_columns(verdict=pl.Series(words, dtype=pl.String), model_id=pl.lit(judge.model.model_id))
    return Judgements(table.select(JUDGEMENT.names()).cast(JUDGEMENT), samples.facts)


def open_cases(verdicts: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """The different answers to judge: columns item_id, extracted, question, gold."""
    columns = verdicts.select("verdict", "extracted", "verdict_reason").iter_rows()
    open_ = verdicts.filter(pl.Series([can_be_judged(*row) for row in columns], dtype=pl.Boolean))
    cases = open_.select("item_id", "extracted").unique(maintain_order=True)
    return cases.join(items.select("item_id", "question", "gold"), on="item_id", how="left", maintain_order="left")


def settle(verdicts: pl.DataFrame, judgements: pl.DataFrame, grader: str) -> pl.DataFrame:
    """The verdicts with what the judge decided; what it left open stays `ungraded`, by `judge_undecided`.

    Args:
        grader: version of the grader with this judge.
    """
    found = judgements.select("item_id", "extracted", judged="verdict", judged_by="response_id")
    joined = verdicts.join(found, on=["item_id", "extracted"], how="left", maintain_order="left")
    was_judged = (pl.col("verdict") == "ungraded") & pl.col("judged_by").is_not_null()
    decided = was_judged & pl.col("judged").is_not_null()
    return joined.with_columns(
        verdict=pl.when(decided).then("judged").otherwise("verdict"),
        rule=pl.when(decided).then(pl.lit("judge")).otherwise("rule"),
        verdict_reason=pl.when(was_judged)
        .then(pl.when(~decided).then(pl.lit("judge_undecided")))
        .otherwise("verdict_reason"),
        grader=pl.when(was_judged).then(pl.lit(grader)).otherwise("grader"),
        judge_response_id=pl.when(was_judged).then("judged_by").otherwise("judge_response_id"),
    ).select(verdicts.columns)
