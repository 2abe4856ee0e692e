"""A training run as one rank sees it, from the samples to the exported model."""

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from tasks.core.errors import LimoError
from tasks.core.files import write_json
from tasks.records.response import SAMPLE
from tasks.training.checkpoint import remove_torn, resume, save
from tasks.training.data import (
    Encoded,
    Pack,
    Schedule,
    choice_of,
    collate,
    deal,
    encode,
    learning_rate,
    sample_weights,
    schedule_of,
)
from tasks.training.export import export
from tasks.training.fsdp import prove, start
from tasks.training.log import Log, Meter, SampleRow, StepRow
from tasks.training.model import PACKED, Asked, FusedHead, compile_layers, pack_arguments, register
from tasks.training.recipe import LIVE, OUTCOME, Job, Recipe, asked, hold

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from accelerate import Accelerator
if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator


# What a training run is made of, and what is written of each of its steps.


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


def train(job: Job) -> None:
    """Run the job: rank 0 writes `outcome.json` into its work folder, model and tables into its output folder."""
    started = time.monotonic()
    accelerator = start(job.recipe)
    # Kept open to the end of this process, so that the lock is.
    lock = hold(job.work) if accelerator.is_main_process else None
    if lock:
        remove_torn(job.work)
    accelerator.wait_for_everyone()
    samples, too_long = read_samples(job)
    if not samples:
        raise LimoError(
            f"train: all {len(too_long)} samples are longer than train.max_length {job.recipe.max_length}; raise it"
        )
    session = _prepare(job, accelerator, samples)
    last, per_epoch = session.schedule.last, session.schedule.per_epoch
    first = resume(accelerator, session.log, job.work, last)
    if accelerator.is_main_process:
        session.log.show(job.work / LIVE)
    for step in range(first, last):
        stop = _step(session, step)
        saved = ((step + 1) % per_epoch == 0 or step + 1 == last) and _end_epoch(session, step + 1)
        if stop and step + 1 < last:
            if not saved:
                save(accelerator, session.log, job.work, step + 1, job.recipe.keep_checkpoints)
            raise LimoError(f"train: told to end after step {step + 1} of {last}, which is saved; rerun to go on")
    session.log.gather()
    # Started by hand, the ranks have no stage that made it.
    job.out.mkdir(parents=True, exist_ok=True)
    export(accelerator, session.model, job, choice_of(session.schedule, job.recipe), len(samples))
    if accelerator.is_main_process:
        session.log.write(job.out)
        told = {"resumed_at": first, "too_long": too_long, "seconds": round(time.monotonic() - started, 2)}
        write_json(job.work / OUTCOME, told | facts(session))
        assert lock is not None, "rank 0 holds the lock"
        lock.close()
    accelerator.end_training()


def read_samples(job: Job) -> tuple[list[Encoded], dict[str, int]]:
    """The samples as token ids, best first, and the length of each that is longer than the recipe's `max_length`."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(job.model.path)
    rows = pl.read_parquet(job.samples, columns=list(SAMPLE)).sort("rank", "chain_id")
    encoded = [
        encode(tokenizer, chain_id, job.system, question, text, thinking=job.thinking)
        for chain_id, question, text in rows.select("chain_id", "question", "text").iter_rows()
    ]
    limit = job.recipe.max_length
    return [s for s in encoded if len(s.ids) <= limit], {s.chain_id: len(s.ids) for s in encoded if len(s.ids) > limit}


def _prepare(job: Job, accelerator: "Accelerator", samples: list[Encoded]) -> Session:
    import torch
    from transformers import AutoModelForCausalLM

    register()
    model = AutoModelForCausalLM.from_pretrained(
        job.model.path, dtype=torch.float32, attn_implementation=attention(job.recipe), use_safetensors=True
    )
    model.train()
    head = FusedHead(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=job.recipe.lr, betas=job.recipe.betas, weight_decay=job.recipe.weight_decay
    )
    model, optimizer = accelerator.prepare(model, optimizer)
    prove(accelerator, model, job.recipe.processes)
    if job.recipe.compile:
        compile_layers(model)
    meter = Meter(Path(job.model.path), accelerator.device.type, accelerator.num_processes)
    return Session(job, accelerator, model, head, optimizer, samples, schedule_of(samples, job.recipe), Log(), meter)


def _step(session: Session, step: int) -> bool:
    """Take a step; whether some rank was told to end."""
    import torch

    started = time.monotonic()
    recipe, schedule = session.job.recipe, session.schedule
    rows = schedule.rows(step, len(session.samples), recipe)
    lr = learning_rate(step, schedule.total, recipe.lr, recipe.scheduler, recipe.warmup_steps)
    for group in session.optimizer.param_groups:
        group["lr"] = lr
    ours = _forward_backward(session, rows)
    each = [ours.loss, *(torch.full_like(ours.loss, float(told)) for told in (asked(), session.meter.memory()))]
    losses, stops, memory = session.accelerator.gather(torch.stack(each)).view(-1, len(each)).T.tolist()
    loss = sum(losses)
    norm = float(session.accelerator.clip_grad_norm_(session.model.parameters(), recipe.max_grad_norm))
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise LimoError(
            f"train: the loss is {loss} and the gradient norm {norm} at step {step + 1} of {schedule.last}, on samples "
            f"{', '.join(session.samples[row].chain_id for row in rows[:3])}...; lower train.lr, or use precision fp32"
        )
    session.optimizer.step()
    session.optimizer.zero_grad()
    record(session, rows, ours, Taken(step + 1, loss, lr, norm, time.monotonic() - started, max(memory)))
    return any(stops)


def _forward_backward(session: Session, rows: list[int]) -> Pass:
    import torch

    accelerator, recipe, samples = session.accelerator, session.job.recipe, session.samples
    weight = dict(zip(rows, sample_weights([samples[row].learnt for row in rows], recipe.weighting), strict=True))
    lengths = [len(sample.ids) for sample in samples]
    tokens = recipe.pack_tokens or recipe.max_length
    dealt = deal(rows, lengths, accelerator.num_processes, tokens)[accelerator.process_index]
    loss, done = torch.zeros((), device=accelerator.device), []
    for packed in dealt:
        chosen = [samples[row] for row in packed]
        pack = collate(chosen, [weight[row] for row in packed]).to(accelerator.device)
        weighted, losses = losses_of(session.model, session.head, pack, attention(recipe))
        # FSDP averages gradients over the ranks, where the sum is wanted.
        accelerator.backward(weighted * accelerator.num_processes)
        sums = torch.zeros(max(len(chosen), 1), device=losses.device).index_add(0, pack.sample, losses)
        loss += weighted.detach()
        done += list(zip(chosen, sums, strict=False))
    return Pass(loss, done)


def attention(recipe: Recipe) -> str:
    """The attention, by its name in transformers."""
    return PACKED if recipe.attention == "sdpa" else recipe.attention


def losses_of(model: Any, head: FusedHead, pack: Pack, attention: str) -> tuple["torch.Tensor", "torch.Tensor"]:
    """The pack's weighted loss, and the cross-entropy of each token in the loss, both in fp32."""
    head.asked = Asked(pack.target, pack.weight)
    arguments = pack_arguments(pack, attention)
    found: tuple[torch.Tensor, torch.Tensor] = model(
        input_ids=pack.ids, position_ids=pack.positions, logits_to_keep=pack.place, use_cache=False, **arguments
    ).logits
    return found


def _end_epoch(session: Session, step: int) -> bool:
    """Save where it is due, and say how the epoch went; whether it was saved."""
    recipe, log, (per_epoch, total, last, _) = session.job.recipe, session.log, session.schedule
    epoch = -(-step // per_epoch)
    due = epoch % recipe.checkpoint_every == 0 or step == last
    if due:
        save(session.accelerator, log, session.job.work, step, recipe.keep_checkpoints)
    if session.accelerator.is_main_process:
        rows = log.steps[(epoch - 1) * per_epoch :]
        speed = sum(row.tokens for row in rows) / sum(row.seconds for row in rows)
        loss = sum(row.loss for row in rows) / len(rows)
        of = f"epoch {epoch}/{-(-total // per_epoch)}"
        print(f"train: {of}  step {step}  loss {loss:.4f}  {speed:,.0f} tokens/s", flush=True)
    return due
