"""What the report says of contamination and duplicates: hits by rule and benchmark, clusters, counts by source.

Each piece is None where its stage has not written it.
"""

from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.core.files import check_table
from tasks.core.stage import read_manifest
from tasks.core.tables import fetch, where
from tasks.records.question import CLUSTER, LEAK
from tasks.reporting.sources import source_funnel

LARGEST = 10


class RuleHits(NamedTuple):
    """What one rule finds."""

    name: str
    drops: bool
    """Whether it rejects; else it only reports."""
    found: int
    """Questions, or chains, with a hit."""
    only: int | None
    """Those that no other rule finds."""
    benchmarks: dict[str, int]
    """The same by benchmark; one with hits in two benchmarks counts in both."""


class RuleTable(NamedTuple):
    """All rules, and the benchmarks that any of them hits."""

    benchmarks: list[str]
    rules: list[RuleHits]


class Cluster(NamedTuple):
    """Duplicates of each other."""

    cluster_id: str
    representative: str
    text: str
    members: int
    disagreeing: int


class Clusters(NamedTuple):
    """All clusters in numbers, and the largest of them."""

    clusters: int
    members: int
    disagreeing: int
    """Members with another answer than their representative's."""
    largest: list[Cluster]


def leakage(artifacts: Path) -> dict[str, Any]:
    """What the section of the page is made of; `any`: whether there is something to show."""
    content = {
        "rules": question_rules(artifacts),
        "leaks": leak_rules(artifacts),
        "clusters": clusters(artifacts),
        "sources": source_funnel(artifacts),
    }
    return content | {"any": any(piece is not None for piece in content.values())}


def question_rules(artifacts: Path) -> RuleTable | None:
    """What `decontaminate` found in the questions, as its manifest states it."""
    rules = read_manifest(artifacts, "decontaminate").facts.get("rules")
    if not rules:
        return None
    return _rule_table(
        [
            RuleHits(name, each["drops"], each["questions"], each["only_by_this_rule"], each["benchmarks"])
            for name, each in rules.items()
        ]
    )


def leak_rules(artifacts: Path) -> RuleTable | None:
    """The benchmark items that `select` found in the training chains."""
    path = artifacts / "select" / "leaks.parquet"
    if not path.exists():
        return None
    check_table(path, LEAK)
    leaks = fetch(path, pl.scan_parquet(path).select("chain_id", "rule", "benchmark", "drops").unique())
    rules_of = leaks.group_by("chain_id").agg(rules=pl.col("rule").n_unique())
    alone = leaks.join(rules_of.filter(pl.col("rules") == 1), on="chain_id", how="semi")
    found = []
    for (name, drops), each in leaks.group_by("rule", "drops", maintain_order=True):
        by_benchmark = each.group_by("benchmark").agg(chains=pl.col("chain_id").n_unique()).sort("benchmark")
        only = alone.filter(pl.col("rule") == name)["chain_id"].n_unique()
        chains = each["chain_id"].n_unique()
        found.append(RuleHits(str(name), bool(drops), chains, only, dict(by_benchmark.iter_rows())))
    return _rule_table(sorted(found, key=lambda rule: (not rule.drops, rule.name)))


def clusters(artifacts: Path) -> Clusters | None:
    """The clusters of `clean`, the ten largest with their representative's text."""
    path = artifacts / "clean" / "clusters.parquet"
    if not path.exists():
        return None
    check_table(path, CLUSTER)
    members, other = pl.len().alias("members"), (~pl.col("agrees")).sum().alias("disagreeing")
    sizes = pl.scan_parquet(path).group_by("cluster_id").agg(pl.col("representative").first(), members, other)
    totals = sizes.select(pl.len().alias("clusters"), pl.col("members").sum(), pl.col("disagreeing").sum())
    largest = fetch(path, sizes.sort("members", "cluster_id", descending=[True, False]).head(LARGEST))
    first = where(artifacts / "pull" / "kept.parquet", "question_id", largest["representative"].to_list())
    texts = {row["question_id"]: row["question"] for row in first.iter_rows(named=True)}
    shown = [Cluster(text=texts.get(row["representative"], ""), **row) for row in largest.iter_rows(named=True)]
    return Clusters(**fetch(path, totals).row(0, named=True), largest=shown)


def _rule_table(rules: list[RuleHits]) -> RuleTable:
    return RuleTable(sorted({name for rule in rules for name in rule.benchmarks}), rules)
