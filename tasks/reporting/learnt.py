"""How well training came to know each of its samples: losses by epoch, of `samples.parquet`."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from tasks.tracing.samples import sample_trails

MOST = 10


class Learnt(NamedTuple):
    """A sample with its losses, each the mean over its learnt tokens, before the step that took it."""

    chain_id: str
    question_id: str
    question: str
    teacher: str
    loss_tokens: int
    first: float
    last: float


def least_learnt(artifacts: Path) -> list[Learnt]:
    """The samples with the highest loss when they were last taken, the highest first; empty where none are written."""
    path = artifacts / "train" / "samples.parquet"
    if not path.exists():
        return []
    by_sample = pl.read_parquet(path).sort("step", maintain_order=True).group_by("chain_id", maintain_order=True)
    losses = by_sample.agg(pl.col("loss_tokens").first(), first=pl.col("loss").first(), last=pl.col("loss").last())
    trails = sample_trails(artifacts).select("chain_id", "question_id", "question", "teacher")
    highest = losses.join(trails, on="chain_id").sort("last", "chain_id", descending=[True, False]).head(MOST)
    return [Learnt(**row) for row in highest.iter_rows(named=True)]
