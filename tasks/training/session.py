"""What a training run is made of, and what is written of each of its steps."""

from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.training.data import Encoded
from tasks.training.head import FusedHead
from tasks.training.job import Job
from tasks.training.log import Log, SampleRow, StepRow
from tasks.training.meter import Meter
from tasks.training.schedule import Schedule, choice_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from accelerate import Accelerator


class Session(NamedTuple):
    """All that a step needs."""

    job: Job
    accelerator: "Accelerator"
    model: Any
    head: FusedHead
    optimizer: Any
    samples: list[Encoded]
    schedule: Schedule
    log: Log
    meter: Meter


class Pass(NamedTuple):
    """This rank's part of a step: its share of the loss, and each of its samples with the sum of its token losses."""

    loss: "torch.Tensor"
    samples: list[tuple[Encoded, "torch.Tensor"]]


class Taken(NamedTuple):
    """What is known of a step as it ends; see STEP."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    seconds: float
    memory_mib: float


def record(session: Session, rows: list[int], ours: Pass, taken: Taken) -> None:
    """Log the step that took the samples `rows`."""
    batch = [session.samples[index] for index in rows]
    tokens = sum(len(sample.ids) for sample in batch)
    row = StepRow(
        step=taken.step,
        epoch=-(-taken.step // session.schedule.per_epoch),
        loss=taken.loss,
        lr=taken.lr,
        grad_norm=taken.grad_norm,
        tokens=tokens,
        loss_tokens=sum(sample.learnt for sample in batch),
        tokens_per_second=tokens / taken.seconds,
        seconds=taken.seconds,
        memory_mib=taken.memory_mib,
        mfu=session.meter.mfu([len(sample.ids) for sample in batch], taken.seconds),
    )
    at = (row.step, row.epoch, session.accelerator.process_index)
    losses = [
        SampleRow(*at, sample.chain_id, len(sample.ids), sample.learnt, float(total) / sample.learnt)
        for sample, total in ours.samples
    ]
    session.log.add(row, losses)


def facts(session: Session) -> dict[str, Any]:
    """What the manifest tells of the run."""
    from accelerate.state import AcceleratorState

    steps = session.log.steps
    return {
        "steps": len(steps),
        "epochs": _epochs(session),
        "checkpoint": choice_of(session.schedule, session.job.recipe).facts(),
        "tokens": sum(row.tokens for row in steps),
        "loss_tokens": sum(row.loss_tokens for row in steps),
        "first_loss": steps[0].loss,
        "last_loss": steps[-1].loss,
        "step_seconds": round(sum(row.seconds for row in steps), 2),
        "world_size": session.accelerator.num_processes,
        "device": session.meter.device,
        "memory_mib": round(max(row.memory_mib for row in steps), 1),
        "mfu": _utilisation(steps),
        "fsdp": AcceleratorState().fsdp_plugin.fsdp_version,
    }


def _epochs(session: Session) -> float:
    """How often each sample was taken, on average."""
    count, schedule = len(session.samples), session.schedule
    taken = sum(len(schedule.rows(step, count, session.job.recipe)) for step in range(schedule.last))
    return round(taken / count, 2)


def _utilisation(steps: "Sequence[StepRow]") -> float | None:
    known = [row.mfu * row.seconds for row in steps if row.mfu is not None]
    return sum(known) / sum(row.seconds for row in steps) if len(known) == len(steps) else None
