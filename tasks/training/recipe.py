"""A training run as its ranks read it: the recipe, the job file, the key of its work folder, and its lock."""

import fcntl
import hashlib
import json
import signal
from pathlib import Path
from typing import IO, Annotated, Any, Literal, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tasks.core.params import Params
from tasks.records.model import Model

Positive = Annotated[int, Field(gt=0)]


class Recipe(Params):
    """How the model is trained. The defaults are the paper's (v3) where it states one."""

    epochs: Positive = 15
    """Passes over the samples, for the length of the schedule. Paper: 15."""
    select_epoch: Positive | None = None
    """The epoch whose weights are exported; null: the last. Later ones are not run, but the schedule stays that of
    `epochs`, so the weights are those of a full run at that epoch. Never to be chosen on a benchmark. Paper: v1: 9."""
    steps: Positive | None = None
    """Optimizer steps, in place of `epochs`: with `batch_tokens`, runs on other samples get as many steps and tokens.
    An epoch of the log and checkpoints is then a tenth of the run."""
    batch_tokens: Positive | None = None
    """With `steps`: tokens in the loss of a step, in place of `global_batch`; samples are taken whole, and the total is
    met within one sample."""
    global_batch: Positive = 64
    """Samples in an optimizer step, over all ranks. Paper: 64 (v3 text), 32 (v1 release)."""
    pack_tokens: Positive | None = None
    """Tokens in one forward pass of a rank, at most; null: `max_length`. Whole samples are packed end to end up to it,
    none sees another, and gradients of several passes are summed up to the global batch. A longer sample has a pass of
    its own."""
    lr: Annotated[float, Field(gt=0)] = 5e-6
    """Peak learning rate. Paper: 5e-6."""
    scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """Course of the learning rate after the warm-up, down to 0 except for `constant`. Paper: cosine."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises from 0. Paper: none."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """AdamW's. The paper states none."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's. The paper states none; these are the defaults of its trainer."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Gradients of a greater norm are scaled down to it. The paper states none; the default of its trainer."""
    max_length: Positive = 16384
    """Tokens of prompt and response together; a longer sample is rejected, never cut. Paper: 16,384."""
    weighting: Literal["token", "example"] = "token"
    """Whether every token of a global batch weighs the same, or every sample. Paper: the v1 release ran one sample a
    rank and averaged over ranks, which is `example`."""
    seed: int = 42
    """Decides the order of the samples in each epoch."""
    precision: Literal["bf16", "fp32"] = "bf16"
    """bf16: computes in bfloat16, with master weights, gradient sums and optimizer in fp32. Paper: bf16."""
    attention: Literal["sdpa", "flash_attention_2"] = "sdpa"
    """flash_attention_2 needs a GPU and the package flash-attn. Paper: FlashAttention-2."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass: about a third more time, a fraction of the memory."""
    compile: bool = False
    """Compile the decoder layers with torch.compile, when they first run; on CPUs with a C++ compiler."""
    cpu_offload: bool = False
    """Keep weights, gradients and optimizer in the memory of the host; needs a GPU to compute on."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: GPUs where there are any. Ranks talk over nccl on GPUs, over gloo on CPUs."""
    processes: Positive = 2
    """Ranks over all nodes: one a GPU, or CPU processes. Paper: v1 used 32 GPUs."""
    nodes: Positive = 1
    """Machines, with as many ranks each; more than one are those of the Slurm allocation that the run is in."""
    checkpoint_every: Positive = 1
    """Epochs between checkpoints. Paper: 1."""
    keep_checkpoints: Positive = 2
    """Newest checkpoints that stay on disk."""
    export_dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Type of the exported weights."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.select_epoch is not None and self.select_epoch > self.epochs:
            raise ValueError(f"select_epoch {self.select_epoch} is past the last of {self.epochs} epochs")
        if (self.steps is None) != (self.batch_tokens is None):
            raise ValueError("steps and batch_tokens go together: set both, or none")
        if self.steps is not None and self.select_epoch is not None:
            raise ValueError("select_epoch goes with epochs, not with steps")
        if self.batch_tokens is None and self.global_batch < self.processes:
            raise ValueError(
                f"global_batch {self.global_batch} leaves some of the {self.processes} processes without a sample"
            )
        if self.processes % self.nodes:
            raise ValueError(f"processes {self.processes} is not a multiple of nodes {self.nodes}")
        if self.device == "cpu" and (self.cpu_offload or self.attention == "flash_attention_2"):
            raise ValueError("cpu_offload and flash_attention_2 need device cuda")
        return self


FORMAT = 2
"""Raised when a change of the trainer makes older checkpoints wrong to resume from."""

OUTCOME = "outcome.json"
"""In the work folder, written by rank 0 at the end: the facts of the job, and of the process that ended it."""

LIVE = "live.jsonl"
"""In the work folder: the steps as rank 0 takes them."""

LOCK = "lock"

INDIFFERENT = {
    *("checkpoint_every", "keep_checkpoints", "export_dtype", "select_epoch"),
    *("processes", "nodes", "pack_tokens", "activation_checkpointing", "cpu_offload", "compile"),
}
"""Settings that do not change the course of training: a run with other values resumes from the same checkpoints. Those
of the second line decide how a step is computed: the same sums in another order, so its results differ by rounding."""


class Job(BaseModel):
    """One JSON file, read by every rank. Paths are absolute."""

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


_stop_requested = False


def catch_sigterm() -> None:
    """From now on a SIGTERM does not end this rank: it finishes its step, saves and exits; see `stop_requested`."""
    signal.signal(signal.SIGTERM, _request_stop)


def stop_requested() -> bool:
    """Whether this rank got a SIGTERM."""
    return _stop_requested


def _request_stop(*_: Any) -> None:
    global _stop_requested  # noqa: PLW0603
    _stop_requested = True


def lock_work(work: Path) -> IO[str]:
    """Wait until no other run writes to `work`; it is locked as long as the file that this returns is open."""
    lock = (work / LOCK).open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"train: an earlier run is still saving to {work}; waiting for its lock", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    return lock
