"""Have a model judge the answers that rules and symbols left open."""

from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.engines.params import ChatParams, EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.grading.judge import Case, may_be_asked, prompt, read_verdict
from tasks.params import Params
from tasks.records.benchmark import JUDGEMENT
from tasks.records.model import Model
from tasks.sampling.draw import draw
from tasks.sampling.groups import Group
from tasks.sampling.sampled import with_texts


class JudgeParams(Params):
    """Which model judges, and how its judgements are drawn."""

    model: str
    """By its name under base.models. Paper: Qwen2.5-32B-Instruct, for answers that rules cannot compare."""
    sampling: SamplingParams = SamplingParams(temperature=0, max_tokens=1024)
    """How a judgement is drawn, one a different answer to an item. Paper: not stated."""


class Judged(NamedTuple):
    """The judgements (JUDGEMENT), one a different answer to an item, and the facts of drawing them."""

    table: pl.DataFrame
    facts: dict[str, Any]


def judge_open(
    verdicts: pl.DataFrame,
    items: pl.DataFrame,
    params: JudgeParams,
    model: Model,
    *,
    engine: EngineParams,
    chat: ChatParams,
    ledger: Path,
) -> Judged:
    """Judge each different answer to an item among the open `verdicts` (VERDICT) that a judge can decide.

    Args:
        items: the items (ITEM), with question and gold.
        ledger: folder of the ledgers of all models, where judgements are kept as all responses are.
    """
    cases = open_cases(verdicts, items)
    # The judge has an instruction of its own: the system message for solving would have it solve.
    render = prompt_renderer(Path(model.path), chat.model_copy(update={"system": None}))
    groups = [
        Group(
            str(place), render(prompt(Case(*map(render.disarmed, row)))), "", "auto", 1, params.sampling, render.opened
        )
        for place, row in enumerate(cases.select("question", "gold", "extracted").iter_rows())
    ]
    sampled = draw(groups, name="grade (judge)", model=model, engine=engine, ledger=ledger)
    drawn = with_texts(sampled.table, sampled.ledger).with_columns(pl.col("key").cast(pl.UInt32).alias("place"))
    said = cases.with_row_index("place").join(drawn, on="place", how="left", maintain_order="left")
    words = [read_verdict(text, finish) for text, finish in said.select("text", "finish_reason").iter_rows()]
    table = said.with_columns(verdict=pl.Series(words, dtype=pl.String), model_id=pl.lit(model.model_id))
    return Judged(table.select(JUDGEMENT.names()).cast(JUDGEMENT), sampled.facts)


def open_cases(verdicts: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """The different answers to judge: columns item_id, extracted, question, gold."""
    columns = verdicts.select("verdict", "extracted", "verdict_reason").iter_rows()
    asked = verdicts.filter(pl.Series([may_be_asked(*row) for row in columns], dtype=pl.Boolean))
    cases = asked.select("item_id", "extracted").unique(maintain_order=True)
    return cases.join(items.select("item_id", "question", "gold"), on="item_id", how="left", maintain_order="left")


def settle(verdicts: pl.DataFrame, judgements: pl.DataFrame, grader: str) -> pl.DataFrame:
    """The verdicts with what the judge decided; what it left open stays `ungraded`, by `judge_undecided`.

    Args:
        grader: version of the grader with this judge.
    """
    found = judgements.select("item_id", "extracted", judged="verdict", judged_by="response_id")
    joined = verdicts.join(found, on=["item_id", "extracted"], how="left", maintain_order="left")
    asked = (pl.col("verdict") == "ungraded") & pl.col("judged_by").is_not_null()
    decided = asked & pl.col("judged").is_not_null()
    return joined.with_columns(
        verdict=pl.when(decided).then("judged").otherwise("verdict"),
        rule=pl.when(decided).then(pl.lit("judge")).otherwise("rule"),
        verdict_reason=pl.when(asked)
        .then(pl.when(~decided).then(pl.lit("judge_undecided")))
        .otherwise("verdict_reason"),
        grader=pl.when(asked).then(pl.lit(grader)).otherwise("grader"),
        judge_response_id=pl.when(asked).then("judged_by").otherwise("judge_response_id"),
    ).select(verdicts.columns)
