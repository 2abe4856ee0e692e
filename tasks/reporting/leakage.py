"""What the report says of contamination and duplicates: hits by rule and benchmark, clusters, counts by source.

Each piece is None where the stage that would tell has not told it.
"""

from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.core.stage import read_manifest
from tasks.records.question import CLUSTER, LEAK
from tasks.reporting.sources import NONE, Counts, Filter, check_columns, fetch, stated, total, where

LARGEST = 10


class Rule(NamedTuple):
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


class Rules(NamedTuple):
    """All rules, and the benchmarks that any of them hits."""

    benchmarks: list[str]
    rules: list[Rule]


class Cluster(NamedTuple):
    """Questions that say the same."""

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


class Sources(NamedTuple):
    """The filters in their order, and for each source, and for all together, what each of them did."""

    stages: list[str]
    rows: dict[str, list[Counts]]
    all: list[Counts]


def overlap_content(artifacts: Path) -> dict[str, Any]:
    """What the section of the page is made of; `any` tells whether there is something to show."""
    content = {
        "rules": question_rules(artifacts),
        "leaks": leak_rules(artifacts),
        "clusters": clusters(artifacts),
        "sources": sources(artifacts),
    }
    return content | {"any": any(piece is not None for piece in content.values())}


def question_rules(artifacts: Path) -> Rules | None:
    """What `decontaminate` found in the questions, as its manifest states it."""
    told = read_manifest(artifacts, "decontaminate").facts.get("rules")
    if not told:
        return None
    return _rules(
        [
            Rule(name, each["drops"], each["questions"], each["only_by_this_rule"], each["benchmarks"])
            for name, each in told.items()
        ]
    )


def leak_rules(artifacts: Path) -> Rules | None:
    """The benchmark items that `select` found in the training chains."""
    path = artifacts / "select" / "leaks.parquet"
    if not path.exists():
        return None
    check_columns(path, LEAK)
    leaks = fetch(path, pl.scan_parquet(path).select("chain_id", "rule", "benchmark", "drops").unique())
    rules_of = leaks.group_by("chain_id").agg(rules=pl.col("rule").n_unique())
    alone = leaks.join(rules_of.filter(pl.col("rules") == 1), on="chain_id", how="semi")
    found = []
    for (name, drops), each in leaks.group_by("rule", "drops", maintain_order=True):
        by_benchmark = each.group_by("benchmark").agg(chains=pl.col("chain_id").n_unique()).sort("benchmark")
        only = alone.filter(pl.col("rule") == name)["chain_id"].n_unique()
        found.append(Rule(str(name), bool(drops), each["chain_id"].n_unique(), only, dict(by_benchmark.iter_rows())))
    return _rules(sorted(found, key=lambda rule: (not rule.drops, rule.name)))


def clusters(artifacts: Path) -> Clusters | None:
    """The clusters of `clean`, the ten largest with their representative's text."""
    path = artifacts / "clean" / "clusters.parquet"
    if not path.exists():
        return None
    check_columns(path, CLUSTER)
    members, other = pl.len().alias("members"), (~pl.col("agrees")).sum().alias("disagreeing")
    sizes = pl.scan_parquet(path).group_by("cluster_id").agg(pl.col("representative").first(), members, other)
    number, *sums = fetch(path, sizes.select(pl.len(), pl.col("members").sum(), pl.col("disagreeing").sum())).row(0)
    largest = fetch(path, sizes.sort("members", "cluster_id", descending=[True, False]).head(LARGEST))
    first = where(artifacts / "pull" / "kept.parquet", "question_id", largest["representative"].to_list())
    texts = {row["question_id"]: row["question"] for row in first.iter_rows(named=True)}
    shown = [Cluster(text=texts.get(row["representative"], ""), **row) for row in largest.iter_rows(named=True)]
    return Clusters(number, sums[0], sums[1], shown)


def sources(artifacts: Path) -> Sources | None:
    """What every filter did with each source, as the manifests state it."""
    filters = stated(artifacts)
    if not filters:
        return None
    names = dict.fromkeys(name for each in filters for name in each.sources)
    rows = {name: [_of(each, name) for each in filters] for name in names}
    return Sources([each.stage for each in filters], rows, [total(each) for each in filters])


def _of(filtered: Filter, source: str) -> Counts:
    return filtered.sources.get(source, NONE)


def _rules(rules: list[Rule]) -> Rules:
    return Rules(sorted({name for rule in rules for name in rule.benchmarks}), rules)
