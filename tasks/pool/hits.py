"""What follows from hits: which texts they reject, on what evidence, and what each rule finds over all texts."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from tasks.pool.overlap import WHOLE, OverlapRule

EVIDENCE = ("benchmark", "item_id", "rule", "match", "share")


def judged(found: pl.DataFrame, items: pl.DataFrame, rules: Sequence[OverlapRule]) -> pl.DataFrame:
    """What `find` found (FOUND), each hit with the `benchmark` of its item and whether its rule `drops`.

    Args:
        items: `item_id`, `benchmark`.
    """
    drops = {WHOLE: True} | {rule.name: rule.drops for rule in rules}
    named = found.join(items.select("item_id", "benchmark"), on="item_id", how="left", maintain_order="left")
    return named.with_columns(drops=pl.col("rule").replace_strict(drops, return_dtype=pl.Boolean))


def rejections(hits: pl.DataFrame, key: str, reason: str) -> pl.DataFrame:
    """For each text (its id in the column `key`) with a hit that drops: `reason`, and the first such hit as `evidence`.

    The evidence is JSON: benchmark, item, rule, the text in common, the share in common.
    """
    first = hits.filter("drops").unique(key, keep="first", maintain_order=True)
    shown = pl.struct(pl.col("share").round(3) if name == "share" else name for name in EVIDENCE)
    return first.select(key, pl.lit(reason).alias("reason"), shown.struct.json_encode().alias("evidence"))


class RuleCounts:
    """What each rule hits, over all texts."""

    def __init__(self, rules: Sequence[OverlapRule], key: str, texts: str) -> None:
        """No hits yet. `key` is the column with a text's id; `texts` is what they are called, such as `questions`."""
        self._key, self._texts = key, texts
        self._facts: dict[str, dict[str, Any]] = {
            name: {"drops": drops, texts: 0, "only_by_this_rule": 0, "benchmarks": {}}
            for name, drops in [(WHOLE, True), *((rule.name, rule.drops) for rule in rules)]
        }

    def add(self, hits: pl.DataFrame) -> None:
        """Count the hits (HIT or LEAK) of some texts; all hits of a text are among them."""
        alone = hits.filter(pl.len().over(self._key) == 1)["rule"].value_counts()
        for rule, count in alone.iter_rows():
            self._facts[rule]["only_by_this_rule"] += count
        for rule, benchmark, count in hits.group_by("rule", "benchmark").len().iter_rows():
            facts = self._facts[rule]
            facts[self._texts] += count
            facts["benchmarks"][benchmark] = facts["benchmarks"].get(benchmark, 0) + count

    def facts(self) -> dict[str, dict[str, Any]]:
        """For the manifest: per rule, the benchmarks in order of name."""
        return {
            rule: facts | {"benchmarks": dict(sorted(facts["benchmarks"].items()))}
            for rule, facts in self._facts.items()
        }
