"""What training did, step by step and sample by sample."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

STEP = pl.Schema(
    {
        "step": pl.Int64,
        "epoch": pl.Int64,
        "loss": pl.Float64,
        "lr": pl.Float64,
        "grad_norm": pl.Float64,
        "tokens": pl.Int64,
        "loss_tokens": pl.Int64,
        "tokens_per_second": pl.Float64,
        "seconds": pl.Float64,
    }
)
"""Steps and epochs count from 1. `loss` is weighted as in training; `tokens` are those of the samples, without padding;
`grad_norm` is from before clipping."""

SAMPLE_LOSS = pl.Schema(
    {
        "step": pl.Int64,
        "epoch": pl.Int64,
        "rank": pl.Int64,
        "chain_id": pl.String,
        "tokens": pl.Int64,
        "loss_tokens": pl.Int64,
        "loss": pl.Float64,
    }
)
"""A sample's part in a step; `loss` is the mean over its tokens in the loss."""


class StepRow(NamedTuple):
    """A row of STEP."""

    step: int
    epoch: int
    loss: float
    lr: float
    grad_norm: float
    tokens: int
    loss_tokens: int
    tokens_per_second: float
    seconds: float


class SampleRow(NamedTuple):
    """A row of SAMPLE_LOSS."""

    step: int
    epoch: int
    rank: int
    chain_id: str
    tokens: int
    loss_tokens: int
    loss: float


class Log:
    """The rows of a run so far, whole after `gather`; a checkpoint carries them, so that none is lost or doubled."""

    def __init__(self) -> None:
        """Start with no rows."""
        self.steps: list[StepRow] = []
        self.samples: list[SampleRow] = []
        self._ours: list[SampleRow] = []

    def add(self, step: StepRow, samples: Sequence[SampleRow]) -> None:
        """Add a step, and what this rank's samples were in it."""
        self.steps.append(step)
        self._ours.extend(samples)

    def gather(self) -> None:
        """Bring the ranks' new sample rows together; every rank must call it."""
        import torch.distributed as dist

        everyone: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(everyone, self._ours)
        self.samples += sorted(row for rows in everyone for row in rows)
        self._ours = []

    def write(self, folder: Path) -> None:
        """Write steps.parquet and samples.parquet."""
        pl.DataFrame(self.steps, STEP, orient="row").write_parquet(folder / "steps.parquet")
        pl.DataFrame(self.samples, SAMPLE_LOSS, orient="row").write_parquet(folder / "samples.parquet")

    def read(self, folder: Path) -> None:
        """Go on from the rows that `write` left in `folder`."""
        self.steps = [StepRow(*row) for row in pl.read_parquet(folder / "steps.parquet").iter_rows()]
        self.samples = [SampleRow(*row) for row in pl.read_parquet(folder / "samples.parquet").iter_rows()]
