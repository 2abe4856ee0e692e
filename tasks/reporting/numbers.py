"""The numbers of the report: funnel, difficulty, quality, lengths, cost, as tables that are also written as CSV."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.files import MANIFEST, read_json, read_table
from tasks.records.benchmark import ANSWER
from tasks.records.chain import SAMPLE, SCORED
from tasks.records.question import BANDED
from tasks.records.response import CUT_OFF
from tasks.reporting.figures import shares_between

UNITS = {
    **dict.fromkeys(("pull", "clean", "decontaminate", "screen", "band"), "questions"),
    "reason": "responses",
    "select": "chains",
    "train": "samples",
    "benchmarks": "items",
}
"""The filters, and what each of them counts."""

STAGES = (
    *("base", "benchmarks", "pull", "clean", "decontaminate", "screen", "band"),
    *("reason", "score", "select", "train", "answer", "grade"),
)
DIMENSIONS = ("quality", "elaboration", "verification", "exploration", "granularity")


class Funnel(NamedTuple):
    """What a filter took in, kept, and dropped by reason."""

    stage: str
    unit: str
    taken: int
    kept: int
    rejected: dict[str, int]

    @property
    def share(self) -> float:
        """Kept of taken."""
        return self.kept / (self.taken or 1)


class Difficulty(NamedTuple):
    """Questions with the same outcome in `band`."""

    outcome: str
    kept: bool
    questions: int
    mean_solved: float
    mean_sampled: float


class Cost(NamedTuple):
    """What a stage took; None where the stage has no such number."""

    stage: str
    seconds: float | None
    start_seconds: float | None
    responses: float | None
    tokens: float | None
    tokens_saved: float | None
    responses_from_ledger: float | None


def funnel(artifacts: Path) -> list[Funnel]:
    """The filters in their order."""
    found = [(stage, read_json(artifacts / stage / MANIFEST)) for stage in UNITS]
    return [Funnel(name, UNITS[name], each["taken"], each["kept"], each["rejected"]) for name, each in found]


def difficulty(artifacts: Path) -> list[Difficulty]:
    """Questions by outcome of `band`: never solved, solved once, twice, ..., too often.

    Sampling stops as soon as the outcome is certain, so "too often" has no exact count of right responses.
    """
    columns = {name: BANDED[name] for name in ("solved", "sampled")}
    kept = read_table(artifacts / "band" / "kept.parquet", columns)
    kept = kept.with_columns(outcome=pl.format("solved {}", "solved"), kept=pl.lit(True))
    rejected = read_table(artifacts / "band" / "rejected.parquet", columns | {"reason": pl.String()})
    rejected = rejected.select(
        "solved", "sampled", outcome=pl.col("reason").str.replace_all("_", " "), kept=pl.lit(False)
    )
    # A question whose prompt was too long has neither count.
    mean = {f"mean_{name}": pl.col(name).fill_null(0).mean() for name in columns}
    grouped = pl.concat([kept, rejected]).group_by("outcome", "kept").agg(questions=pl.len(), **mean)
    return [Difficulty(**row) for row in grouped.sort("mean_solved", "outcome").iter_rows(named=True)]


def quality(artifacts: Path) -> pl.DataFrame:
    """Every scored chain's dimensions and quality, and whether it was selected."""
    columns = {name: SCORED[name] for name in ("chain_id", *DIMENSIONS)}
    chains = read_table(artifacts / "score" / "chains.parquet", columns)
    kept = read_table(artifacts / "select" / "kept.parquet", {"chain_id": SAMPLE["chain_id"]})
    return chains.with_columns(selected=pl.col("chain_id").is_in(kept["chain_id"].implode()))


def lengths(artifacts: Path) -> pl.DataFrame:
    """Arm, benchmark, tokens and finish reason of every answer."""
    columns = ("arm", "benchmark", "n_tokens", "finish_reason")
    return read_table(artifacts / "answer" / "answers.parquet", {name: ANSWER[name] for name in columns})


def length_summary(answers: pl.DataFrame) -> list[dict[str, Any]]:
    """Median, 90th percentile, longest, and share cut off, for each arm."""
    tokens = pl.col("n_tokens")
    summary = answers.group_by("arm").agg(
        answers=pl.len(),
        median=tokens.median(),
        p90=tokens.quantile(0.9),
        longest=tokens.max(),
        truncated=pl.col("finish_reason").is_in(CUT_OFF).mean(),
    )
    return summary.sort("arm").to_dicts()


def costs(artifacts: Path) -> list[Cost]:
    """What every stage took, as far as its manifest says."""
    facts = {stage: read_json(artifacts / stage / MANIFEST)["facts"] for stage in STAGES}
    return [Cost(stage, *(total(known, name) for name in Cost._fields[1:])) for stage, known in facts.items()]


def total(facts: Any, name: str) -> float | None:
    """The sum of all facts called `name`, however deep: a stage with several models has them by model."""
    if isinstance(facts, dict) and isinstance(facts.get(name), int | float):
        return float(facts[name])
    inside = list(facts.values()) if isinstance(facts, dict) else facts if isinstance(facts, list) else []
    found = [part for part in (total(each, name) for each in inside) if part is not None]
    return sum(found) if found else None


def binned(groups: dict[str, Sequence[float]], edges: Sequence[float], name: str) -> pl.DataFrame:
    """A histogram of several groups as a table for `dvc plots`: `name`, bin, group, share."""
    rows = [
        {"figure": name, "bin": left, "group": group, "share": share}
        for group, values in groups.items()
        for left, share in zip(edges, shares_between(values, edges), strict=False)
    ]
    return pl.DataFrame(rows)
