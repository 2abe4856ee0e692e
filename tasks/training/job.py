"""A training run as one JSON file: what the stage asks of the ranks, and the key its checkpoints are kept under."""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict

from tasks.records.model import Model
from tasks.training.recipe import Recipe

FORMAT = 2
"""Raised when a change of the trainer makes older checkpoints wrong to go on from."""

OUTCOME = "outcome.json"
"""In the work folder, written by rank 0 when all is done."""

LIVE = "live.jsonl"
"""In the work folder: the steps as rank 0 takes them."""

INDIFFERENT = {
    *("checkpoint_every", "keep_checkpoints", "export_dtype", "select_epoch"),
    *("processes", "nodes", "pack_tokens", "activation_checkpointing", "cpu_offload", "compile"),
}
"""Settings that do not change the course of training, so that a changed one goes on from the same checkpoints. Those of
the second line decide how a step is computed: the same sums in another order, so its results differ by rounding."""


class Job(BaseModel):
    """Read by every rank. Paths are absolute."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    model: Model
    system: str | None
    """The system message of every prompt; None: none."""
    thinking: bool | None = None
    """The template's switch `enable_thinking`, where it is set."""
    samples: Path
    work: Path
    """Checkpoints, log and this file."""
    out: Path
    """Gets the folder `model` and the tables steps.parquet and samples.parquet."""


def job_key(
    recipe: Recipe, samples: pl.DataFrame, model_id: str, system: str | None, thinking: bool | None = None
) -> str:
    """The name of the run's work folder: 16 digits of a hash of all that decides the course of training."""
    settings: dict[str, Any] = recipe.model_dump(exclude=INDIFFERENT)
    decisive = [FORMAT, settings, model_id, system, thinking, samples_digest(samples)]
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]


def samples_digest(samples: pl.DataFrame) -> str:
    """The SHA-256 of what is trained on: id, question and text of each sample, in order."""
    digest = hashlib.sha256()
    for row in samples.select("chain_id", "question", "text").iter_rows():
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()
