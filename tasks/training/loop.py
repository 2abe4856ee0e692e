"""A training run as one rank sees it, from the samples to the exported model."""

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from tasks.core.errors import LimoError
from tasks.core.files import write_json
from tasks.records.response import SAMPLE
from tasks.training.checkpoint import remove_partial, resume, save
from tasks.training.data import (
    EncodedSample,
    Pack,
    Schedule,
    assign_packs,
    choose_checkpoint,
    collate,
    encode,
    learning_rate,
    make_schedule,
    sample_weights,
)
from tasks.training.export import export
from tasks.training.fsdp import require_fsdp2, start_accelerator
from tasks.training.log import Meter, SampleRow, StepLog, StepRow
from tasks.training.model import (
    PACKED,
    FusedHead,
    LossTargets,
    attention_arguments,
    compile_layers,
    register_attention,
)
from tasks.training.recipe import LIVE, OUTCOME, Job, Recipe, lock_work, stop_requested

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator


def train(job: Job) -> None:
    """Run the job: rank 0 writes `outcome.json` into its work folder, model and tables into its output folder."""
    started = time.monotonic()
    accelerator = start_accelerator(job.recipe)
    # Kept open to the end of this process, so that the lock is.
    lock = lock_work(job.work) if accelerator.is_main_process else None
    if lock:
        remove_partial(job.work)
    accelerator.wait_for_everyone()
    samples, too_long = read_samples(job)
    if not samples:
        raise LimoError(
            f"train: all {len(too_long)} samples are longer than train.max_length {job.recipe.max_length}; raise it"
        )
    trainer = make_trainer(job, accelerator, samples)
    last = trainer.schedule.last
    first = resume(accelerator, trainer.log, job.work, last)
    if accelerator.is_main_process:
        trainer.log.stream(job.work / LIVE)
    trainer.take_steps(first, last)
    trainer.log.gather()
    # Ranks that were started by hand have no stage that made it.
    job.out.mkdir(parents=True, exist_ok=True)
    export(accelerator, trainer.model, job, choose_checkpoint(trainer.schedule, job.recipe), len(samples))
    if accelerator.is_main_process:
        trainer.log.write(job.out)
        this_process = {"resumed_at": first, "process_seconds": round(time.monotonic() - started, 2)}
        write_json(job.work / OUTCOME, this_process | {"too_long": too_long} | trainer.facts())
        assert lock is not None, "rank 0 holds the lock"
        lock.close()
    accelerator.end_training()


def read_samples(job: Job) -> tuple[list[EncodedSample], dict[str, int]]:
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


class RankLoss(NamedTuple):
    """This rank's share of a step's loss, and each of its samples with the sum of its token losses."""

    loss: "torch.Tensor"
    samples: list[tuple[EncodedSample, "torch.Tensor"]]


class Trainer(NamedTuple):
    """All that a step needs."""

    job: Job
    accelerator: "Accelerator"
    model: Any
    head: FusedHead
    optimizer: Any
    samples: list[EncodedSample]
    schedule: Schedule
    log: StepLog
    meter: Meter

    def take_steps(self, first: int, last: int) -> None:
        """Take the steps from `first`, counted from 0, to before `last`.

        Raises:
            LimoError: some rank got a SIGTERM; the step it was in is finished and saved.
        """
        recipe, per_epoch = self.job.recipe, self.schedule.per_epoch
        for step in range(first, last):
            stop = self._step(step)
            saved = ((step + 1) % per_epoch == 0 or step + 1 == last) and self._end_epoch(step + 1)
            if stop and step + 1 < last:
                if not saved:
                    save(self.accelerator, self.log, self.job.work, step + 1, recipe.keep_checkpoints)
                raise LimoError(f"train: stopped by a signal after step {step + 1} of {last}, saved; rerun to resume")

    def _step(self, step: int) -> bool:
        """Take a step; whether some rank got a SIGTERM."""
        import torch

        started = time.monotonic()
        recipe, schedule = self.job.recipe, self.schedule
        rows = schedule.rows(step, len(self.samples), recipe)
        lr = learning_rate(step, schedule.total, recipe.lr, recipe.scheduler, recipe.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        own = self._forward_backward(rows)
        values = [own.loss, *(torch.full_like(own.loss, float(x)) for x in (stop_requested(), self.meter.memory()))]
        losses, stops, memory = self.accelerator.gather(torch.stack(values)).view(-1, len(values)).T.tolist()
        loss = sum(losses)
        norm = float(self.accelerator.clip_grad_norm_(self.model.parameters(), recipe.max_grad_norm))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise LimoError(
                f"train: the loss is {loss} and the gradient norm {norm} at step {step + 1} of {schedule.last}, on "
                f"samples {', '.join(self.samples[row].chain_id for row in rows[:3])}...; lower train.lr, or use "
                "precision fp32"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        seconds = time.monotonic() - started
        lengths = [len(self.samples[row].ids) for row in rows]
        logged = StepRow(
            step=step + 1,
            epoch=step // schedule.per_epoch + 1,
            loss=loss,
            lr=lr,
            grad_norm=norm,
            tokens=sum(lengths),
            loss_tokens=sum(self.samples[row].loss_tokens for row in rows),
            tokens_per_second=sum(lengths) / seconds,
            seconds=seconds,
            memory_mib=max(memory),
            mfu=self.meter.mfu(lengths, seconds),
        )
        of = (logged.step, logged.epoch, self.accelerator.process_index)
        self.log.add(
            logged,
            [
                SampleRow(*of, sample.chain_id, len(sample.ids), sample.loss_tokens, float(total) / sample.loss_tokens)
                for sample, total in own.samples
            ],
        )
        return any(stops)

    def _forward_backward(self, rows: list[int]) -> RankLoss:
        import torch

        accelerator, recipe, samples = self.accelerator, self.job.recipe, self.samples
        weights = sample_weights([samples[row].loss_tokens for row in rows], recipe.weighting)
        weight = dict(zip(rows, weights, strict=True))
        lengths = [len(sample.ids) for sample in samples]
        tokens = recipe.pack_tokens or recipe.max_length
        packs = assign_packs(rows, lengths, accelerator.num_processes, tokens)[accelerator.process_index]
        loss, done = torch.zeros((), device=accelerator.device), []
        for packed in packs:
            chosen = [samples[row] for row in packed]
            pack = collate(chosen, [weight[row] for row in packed]).to(accelerator.device)
            weighted, losses = pack_losses(self.model, self.head, pack, attention_name(recipe))
            # FSDP averages gradients over the ranks, where the sum is wanted.
            accelerator.backward(weighted * accelerator.num_processes)
            sums = torch.zeros(max(len(chosen), 1), device=losses.device).index_add(0, pack.sample, losses)
            loss += weighted.detach()
            done += list(zip(chosen, sums, strict=False))
        return RankLoss(loss, done)

    def _end_epoch(self, step: int) -> bool:
        """Save a checkpoint where one is due, and print how the epoch went; whether it was saved."""
        recipe, (per_epoch, total, last, _) = self.job.recipe, self.schedule
        epoch = -(-step // per_epoch)
        due = epoch % recipe.checkpoint_every == 0 or step == last
        if due:
            save(self.accelerator, self.log, self.job.work, step, recipe.keep_checkpoints)
        if self.accelerator.is_main_process:
            rows = self.log.steps[(epoch - 1) * per_epoch :]
            speed = sum(row.tokens for row in rows) / sum(row.seconds for row in rows)
            loss = sum(row.loss for row in rows) / len(rows)
            of = f"epoch {epoch}/{-(-total // per_epoch)}"
            print(f"train: {of}  step {step}  loss {loss:.4f}  {speed:,.0f} tokens/s", flush=True)
        return due

    def facts(self) -> dict[str, Any]:
        """What the manifest says of the job: from the log of its steps, whichever process took them."""
        from accelerate.state import AcceleratorState

        steps, schedule, recipe, count = self.log.steps, self.schedule, self.job.recipe, len(self.samples)
        taken = sum(len(schedule.rows(step, count, recipe)) for step in range(schedule.last))
        seconds = sum(row.seconds for row in steps)
        utilised = [row.mfu * row.seconds for row in steps if row.mfu is not None]
        return {
            "steps": len(steps),
            # How often each sample was taken, on average.
            "epochs": round(taken / count, 2),
            "checkpoint": choose_checkpoint(schedule, recipe).facts(),
            "tokens": sum(row.tokens for row in steps),
            "loss_tokens": sum(row.loss_tokens for row in steps),
            "first_loss": steps[0].loss,
            "last_loss": steps[-1].loss,
            "seconds": round(seconds, 2),
            "world_size": self.log.hardware.world_size,
            "device": self.log.hardware.device,
            "memory_mib": round(max(row.memory_mib for row in steps), 1),
            "mfu": sum(utilised) / seconds if len(utilised) == len(steps) else None,
            "fsdp": AcceleratorState().fsdp_plugin.fsdp_version,
        }


def make_trainer(job: Job, accelerator: "Accelerator", samples: list[EncodedSample]) -> Trainer:
    """Load the model in fp32, shard it, and make the optimizer."""
    import torch
    from transformers import AutoModelForCausalLM

    recipe = job.recipe
    register_attention()
    model = AutoModelForCausalLM.from_pretrained(
        job.model.path, dtype=torch.float32, attn_implementation=attention_name(recipe), use_safetensors=True
    )
    model.train()
    head = FusedHead(model)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.lr, betas=recipe.betas, weight_decay=recipe.weight_decay
    )
    model, optimizer = accelerator.prepare(model, optimizer)
    require_fsdp2(accelerator, model, recipe.processes)
    if recipe.compile:
        compile_layers(model)
    meter = Meter(Path(job.model.path), accelerator.device.type, accelerator.num_processes)
    log = StepLog(meter.hardware)
    return Trainer(job, accelerator, model, head, optimizer, samples, make_schedule(samples, recipe), log, meter)


def attention_name(recipe: Recipe) -> str:
    """The attention, by its name in transformers."""
    return PACKED if recipe.attention == "sdpa" else recipe.attention


def pack_losses(model: Any, head: FusedHead, pack: Pack, attention: str) -> tuple["torch.Tensor", "torch.Tensor"]:
    """The pack's weighted loss, and the cross-entropy of each token in the loss, both in fp32."""
    head.targets = LossTargets(pack.target, pack.weight)
    found: tuple[torch.Tensor, torch.Tensor] = model(
        input_ids=pack.ids,
        position_ids=pack.positions,
        logits_to_keep=pack.place,
        use_cache=False,
        **attention_arguments(pack, attention),
    ).logits
    return found
