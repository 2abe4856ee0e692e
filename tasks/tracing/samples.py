"""The training samples with where each came from: chain, teacher, difficulty, question, source."""

from pathlib import Path

import polars as pl

from tasks.files import read_table
from tasks.records.question import BANDED
from tasks.records.response import ATTEMPT
from tasks.tracing.edges import trained_samples


def sample_trails(artifacts: Path) -> pl.DataFrame:
    """The samples that were trained on, the best first, each with its trail.

    Returns:
        The columns of SAMPLE, and the question's `source`, `origin`, `level`, `solved` of `sampled` in `band`, and
        `screened`, the attempts that `screen` made on it.
    """
    columns = ("question_id", "source", "origin", "level", "solved", "sampled")
    banded = read_table(artifacts / "band" / "kept.parquet", {name: BANDED[name] for name in columns})
    attempts = read_table(artifacts / "screen" / "attempts.parquet", {"question_id": ATTEMPT["question_id"]})
    screened = attempts.group_by("question_id").agg(screened=pl.len().cast(pl.Int64))
    trails = trained_samples(artifacts).join(banded, on="question_id", how="left", maintain_order="left")
    trails = trails.join(screened, on="question_id", how="left", maintain_order="left")
    return trails.with_columns(pl.col("screened").fill_null(0))
