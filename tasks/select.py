"""Select the training samples: the best chain of every question, ranked, and the top of that ranking.

Reads scored chains (SCORED); writes `kept.parquet` (SAMPLE, rank 1 first) and `rejected.parquet` (SCORED, reason,
evidence). The paper trains on 800 of them: that few suffice is what it is about.
"""

import time
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field

from tasks.errors import LimoError
from tasks.files import publish, read_table
from tasks.manifest import write_filter
from tasks.params import Params
from tasks.records.chain import SCORED
from tasks.records.ids import content_id
from tasks.stage import stage_main


class SelectParams(Params):
    """Which chains become training samples."""

    count: int = Field(800, ge=1)
    """Samples to keep at most. Paper: 800."""
    order: Literal["quality", "random", "shortest", "longest"] = "quality"
    """What is best, within a question and between them. Paper: quality; the others are for ablations."""
    balance: Literal["none", "domain"] = "none"
    """`domain`: domains take turns, the best of each first, until the count is reached. Paper (v3): none."""
    seed: int = 0
    """Of the order `random`."""


def select_samples(chains: pl.DataFrame, params: SelectParams) -> pl.DataFrame:
    """Every chain (SCORED), the best first, with `rank` (null: not selected), `reason` and `evidence`."""
    ordered = chains.with_columns(_key=_key(chains, params)).sort("_key", "chain_id")
    ordered = ordered.with_columns(_best=pl.col("chain_id").first().over("question_id", order_by=["_key", "chain_id"]))
    ordered = ordered.with_columns(_is_best=pl.col("chain_id") == pl.col("_best"))
    placed = _placed(ordered.filter("_is_best"), params)
    decided = ordered.join(placed, on="chain_id", how="left", maintain_order="left")
    decided = decided.with_columns(reason=_reason(params), evidence=pl.lit(None, pl.String))
    rank = pl.when(pl.col("reason").is_null()).then(pl.col("reason").is_null().cum_sum().cast(pl.Int64))
    best = chains.select(pl.col("chain_id").alias("_best"), pl.col("quality").alias("_best_quality"))
    decided = decided.with_columns(rank=rank).join(best, on="_best", how="left", maintain_order="left")
    decided = decided.with_columns(evidence=_evidence(params)).sort("rank", nulls_last=True, maintain_order=True)
    return decided.select(*SCORED.names(), "rank", "reason", "evidence")


def _key(chains: pl.DataFrame, params: SelectParams) -> pl.Expr | pl.Series:
    """What the chains are sorted by, ascending."""
    if params.order == "random":
        # A hash of seed and id: the same draw whatever other chains there are, and in any version of any library.
        return pl.Series([content_id("draw", params.seed, name) for name in chains["chain_id"]], dtype=pl.String)
    return {"quality": -pl.col("quality"), "shortest": pl.col("n_tokens"), "longest": -pl.col("n_tokens")}[params.order]


def _placed(best: pl.DataFrame, params: SelectParams) -> pl.DataFrame:
    """For the best chain of each question: its place by the order alone, and its turn when domains take turns."""
    turn = pl.int_range(pl.len()).over("domain") if params.balance == "domain" else pl.lit(0)
    placed = best.with_columns(_place=pl.int_range(pl.len()), _round=turn)
    placed = placed.sort("_round", "_place").with_columns(_turn=pl.int_range(pl.len()))
    return placed.select("chain_id", "_place", "_turn")


def _reason(params: SelectParams) -> pl.Expr:
    return (
        pl.when(~pl.col("_is_best"))
        .then(pl.lit("not_best_of_question"))
        .when(pl.col("_turn") < params.count)
        .then(None)
        # Good enough by the order alone, but its domain had had its share.
        .when(pl.col("_place") < params.count)
        .then(pl.lit("domain_full"))
        .otherwise(pl.lit("below_cut"))
    )


def _evidence(params: SelectParams) -> pl.Expr:
    quality = pl.col("_best_quality").round(4)
    place = pl.format("place {} of {}, cut at {}", pl.col("_place") + 1, pl.col("_is_best").sum(), params.count)
    return (
        pl.when(pl.col("reason") == "not_best_of_question")
        .then(pl.format("{} with quality {}", pl.col("_best"), quality))
        .when(pl.col("reason") == "domain_full")
        .then(pl.format("{}; domain {}", place, pl.col("domain").fill_null("(none)")))
        .when(pl.col("reason") == "below_cut")
        .then(place)
    )


def run(select: SelectParams, *, chains: Path, out: Path) -> None:
    """Select from the scored chains of a Parquet file."""
    started = time.monotonic()
    scored = read_table(chains, SCORED)
    twice = scored.filter(pl.col("chain_id").is_duplicated())
    if not twice.is_empty():
        raise LimoError(f"{chains}: chain {twice['chain_id'][0]} is there twice; run `dvc repro -f -s reason`")
    decided = select_samples(scored, select)
    facts = _facts(decided, select) | {"seconds": round(time.monotonic() - started, 3)}
    with publish(out) as part:
        write_filter(part, "select", decided, facts)


def _facts(decided: pl.DataFrame, params: SelectParams) -> dict[str, Any]:
    kept = decided.filter(pl.col("reason").is_null())
    return {
        "questions": decided["question_id"].n_unique(),
        "short_by": params.count - kept.height,
        "lowest_quality": kept["quality"].min(),
        "teachers": _counted(kept["teacher"]),
        "domains": _counted(kept["domain"].fill_null("(none)")),
    }


def _counted(values: pl.Series) -> dict[str, int]:
    return dict(values.value_counts().sort(values.name).iter_rows())


if __name__ == "__main__":
    stage_main(run)
