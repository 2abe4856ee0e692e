"""Keep only questions that no benchmark contains.

Reads CLEANED (from `clean`) and ITEM (from `benchmarks`); writes kept.parquet and rejected.parquet (CLEANED),
hits.parquet (HIT: what every rule found, whether it drops or only reports) and a manifest (what each rule would
drop). The evidence of a rejection is JSON: benchmark, item, rule, the text in common, the share in common.
"""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from tasks.core.files import publish, read_table
from tasks.core.filter import FilterWriter
from tasks.core.params import Params
from tasks.core.shards import Job, ShardsParams, exclusive, run_shards, shards_digest
from tasks.core.stage import Stage, stage_main
from tasks.core.tables import Group, TableWriter, read_group, row_groups
from tasks.records.benchmark import ITEM
from tasks.records.question import CLEANED, HIT
from tasks.text.ngrams import (
    OverlapIndex,
    OverlapRule,
    OverlapRules,
    RuleCounts,
    annotate_hits,
    build_index,
    find_overlaps,
    rejections,
)

REASON = "benchmark_overlap"
STAGE = Stage("decontaminate", "questions", {REASON: "overlaps a benchmark item"})


class DecontaminateParams(Params):
    """When a question counts as contained in a benchmark.

    An equal text always does (the rule `whole`). The default finds copies however they are typeset, within a longer
    text or in part (`ngram`), reworded ones (`containment`), and ones with other numbers or variables (`masked`). What
    each finds and misses is measured by benchmarks/decontamination.py.
    """

    rules: OverlapRules = (
        OverlapRule(name="ngram", n=8, min_share=0.5, boilerplate_items=3),
        OverlapRule(name="containment", n=3, min_share=0.6, min_common=6, boilerplate_items=12),
        OverlapRule(name="masked", n=6, masked=True, min_share=0.8, min_common=2, boilerplate_items=3),
    )
    """Tried in this order; of the rules that drop, the first that hits is the reason. The paper's rule, any common
    8-gram, is `[{name: ngram}]`."""


class Benchmarks(NamedTuple):
    """What every shard is matched against."""

    overlap_index: OverlapIndex
    items: pl.DataFrame
    """`item_id`, `benchmark`."""


def decide(questions: pl.DataFrame, items: pl.DataFrame, params: DecontaminateParams) -> pl.DataFrame:
    """All questions, with `reason` and `evidence` where one overlaps a benchmark item."""
    tables = match_table(questions, Benchmarks(build_index(items, params.rules), items.select("item_id", "benchmark")))
    return tables["rows"]


def match_table(questions: pl.DataFrame, benchmarks: Benchmarks) -> dict[str, pl.DataFrame]:
    """`rows`: the questions with `reason` and `evidence`; `hits`: all that was found (HIT)."""
    rules = [each.rule for each in benchmarks.overlap_index.rules]
    hits = annotate_hits(find_overlaps(questions, benchmarks.overlap_index), benchmarks.items, rules).select(
        HIT.names()
    )
    shown = rejections(hits, "question_id", REASON)
    return {"rows": questions.join(shown, on="question_id", how="left", maintain_order="left"), "hits": hits}


def match_group(group: Group, benchmarks: Benchmarks) -> dict[str, pl.DataFrame]:
    """As `match_table`, of one row group."""
    return match_table(read_group(group), benchmarks)


def run(decontaminate: DecontaminateParams, shards: ShardsParams, *, questions: Path, items: Path, out: Path) -> None:
    """Match every question against every item, shard by shard."""
    with exclusive(out):
        benchmark_items = read_table(items, ITEM)
        benchmarks = Benchmarks(
            build_index(benchmark_items, decontaminate.rules), benchmark_items.select("item_id", "benchmark")
        )
        digest = shards_digest(__file__, params=decontaminate) + "".join(benchmarks.overlap_index.item_ids)
        groups = row_groups(questions, CLEANED)
        done = run_shards(Job("decontaminate", out / ".shards", match_group, benchmarks, digest), groups, shards)
        counts = RuleCounts(decontaminate.rules, "question_id", "questions")
        with publish(out) as folder:
            writer = FilterWriter(folder, STAGE, CLEANED, questions)
            found = TableWriter(folder / "hits.parquet", HIT)
            for shard in done:
                hits = pl.read_parquet(shard / "hits.parquet")
                counts.add(hits)
                found.add(hits)
                writer.add(pl.read_parquet(shard / "rows.parquet"))
            found.close()
            writer.close({"items": benchmark_items.height, "rules": counts.facts()})


if __name__ == "__main__":
    stage_main(run)
