"""What `limo plan` says of training, against small runs: `python -m benchmarks.plan_check`, two minutes on two cores.

Trains by tasks.training with a shipped model, and with a made one whose vocabulary is large for its size, as that of
the models on the hub: with and without activation checkpointing, on one and two CPU ranks. Compares

- the peak of a rank's memory in a step, as torch's profiler counts it, with `flows.plan.memory.train_memory`; the
  growth of the process (RSS) is printed next to it, and also holds what libraries load and the allocator keeps;
- tokens a second with the formula's at the FLOP/s that this machine reaches in one large matrix product. What share of
  that a run reaches is its MFU; that of the first run of each model then predicts the others of the model.

Prints a line a run and writes benchmarks/results/plan.json.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import yaml

from flows.plan.memory import tokens_a_second, train_memory
from tasks.core.files import read_json, write_json
from tasks.models.shapes import Gpu, Machine, Shape, parameters, read_shape
from tasks.records.model import describe
from tasks.records.response import SAMPLE
from tasks.training.fsdp import accelerate_config
from tasks.training.recipe import Job, Recipe

RESULTS = Path("benchmarks/results/plan.json")
SHIPPED = Path("tasks/shipped/base")
MADE = {
    "vocab_size": 32000,
    "hidden_size": 256,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": False,
    "bos_token_id": None,
    "eos_token_id": 920,
    "pad_token_id": 921,
}
WORDS, STEPS, LEFT_OUT = 200, 6, 3
"""Words of a sample; steps of a run; those at its start that are not timed: one to warm up, one counted, one after."""
LONGEST, ROOM = 1024, 450
"""Tokens a sample may have; and those kept for each in a pack, a little more than it has."""
MIB = 2**20


class Run(NamedTuple):
    """One setting."""

    model: str
    ranks: int
    packed: int
    """Samples in a pass."""
    checkpointing: bool
    samples: int
    """Of a step."""


RUNS = (
    Run("shipped", 1, 4, False, 8),
    Run("shipped", 1, 4, True, 8),
    Run("shipped", 2, 2, False, 8),
    Run("made", 1, 2, False, 4),
    Run("made", 2, 1, True, 4),
)


def main() -> None:
    began = time.monotonic()
    flops = {ranks: machine_flops(ranks) for ranks in (1, 2)}
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made"
        make_model(made)
        rows = [row(run, SHIPPED if run.model == "shipped" else made, flops[run.ranks]) for run in RUNS]
    for number, run in enumerate(RUNS):
        first = rows[[other.model for other in RUNS].index(run.model)]
        rows[number]["tokens_per_second_by_first"] = rows[number]["tokens_per_second_at_peak"] * first["mfu"]
    for each in rows:
        print(json.dumps({key: round(value, 3) if isinstance(value, float) else value for key, value in each.items()}))
    off = [abs(each["predicted_mib"] / each["measured_mib"] - 1) for each in rows]
    speeds = [each["tokens_per_second_by_first"] / each["tokens_per_second"] for each in rows]
    whole = {
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "peak_flops_per_second": {str(ranks): rate for ranks, rate in flops.items()},
        "runs": rows,
        "memory_worst_share_off": max(off),
        "speed_ratios_predicted_to_measured": speeds,
        "seconds": time.monotonic() - began,
    }
    write_json(RESULTS, whole)
    print(
        f"memory: at most {max(off):.1%} off; tokens/s by the first run's MFU: {min(speeds):.2f} to {max(speeds):.2f}"
    )


def machine_flops(ranks: int) -> float:
    """FLOP/s of a bf16 matrix product of 2,048 on all cores together, by processes of as many threads as a rank has."""
    threads = max(1, len(os.sched_getaffinity(0)) // ranks)
    code = (
        f"import time, torch; torch.set_num_threads({threads}); a = torch.randn(2048, 2048, dtype=torch.bfloat16)\n"
        "a @ a; began = time.monotonic()\n"
        "for _ in range(10): a @ a\n"
        "print(10 * 2 * 2048**3 / (time.monotonic() - began))"
    )
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(ranks)]
    return sum(float(process.communicate()[0]) for process in started)


def make_model(folder: Path) -> None:
    from transformers import Qwen2Config, Qwen2ForCausalLM

    Qwen2ForCausalLM(Qwen2Config(**MADE)).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (SHIPPED / name).exists():
            shutil.copy(SHIPPED / name, folder)


def row(run: Run, model: Path, flops: float) -> dict[str, Any]:
    shape = read_shape(read_json(model / "config.json"), str(model))
    recipe = Recipe(
        device="cpu",
        processes=run.ranks,
        pack_tokens=run.packed * ROOM,
        activation_checkpointing=run.checkpointing,
        global_batch=run.samples,
        epochs=STEPS,
        max_length=LONGEST,
        checkpoint_every=STEPS,
    )
    with tempfile.TemporaryDirectory() as folder:
        memory, steps = train(run, recipe, model, Path(folder))
    timed = steps.filter(pl.col("step") > LEFT_OUT)
    length = steps["tokens"][0] / run.samples
    speed = timed["tokens"].sum() / timed["seconds"].sum()
    cpu = Machine(Gpu("CPU", flops / run.ranks, 1, 1, False), run.ranks)
    at_peak = tokens_a_second(shape, recipe, cpu, length=length, mfu=1)
    return summary(run, shape, recipe, memory, length) | {
        "tokens_per_second": speed,
        "tokens_per_second_at_peak": at_peak,
        "mfu": speed / at_peak,
    }


def summary(run: Run, shape: Shape, recipe: Recipe, memory: Mapping[str, Any], length: float) -> dict[str, Any]:
    """Predicted and measured memory; all samples have the same length."""
    predicted = train_memory(shape, recipe, ranks=run.ranks, tokens=round(run.packed * length))
    measured = memory["resident_bytes"] + memory["peak_bytes"]
    return run._asdict() | {
        "parameters": parameters(shape),
        "tokens_a_sample": length,
        "predicted_mib": predicted.peak / MIB,
        "measured_mib": measured / MIB,
        "predicted_states_mib": (predicted.weights + predicted.optimizer) / MIB,
        "measured_states_mib": memory["resident_bytes"] / MIB,
        "rss_growth_mib": memory["rss_gib"] * 1024,
    }


def train(run: Run, recipe: Recipe, model: Path, folder: Path) -> tuple[dict[str, Any], pl.DataFrame]:
    """The memory of the rank that takes most, and the steps."""
    paths = {"samples": folder / "samples.parquet", "work": folder, "out": folder / "out"}
    (folder / "out").mkdir()
    make_samples(run.samples).write_parquet(paths["samples"])
    job = Job(recipe=recipe, model=describe(model.absolute(), "base", "made"), system=None, **paths)
    (folder / "job.json").write_text(job.model_dump_json())
    (folder / "accelerate.yaml").write_text(yaml.safe_dump(accelerate_config(recipe)))
    threads = max(1, len(os.sched_getaffinity(0)) // run.ranks)
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(folder / "accelerate.yaml")]
    command = [*launcher, f"--num_cpu_threads_per_process={threads}", "--module", "benchmarks.plan_rank"]
    quiet = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(
        [*command, str(folder / "job.json")], env=os.environ | quiet, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    ranks = [read_json(path) for path in folder.glob("memory-*.json")]
    most = max(ranks, key=lambda rank: rank["peak_bytes"])
    return most, pl.read_parquet(folder / "out" / "steps.parquet")


def make_samples(count: int) -> pl.DataFrame:
    rows = []
    for number in range(count):
        text = " ".join(str((number + place) % 10) for place in range(WORDS))
        fields = {"question": f"What is {number} + 1?", "answer": "1", "text": text, "rank": number + 1}
        rows.append(dict.fromkeys(SAMPLE, None) | fields | {"chain_id": f"c_{number}"})
    return pl.DataFrame(rows, SAMPLE)


if __name__ == "__main__":
    main()
