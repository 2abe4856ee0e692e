"""Keep only questions that no benchmark contains.

Reads CLEANED (from `clean`) and ITEM (from `benchmarks`); writes kept.parquet and rejected.parquet (CLEANED),
hits.parquet (HIT: what every rule found, whether it drops or only reports) and manifest.json (what each rule would
drop). The evidence of a rejection is JSON: benchmark, item, rule, the text in common, the share in common.
"""

from pathlib import Path
from typing import Any, NamedTuple, Self

import polars as pl
from pydantic import model_validator

from tasks.files import publish, read_table
from tasks.params import Params
from tasks.pool.overlap import WHOLE, Index, OverlapRule, build, find
from tasks.pool.shards import ShardsParams, Work, finish, identity, run_shards
from tasks.pool.tables import FilterWriter, Group, TableWriter, read_group, row_groups
from tasks.records.benchmark import ITEM
from tasks.records.overlap import HIT
from tasks.records.question import CLEANED
from tasks.stage import stage_main

REASON = "benchmark_overlap"
EVIDENCE = ("benchmark", "item_id", "rule", "match", "share")


class DecontaminateParams(Params):
    """When a question counts as contained in a benchmark.

    An equal text always does (the rule `whole`). The default finds copies however they are typeset, within a longer
    text or in part (`ngram`), reworded ones (`containment`), and ones with other numbers or variables (`masked`). What
    each finds and misses is measured by benchmarks/decontamination.py.
    """

    rules: tuple[OverlapRule, ...] = (
        OverlapRule(name="ngram", n=8, min_share=0.5, boilerplate_items=3),
        OverlapRule(name="containment", n=3, min_share=0.6, min_common=6, boilerplate_items=20),
        OverlapRule(name="masked", n=6, masked=True, min_share=0.8, boilerplate_items=3),
    )
    """Tried in this order; of the rules that drop, the first that hits is the reason. The paper's rule, any common
    8-gram, is `[{name: ngram}]`."""

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [WHOLE, *(rule.name for rule in self.rules)]
        if len(set(names)) < len(names):
            raise ValueError(f"rules need different names, and `{WHOLE}` is taken; found {', '.join(names[1:])}")
        return self


class Shared(NamedTuple):
    """What every shard is matched against."""

    benchmark_index: Index
    benchmarks: pl.DataFrame
    """`item_id`, `benchmark`."""


class RuleCounts:
    """What each rule hits, over all shards."""

    def __init__(self, rules: tuple[OverlapRule, ...]) -> None:
        """No hits yet."""
        self._facts: dict[str, dict[str, Any]] = {
            name: {"drops": drops, "questions": 0, "only_by_this_rule": 0, "benchmarks": {}}
            for name, drops in [(WHOLE, True), *((rule.name, rule.drops) for rule in rules)]
        }

    def add(self, hits: pl.DataFrame) -> None:
        """Count the hits (HIT) of some questions; all hits of a question are among them."""
        alone = hits.filter(pl.len().over("question_id") == 1)["rule"].value_counts()
        for rule, count in alone.iter_rows():
            self._facts[rule]["only_by_this_rule"] += count
        for rule, benchmark, count in hits.group_by("rule", "benchmark").len().iter_rows():
            facts = self._facts[rule]
            facts["questions"] += count
            facts["benchmarks"][benchmark] = facts["benchmarks"].get(benchmark, 0) + count

    def facts(self) -> dict[str, dict[str, Any]]:
        """For the manifest: per rule, the benchmarks in order of name."""
        return {
            rule: facts | {"benchmarks": dict(sorted(facts["benchmarks"].items()))}
            for rule, facts in self._facts.items()
        }


def decide(questions: pl.DataFrame, items: pl.DataFrame, params: DecontaminateParams) -> pl.DataFrame:
    """All questions, with `reason` and `evidence` where one overlaps a benchmark item."""
    tables = match_table(questions, Shared(build(items, params.rules), items.select("item_id", "benchmark")))
    return tables["rows"]


def match_table(questions: pl.DataFrame, shared: Shared) -> dict[str, pl.DataFrame]:
    """`rows`: the questions with `reason` and `evidence`; `hits`: all that was found (HIT)."""
    drops = {WHOLE: True} | {each.rule.name: each.rule.drops for each in shared.benchmark_index.rules}
    hits = find(questions, shared.benchmark_index).join(shared.benchmarks, on="item_id", maintain_order="left")
    hits = hits.with_columns(drops=pl.col("rule").replace_strict(drops, return_dtype=pl.Boolean)).select(HIT.names())
    first = hits.filter("drops").unique("question_id", keep="first", maintain_order=True)
    shown = first.select(
        "question_id",
        pl.lit(REASON).alias("reason"),
        pl.struct(pl.col("share").round(3) if name == "share" else name for name in EVIDENCE)
        .struct.json_encode()
        .alias("evidence"),
    )
    return {"rows": questions.join(shown, on="question_id", how="left", maintain_order="left"), "hits": hits}


def match_group(group: Group, shared: Shared) -> dict[str, pl.DataFrame]:
    """As `match_table`, of one row group."""
    return match_table(read_group(group), shared)


def run(decontaminate: DecontaminateParams, shards: ShardsParams, *, questions: Path, items: Path, out: Path) -> None:
    """Match every question against every item, shard by shard."""
    benchmark_items = read_table(items, ITEM)
    shared = Shared(build(benchmark_items, decontaminate.rules), benchmark_items.select("item_id", "benchmark"))
    state = identity(__file__, params=decontaminate) + "".join(shared.benchmark_index.item_ids)
    groups = row_groups(questions, CLEANED)
    done = run_shards(Work("decontaminate", out / ".shards", match_group, shared, state), groups, shards)
    counts = RuleCounts(decontaminate.rules)
    with publish(out) as folder, FilterWriter(folder, "decontaminate", CLEANED) as writer:
        found = TableWriter(folder / "hits.parquet", HIT)
        for shard in done:
            hits = pl.read_parquet(shard / "hits.parquet")
            counts.add(hits)
            found.add(hits)
            writer.add(pl.read_parquet(shard / "rows.parquet"))
        found.close()
        writer.close({"items": benchmark_items.height, "rules": counts.facts()})
    finish(out / ".shards")


if __name__ == "__main__":
    stage_main(run)
