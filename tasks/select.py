"""Select the training samples: the best chain of every question, ranked, and the top of that ranking.

Reads scored chains (SCORED) and benchmark items (ITEM); writes `kept.parquet` (SAMPLE, rank 1 first),
`rejected.parquet` (SCORED, reason, evidence) and `leaks.parquet` (LEAK: what every rule found, whether it drops or only
reports). The paper trains on 800 of them: that few suffice is what it is about.

A teacher may recite a benchmark item while it reasons on another question, which `decontaminate` cannot have seen.
Such a chain goes before the best of each question is taken, so that the next best one takes its place.
"""

from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field

from tasks.core.errors import LimoError
from tasks.core.files import publish, read_table
from tasks.core.filter import write_filter
from tasks.core.params import Params
from tasks.core.stage import Stage, stage_main
from tasks.records.benchmark import ITEM
from tasks.records.ids import content_id
from tasks.records.question import LEAK
from tasks.records.response import SCORED
from tasks.text.ngrams import (
    OverlapRule,
    OverlapRules,
    RuleCounts,
    annotate_hits,
    build_index,
    find_overlaps,
    rejections,
)

LEAKED = "benchmark_leak"
STAGE = Stage(
    "select",
    "chains",
    {
        LEAKED: "its chain holds a benchmark item",
        "not_best_of_question": "another chain of the same question is better",
        "below_cut": "good, but below the cut at `select.count`",
        "domain_full": "good, but its domain has its share",
    },
)


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
    leaks: OverlapRules = (OverlapRule(name="ngram", n=8, min_share=0.5, min_common=3, boilerplate_items=3),)
    """When a chain counts as containing a benchmark item, in the terms of `decontaminate.rules`; an empty list: never.

    What a chain shares with an item by quoting its own question does not count: `decontaminate` has let that pass. A
    chain equal to an item always counts. An item of fewer than n + min_common - 1 tokens (10) is not found inside a
    chain: a long chain holds such words by chance. The paper does not say that it looks for leaks in chains."""


def find_leaks(chains: pl.DataFrame, items: pl.DataFrame, rules: OverlapRules) -> pl.DataFrame:
    """What every chain (`chain_id`, `question_id`, `question`, `text`) holds of a benchmark item (LEAK).

    At most one hit a chain and rule: the item with the largest share in it. N-grams of the chain's own question are
    left out of what they share, so that the share is what the chain adds to its question.
    """
    if not rules:
        return LEAK.to_frame()
    texts = chains.select(question_id="chain_id", question="text", known="question")
    found = find_overlaps(texts, build_index(items, rules), threads=pl.thread_pool_size()).rename(
        {"question_id": "chain_id"}
    )
    leaks = annotate_hits(found, items, rules)
    named = leaks.join(chains.select("chain_id", "question_id"), on="chain_id", how="left", maintain_order="left")
    return named.select(LEAK.names())


def select_samples(chains: pl.DataFrame, params: SelectParams, leaks: pl.DataFrame | None = None) -> pl.DataFrame:
    """Every chain (SCORED), the best first, with `rank` (null: not selected), `reason` and `evidence`.

    Args:
        leaks: what the chains have in common with benchmark items (LEAK); chains with a hit that drops come last.
    """
    hits = rejections(LEAK.to_frame() if leaks is None else leaks, "chain_id", LEAKED)
    leaked = chains.join(hits, on="chain_id", maintain_order="left").with_columns(rank=pl.lit(None, pl.Int64))
    ranked = _ranked(chains.join(hits, on="chain_id", how="anti", maintain_order="left"), params)
    return pl.concat([ranked, leaked.select(ranked.columns)])


def _ranked(chains: pl.DataFrame, params: SelectParams) -> pl.DataFrame:
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


def run(select: SelectParams, *, chains: Path, items: Path, out: Path) -> None:
    """Select from the scored chains of a Parquet file those that hold no benchmark item of another."""
    scored = read_table(chains, SCORED)
    twice = scored.filter(pl.col("chain_id").is_duplicated())
    if not twice.is_empty():
        raise LimoError(f"{chains}: chain {twice['chain_id'][0]} is there twice; run `dvc repro -f -s reason`")
    leaks = find_leaks(scored, read_table(items, ITEM), select.leaks)
    decided = select_samples(scored, select, leaks)
    facts = _facts(decided, select) | {"leaks": _leak_facts(leaks, select.leaks)}
    with publish(out) as part:
        leaks.write_parquet(part / "leaks.parquet")
        write_filter(part, STAGE, decided, chains, facts)


def _facts(decided: pl.DataFrame, params: SelectParams) -> dict[str, Any]:
    kept = decided.filter(pl.col("reason").is_null())
    return {
        "questions": decided["question_id"].n_unique(),
        "short_by": params.count - kept.height,
        "lowest_quality": kept["quality"].min(),
        "teachers": _counted(kept["teacher"]),
        "domains": _counted(kept["domain"].fill_null("(none)")),
    }


def _leak_facts(leaks: pl.DataFrame, rules: OverlapRules) -> dict[str, Any]:
    """What each rule finds in how many chains, by benchmark; nothing where no rule looks."""
    counts = RuleCounts(rules, "chain_id", "chains")
    counts.add(leaks)
    return counts.facts() if rules else {}


def _counted(values: pl.Series) -> dict[str, int]:
    return dict(values.value_counts().sort(values.name).iter_rows())


if __name__ == "__main__":
    stage_main(run)
