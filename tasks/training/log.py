"""What each training step did, to each sample too, and what it took of the machine."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import polars as pl

from tasks.core.errors import LimoError
from tasks.core.files import read_json, write_json
from tasks.models.shapes import Shape, gpu_kind, read_shape, train_flops

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
        "memory_mib": pl.Float64,
        "mfu": pl.Float64,
    }
)
"""Steps and epochs count from 1. `loss` is weighted as in training; `tokens` are those of the samples, without padding;
`grad_norm` is from before clipping; `memory_mib` is of the rank that took most (on a GPU the peak of its tensors, on a
CPU its resident set); `mfu` is model FLOPs utilisation, null where the peak is not known."""

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
"""A sample in a step, so its losses by epoch; `loss` is the mean over its tokens in the loss, before the step."""


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
    memory_mib: float
    mfu: float | None


class SampleRow(NamedTuple):
    """A row of SAMPLE_LOSS."""

    step: int
    epoch: int
    rank: int
    chain_id: str
    tokens: int
    loss_tokens: int
    loss: float


class Hardware(NamedTuple):
    """What steps run on."""

    device: str
    """`cpu`, or the GPU by the name that its driver gives it."""
    world_size: int


HARDWARE = "hardware.json"


class StepLog:
    """The rows of a job so far, complete after `gather`; saved with each checkpoint, so none is lost or doubled."""

    def __init__(self, hardware: Hardware) -> None:
        self.steps: list[StepRow] = []
        self.samples: list[SampleRow] = []
        self.hardware = hardware
        """Of the last step: of this process only where it took one."""
        self._own_hardware = hardware
        self._own_samples: list[SampleRow] = []
        self._live: IO[str] | None = None

    def stream(self, file: Path) -> None:
        """Write the steps so far, and from now on each as it is taken, as lines of JSON for `tasks.tracking.live`."""
        self._live = file.open("w", encoding="utf-8", buffering=1)
        for step in self.steps:
            self._write_line(step)

    def add(self, step: StepRow, samples: Sequence[SampleRow]) -> None:
        """Add a step, and what this rank's samples were in it."""
        self.steps.append(step)
        self.hardware = self._own_hardware
        self._own_samples.extend(samples)
        self._write_line(step)

    def _write_line(self, step: StepRow) -> None:
        if self._live is not None:
            self._live.write(json.dumps(step._asdict()) + "\n")

    def gather(self) -> None:
        """Bring the ranks' new sample rows together; every rank must call it."""
        import torch.distributed as dist

        gathered: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(gathered, self._own_samples)
        self.samples += sorted(row for rows in gathered for row in rows)
        self._own_samples = []

    def write(self, folder: Path) -> None:
        """Write steps.parquet and samples.parquet."""
        pl.DataFrame(self.steps, STEP, orient="row").write_parquet(folder / "steps.parquet")
        pl.DataFrame(self.samples, SAMPLE_LOSS, orient="row").write_parquet(folder / "samples.parquet")

    def save(self, folder: Path) -> None:
        """Write all that `load` reads: the tables, and what the last step ran on."""
        self.write(folder)
        write_json(folder / HARDWARE, self.hardware._asdict())

    def load(self, folder: Path) -> None:
        """Continue the log that `save` wrote to `folder`."""
        # Checkpoints of earlier versions do not say what they ran on.
        if (folder / HARDWARE).exists():
            self.hardware = Hardware(**read_json(folder / HARDWARE))
        self.steps = [StepRow(*row) for row in pl.read_parquet(folder / "steps.parquet").iter_rows()]
        self.samples = [SampleRow(*row) for row in pl.read_parquet(folder / "samples.parquet").iter_rows()]


MIB = 2**20


class Meter:
    """Measures the steps of one rank's device.

    Memory, and model FLOPs utilisation (PaLM, arXiv:2204.02311, appendix B).
    """

    def __init__(self, model: Path, device: str, ranks: int) -> None:
        """Take a model's folder, and `cpu` or `cuda`."""
        import psutil

        self._cuda = device == "cuda"
        self._process = psutil.Process()
        self.hardware = Hardware(_device_name() if self._cuda else device, ranks)
        kind = gpu_kind(self.hardware.device)
        self._peak = kind.flops * ranks if kind else None
        self._shape = _shape(model)

    def memory(self) -> float:
        """MiB: on a GPU the most that tensors took since the last call, on a CPU what the process has now."""
        if not self._cuda:
            return float(self._process.memory_info().rss / MIB)
        import torch

        most = torch.cuda.max_memory_allocated() / MIB
        torch.cuda.reset_peak_memory_stats()
        return float(most)

    def mfu(self, lengths: Sequence[int], seconds: float) -> float | None:
        """Of the dense bf16 peak of all GPUs, the share that training on samples of these lengths in so many seconds
        makes use of; recomputing does not count. None where the peak is not known, as of a CPU, or the model's kind."""
        if self._peak is None or self._shape is None:
            return None
        work = sum(length * train_flops(self._shape, length) for length in lengths)
        return work / seconds / self._peak


def _device_name() -> str:
    import torch

    return str(torch.cuda.get_device_name())


def _shape(model: Path) -> Shape | None:
    try:
        return read_shape(read_json(model / "config.json"), str(model))
    except LimoError:
        # Of a kind that limo plan does not know: it can be trained nevertheless.
        return None
