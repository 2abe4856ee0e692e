"""Keep only questions that no benchmark contains.

Reads QUESTION (from `clean`) and ITEM (from `benchmarks`); writes kept.parquet and rejected.parquet (QUESTION) and
manifest.json. The evidence of a rejection is JSON: benchmark, item, rule, the matched words, the share in common.
"""

import time
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field, PositiveInt

from tasks.files import publish, read_table
from tasks.manifest import write_filter
from tasks.params import Params
from tasks.pool.ngrams import build, find
from tasks.records.benchmark import ITEM
from tasks.records.question import QUESTION
from tasks.stage import stage_main


class DecontaminateParams(Params):
    """When a question counts as contained in a benchmark. By default any common n-gram, as in the paper."""

    ngram: PositiveInt = 8
    """Words an n-gram. The paper matches n-grams and does not say how long; 8 is what open-r1 and s1 use."""
    boilerplate_items: PositiveInt | None = None
    """An n-gram that stands in more benchmark items than this is no evidence; null: every n-gram is. Questions made
    from templates need it: all of them share their wording."""
    min_share: float = Field(default=0.0, ge=0, le=1)
    """Smallest share of n-grams in common, of the shorter text's; 0: one n-gram is enough, as in the paper."""


def decide(questions: pl.DataFrame, items: pl.DataFrame, params: DecontaminateParams) -> pl.DataFrame:
    """All questions, with `reason` and `evidence` where one overlaps a benchmark item."""
    index = build(items, params.ngram, params.boilerplate_items)
    hits = find(questions, index, params.min_share).join(items.select("item_id", "benchmark"), on="item_id")
    shown = hits.select(
        "question_id",
        pl.lit("benchmark_overlap").alias("reason"),
        pl.struct("benchmark", "item_id", "rule", "match", pl.col("share").round(3))
        .struct.json_encode()
        .alias("evidence"),
    )
    return questions.join(shown, on="question_id", how="left", maintain_order="left")


def hits_per_benchmark(decided: pl.DataFrame) -> dict[str, int]:
    """How many questions each benchmark's items rejected."""
    hits = decided.filter(pl.col("reason").is_not_null())
    benchmark = pl.col("evidence").str.json_path_match("$.benchmark")
    return dict(hits.group_by(benchmark).len().sort("evidence").iter_rows())


def run(decontaminate: DecontaminateParams, *, questions: Path, items: Path, out: Path) -> None:
    """Match every question against every item."""
    pool, benchmark_items = read_table(questions, QUESTION), read_table(items, ITEM)
    started = time.monotonic()
    decided = decide(pool, benchmark_items, decontaminate)
    seconds = time.monotonic() - started
    facts: dict[str, Any] = {"benchmarks": hits_per_benchmark(decided), "items": benchmark_items.height}
    facts |= {"seconds": round(seconds, 3), "questions_per_second": round(pool.height / seconds)}
    with publish(out) as folder:
        write_filter(folder, "decontaminate", decided, facts)


if __name__ == "__main__":
    stage_main(run)
