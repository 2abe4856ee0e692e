"""The numbers of the report: funnel, difficulty, quality, training, scores, lengths, cost, and its examples."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.core.files import read_table
from tasks.core.stage import pool_path, read_manifests
from tasks.provenance.edges import sample_origins
from tasks.records.benchmark import ANSWER, ITEM, VERDICT
from tasks.records.question import BANDED
from tasks.records.response import CUT_OFF, SAMPLE, SCORED
from tasks.reporting.figures import shares_between
from tasks.reporting.results import AVERAGE, METRIC, all_scores

DIMENSIONS = ("quality", "elaboration", "verification", "exploration", "granularity")
HARDEST = 10
"""Samples shown that training fitted worst."""


class Funnel(NamedTuple):
    """What a filter took in, kept, and dropped by reason."""

    stage: str
    unit: str
    taken: int
    kept: int
    rejected: dict[str, int]
    reasons: dict[str, str]
    """Each reason in words."""

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
    responses: float | None
    tokens: float | None
    tokens_saved: float | None


class SampleLoss(NamedTuple):
    """A sample with its losses, each the mean over the tokens it is trained on, before the step that took it."""

    chain_id: str
    question_id: str
    question: str
    teacher: str
    loss_tokens: int
    first: float
    last: float


class AnswerStatistics(NamedTuple):
    """A score with statistics of the answers it is made of; all counts are of answers."""

    score: dict[str, Any]
    """Its row of SCORE."""
    answers: int
    ungraded: int
    truncated: int
    no_answer: int
    """Graded incorrect because no final answer was found in them."""
    median: float
    """Tokens an answer."""
    p90: float
    at_most: float
    """What pass@1 were if every ungraded answer were right: an upper bound, not an estimate."""


class AnswerPair(NamedTuple):
    """One benchmark item with an answer of each arm; answers have the columns of ANSWER and VERDICT."""

    item: dict[str, Any]
    base: dict[str, Any]
    trained: dict[str, Any]
    why: str
    """How this item was chosen."""


def funnel(artifacts: Path) -> list[Funnel]:
    """The filters on the way of the pool in their order, then any others."""
    path, there = pool_path(artifacts), read_manifests(artifacts).values()
    filters = [each for each in (*path, *(each for each in there if each not in path)) if each.reasons]
    return [Funnel(each.stage, each.unit, each.taken, each.kept, each.rejected, each.reasons) for each in filters]


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


def hardest_samples(artifacts: Path) -> list[SampleLoss]:
    """The samples with the highest loss when they were last taken, the highest first; empty where none are written."""
    path = artifacts / "train" / "samples.parquet"
    if not path.exists():
        return []
    by_sample = pl.read_parquet(path).sort("step", maintain_order=True).group_by("chain_id", maintain_order=True)
    losses = by_sample.agg(pl.col("loss_tokens").first(), first=pl.col("loss").first(), last=pl.col("loss").last())
    origins = sample_origins(artifacts).select("chain_id", "question_id", "question", "teacher")
    highest = losses.join(origins, on="chain_id").sort("last", "chain_id", descending=[True, False]).head(HARDEST)
    return [SampleLoss(**row) for row in highest.iter_rows(named=True)]


def answer_statistics(artifacts: Path) -> list[AnswerStatistics]:
    """A line for each pass@1, both arms of a benchmark together."""
    columns = ("benchmark", "arm", "verdict", "extracted", "finish_reason", "n_tokens")
    verdicts = read_table(artifacts / "grade" / "verdicts.parquet", {name: VERDICT[name] for name in columns})
    scores = [row for row in all_scores(artifacts) if row["metric"] == METRIC]
    return [_statistics(row, verdicts.filter(arm=row["arm"])) for row in scores]


def costs(artifacts: Path) -> list[Cost]:
    """What every stage took, as far as its manifest says."""
    manifests = read_manifests(artifacts).values()
    return [Cost(each.stage, *(total(each.facts, name) for name in Cost._fields[1:])) for each in manifests]


def total(facts: Any, name: str) -> float | None:
    """The sum of all facts called `name`, however deep: a stage with several models has them by model."""
    if isinstance(facts, dict) and isinstance(facts.get(name), int | float):
        return float(facts[name])
    inside = list(facts.values()) if isinstance(facts, dict) else facts if isinstance(facts, list) else []
    found = [part for part in (total(each, name) for each in inside) if part is not None]
    return sum(found) if found else None


def histogram_table(groups: dict[str, Sequence[float]], edges: Sequence[float], name: str) -> pl.DataFrame:
    """A histogram of several groups as a table for `dvc plots`: `name`, bin, group, share."""
    rows = [
        {"figure": name, "bin": left, "group": group, "share": share}
        for group, values in groups.items()
        for left, share in zip(edges, shares_between(values, edges), strict=False)
    ]
    return pl.DataFrame(rows)


def best_sample(artifacts: Path) -> dict[str, Any]:
    """The training sample of the highest rank, with its origin."""
    return sample_origins(artifacts).row(0, named=True)


def example_pair(artifacts: Path) -> AnswerPair | None:
    """The first item that only the trained model got right; else the first item. None without two arms."""
    verdicts = read_table(artifacts / "grade" / "verdicts.parquet", VERDICT).sort("sample_index", maintain_order=True)
    first = verdicts.unique(["item_id", "arm"], keep="first", maintain_order=True)
    arms = [first.filter(pl.col("arm") == arm) for arm in ("base", "trained")]
    both = arms[0].join(arms[1], on="item_id", suffix="_trained", maintain_order="left")
    if both.is_empty():
        return None
    gained = both.filter((pl.col("verdict") != "correct") & (pl.col("verdict_trained") == "correct"))
    why = "the first item that the base model got wrong and the trained model right"
    if gained.is_empty():
        gained, why = both, "the first item, since there is none that only the trained model got right"
    row = gained.row(0, named=True)
    items = read_table(artifacts / "benchmarks" / "items.parquet", ITEM)
    item = items.filter(pl.col("item_id") == row["item_id"]).row(0, named=True)
    answers = read_table(
        artifacts / "answer" / "answers.parquet", {name: ANSWER[name] for name in ("response_id", "text")}
    )
    base, trained = (
        _graded_answer(verdicts, answers, row[column]) for column in ("response_id", "response_id_trained")
    )
    return AnswerPair(item, base, trained, why)


def _statistics(score: dict[str, Any], answers: pl.DataFrame) -> AnswerStatistics:
    if score["benchmark"] != AVERAGE:
        answers = answers.filter(benchmark=score["benchmark"])
    verdict, tokens = pl.col("verdict"), pl.col("n_tokens")
    counted = answers.select(
        answers=pl.len(),
        ungraded=(verdict == "ungraded").sum(),
        truncated=pl.col("finish_reason").is_in(CUT_OFF).sum(),
        no_answer=((verdict == "incorrect") & pl.col("extracted").is_null()).sum(),
        median=tokens.median(),
        p90=tokens.quantile(0.9),
    )
    # As pass@1 is: each item has as many answers as the others, and in the average each benchmark weighs the same.
    shares = answers.group_by("benchmark").agg(at_most=(verdict != "incorrect").mean())
    return AnswerStatistics(score, **counted.row(0, named=True), at_most=shares.select(pl.col("at_most").mean()).item())


def _graded_answer(verdicts: pl.DataFrame, answers: pl.DataFrame, response_id: str) -> dict[str, Any]:
    found = verdicts.filter(pl.col("response_id") == response_id).join(answers, on="response_id")
    return found.row(0, named=True)
