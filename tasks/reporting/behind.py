"""What stands behind each pass@1: answers that the grader could not judge, that were cut off, or that gave none."""

from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.files import read_table
from tasks.records.benchmark import VERDICT
from tasks.records.response import CUT_OFF
from tasks.reporting.results import AVERAGE, METRIC, all_scores

COLUMNS = ("benchmark", "arm", "verdict", "extracted", "finish_reason", "n_tokens")


class Behind(NamedTuple):
    """A score, and what the answers it is made of are like; all counts are of answers."""

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


def behind_scores(artifacts: Path) -> list[Behind]:
    """A line for each pass@1, both arms of a benchmark together."""
    verdicts = read_table(artifacts / "grade" / "verdicts.parquet", {name: VERDICT[name] for name in COLUMNS})
    scores = [row for row in all_scores(artifacts) if row["metric"] == METRIC]
    return [_behind(row, verdicts.filter(arm=row["arm"])) for row in scores]


def _behind(score: dict[str, Any], answers: pl.DataFrame) -> Behind:
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
    return Behind(score, **counted.row(0, named=True), at_most=shares.select(pl.col("at_most").mean()).item())
