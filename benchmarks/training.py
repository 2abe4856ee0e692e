r"""Training beside TRL's SFTTrainer: tokens a second and peak memory on the same model, samples, steps and threads.

    pip install --no-deps trl==1.16.0 datasets==5.2.0 dill==0.4.1 multiprocess==0.70.19 xxhash==4.1.0
    python -m benchmarks.training [--samples N] [--precision fp32 bf16]

Each run is a process of its own: one rank with all cores, four steps of a quarter of the samples each, full-parameter,
AdamW, loss on responses only. Tokens are those of the samples, without padding; the first step, which warms up, is left
out. TRL runs padded, with one and with eight samples in a pass, and packed to the same length. Packed without
flash-attention its samples see each other, so its loss is another. Writes benchmarks/results/training.json.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks.training_data import make_model, make_samples
from tasks.models.digest import describe
from tasks.training.job import OUTCOME, Job
from tasks.training.recipe import Recipe

RESULT = Path(__file__).parent / "results/training.json"
LONGEST = 2048
STEPS = 4
LR = 3e-4
TRL = {"trl padded, 1 a pass": (1, False), "trl padded, 8 a pass": (8, False), "trl packed": (1, True)}


def recipe(samples: int, precision: str) -> Recipe:
    return Recipe(
        epochs=1,
        global_batch=samples // STEPS,
        lr=LR,
        scheduler="constant",
        max_length=LONGEST,
        precision=precision,  # type: ignore[arg-type]
        device="cpu",
        processes=1,
        export_dtype="float32",
    )


def ours(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """This project's trainer, by the launcher that its stage uses."""
    from tasks.training.launch import launch

    out = folder / "out"
    out.mkdir()
    model = describe(folder / "model", "base", "made")
    job = Job(
        recipe=recipe(given.samples, given.precision),
        model=model.model_copy(update={"path": str(folder / "model")}),
        system=None,
        samples=folder / "samples.parquet",
        work=folder / "work",
        out=out,
    )
    launch(job)
    steps = pl.read_parquet(out / "steps.parquet")
    assert (folder / "work" / OUTCOME).exists()
    rows = steps.select("seconds", "tokens", "loss").rows()
    return told(rows, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def trl(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """TRL's trainer on the same token ids, in the same batches unless it packs them."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from tasks.training.data import batch_rows
    from tasks.training.loop import read_samples

    batch, packing = TRL[given.run]
    model = describe(folder / "model", "base", "made").model_copy(update={"path": str(folder / "model")})
    paths = {"samples": folder / "samples.parquet", "work": folder, "out": folder}
    samples, _ = read_samples(Job(recipe=recipe(given.samples, given.precision), model=model, system=None, **paths))
    size = given.samples // STEPS
    order = [samples[row] for step in range(STEPS) for row in batch_rows(len(samples), 42, size, step)]
    masks = [[0] * sample.prompt + [1] * sample.learnt for sample in order]
    labels = [[-100] * sample.prompt + sample.ids[sample.prompt :] for sample in order]
    columns = {"input_ids": [sample.ids for sample in order]}
    data = Dataset.from_dict(columns | ({"completion_mask": masks} if packing else {"labels": labels}))
    seconds: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.monotonic()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.monotonic() - self.started)

    total = sum(len(sample.ids) for sample in samples)
    passes = -(-total // (LONGEST * STEPS)) if packing else size // batch
    config = SFTConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=passes,
        num_train_epochs=1,
        learning_rate=LR,
        lr_scheduler_type="constant",
        warmup_steps=0,
        max_length=LONGEST,
        packing=packing,
        bf16=given.precision == "bf16",
        gradient_checkpointing=False,
        use_cpu=True,
        report_to=[],
        logging_steps=1,
        save_strategy="no",
        completion_only_loss=True,
        dataset_kwargs={"skip_prepare_dataset": not packing},
        model_init_kwargs={"dtype": "float32", "attn_implementation": "sdpa"},
    )
    trainer = SFTTrainer(str(folder / "model"), args=config, train_dataset=data, callbacks=[Clock()])
    # In the order given: the same samples in each step as here.
    trainer._get_train_sampler = lambda dataset=None: torch.utils.data.SequentialSampler(
        dataset or trainer.train_dataset
    )
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    tokens = [sum(len(s.ids) for s in order[at : at + size]) for at in range(0, len(order), size)]
    if packing:
        tokens = [total // len(seconds)] * len(seconds)
    rows = list(zip(seconds, tokens, losses, strict=True))
    return told(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def told(rows: list[tuple[float, int, float]], peak_kib: int) -> dict[str, Any]:
    later = rows[1:]
    return {
        "tokens_per_second": sum(row[1] for row in later) / sum(row[0] for row in later),
        "peak_mib": round(peak_kib / 1024),
        "losses": [round(row[2], 5) for row in rows],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=64, help="a multiple of 32")
    parser.add_argument("--precision", choices=("fp32", "bf16"), nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        given.precision = given.precision[0]
        found = ours(given.folder, given) if given.run == "this trainer" else trl(given.folder, given)
        (given.folder / "found.json").write_text(json.dumps(found), encoding="utf-8")
        return
    compared = {precision: compare(given.samples, precision) for precision in given.precision}
    found = {"samples": given.samples, "cores": len(os.sched_getaffinity(0))} | compared
    RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def compare(samples: int, precision: str) -> dict[str, Any]:
    """All runs at one precision, printed as a table."""
    runs = {name: alone(name, samples, precision) for name in ("this trainer", *TRL)}
    best = max(runs[name]["tokens_per_second"] for name in TRL)
    ratio = runs["this trainer"]["tokens_per_second"] / best
    print(precision)
    for name, one in runs.items():
        print(f"{name:<22} {one['tokens_per_second']:8,.0f} tokens/s {one['peak_mib']:6,} MiB  losses {one['losses']}")
    print(f"ratio to its best      {ratio:8.2f}", flush=True)
    return {"ratio": ratio, "runs": runs}


def alone(name: str, samples: int, precision: str) -> dict[str, Any]:
    """One run in a process and a folder of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_model(folder / "model")
        make_samples(samples, LONGEST).write_parquet(folder / "samples.parquet")
        asked = ["--run", name, "--folder", scratch, "--samples", str(samples), "--precision", precision]
        subprocess.run([sys.executable, "-m", "benchmarks.training", *asked], check=True)
        found: dict[str, Any] = json.loads((folder / "found.json").read_text(encoding="utf-8"))
        return found


if __name__ == "__main__":
    main()
