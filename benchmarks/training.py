r"""Training next to TRL's SFTTrainer: tokens a second and peak memory on the same model, samples, steps and threads.

    pip install --no-deps trl==1.16.0 datasets==5.2.0 dill==0.4.1 multiprocess==0.70.19 xxhash==4.1.0
    python -m benchmarks.training [--samples N] [--precision fp32 bf16]

Each run is a process of its own: one rank with all cores, four steps of a quarter of the samples each, full-parameter,
AdamW, loss on responses only. Tokens are those of the samples, without padding; the first step, which warms up, is left
out. TRL runs padded, with one and with eight samples in a pass, and packed to the same length. Packed without
flash-attention its samples see each other, so its loss is another. Writes benchmarks/results/training.json.

    python -m benchmarks.training --device cuda --size 7b --precision bf16    # one GPU, samples of up to 16,384 tokens

does the same on a GPU, with activation checkpointing and flash-attention where it is installed, and adds MFU. It was
never run on one: none was at hand.
"""

import argparse
import importlib.util
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

from tasks.records.model import describe
from tasks.records.response import SAMPLE
from tasks.training.log import Meter
from tasks.training.recipe import OUTCOME, Job, Recipe

WORDS = 16_384
TEMPLATE = (
    "{% for m in messages %}<|im_start|> {{ m.role }} {{ m.content }} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant {% endif %}"
)


SIZES: dict[str, dict[str, Any]] = {
    "20m": {
        "vocab_size": WORDS,
        "hidden_size": 384,
        "intermediate_size": 1152,
        "num_hidden_layers": 8,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
    },
    "1.5b": {
        "vocab_size": 151_936,
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
    },
    "7b": {
        "vocab_size": 152_064,
        "hidden_size": 3584,
        "intermediate_size": 18_944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
}
"""Of Qwen2.5's architecture. The last two are Qwen2.5's; in the first the head is a third of the work in the body, as
in Qwen2.5-0.5B."""


def make_model(folder: Path, size: str = "20m") -> Path:
    """A model of Qwen2's architecture with random weights, and its tokenizer of words."""
    import torch
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    special = ["<|pad|>", "<|im_start|>", "<|im_end|>", "system", "user", "assistant"]
    vocabulary = {word: place for place, word in enumerate([*special, *map(str, range(WORDS - len(special)))])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<|pad|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in special[:3]])
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|pad|>")
    fast.chat_template = TEMPLATE
    torch.manual_seed(0)
    shape = {"tie_word_embeddings": True, "max_position_embeddings": 32_768} | SIZES[size]
    config = Qwen2Config(**shape, bos_token_id=None, eos_token_id=2)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def make_samples(count: int, longest: int, seed: int = 0) -> pl.DataFrame:
    """Samples (SAMPLE) whose responses are as unlike in length as chains are: log-normal, a median of a fifth of the
    longest."""
    chance = random.Random(seed)
    rows: list[dict[str, Any]] = []
    for place in range(count):
        length = min(longest - 150, max(30, int(longest / 2048 * chance.lognormvariate(6.0, 0.8))))
        question, text = (_words(chance, size) for size in (chance.randint(40, 120), length))
        row = dict.fromkeys(SAMPLE, None) | {"question": question, "answer": "1", "text": text}
        rows.append(row | {"chain_id": f"c_{place}", "rank": place + 1})
    return pl.DataFrame(rows, SAMPLE)


def _words(chance: random.Random, count: int) -> str:
    # Few of them often, as in language, so that there is something to learn.
    return " ".join(str(int(chance.paretovariate(0.7)) % 16_000) for _ in range(count))


RESULT = Path(__file__).parent / "results/training.json"
LONGEST = {"cpu": 2048, "cuda": 16_384}
STEPS = 4
LR = 3e-4
TRL = {"trl padded, 1 a pass": (1, False), "trl padded, 8 a pass": (8, False), "trl packed": (1, True)}


def attention(device: str) -> str:
    return "flash_attention_2" if device == "cuda" and importlib.util.find_spec("flash_attn") else "sdpa"


def recipe(given: argparse.Namespace) -> Recipe:
    return Recipe(
        epochs=1,
        global_batch=given.samples // STEPS,
        lr=LR,
        scheduler="constant",
        max_length=LONGEST[given.device],
        precision=given.precision,
        attention=attention(given.device),  # type: ignore[arg-type]
        activation_checkpointing=given.device == "cuda",
        device=given.device,
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
        recipe=recipe(given),
        model=model.model_copy(update={"path": str(folder / "model")}),
        system=None,
        samples=folder / "samples.parquet",
        work=folder / "work",
        out=out,
    )
    launch(job)
    steps = pl.read_parquet(out / "steps.parquet")
    assert (folder / "work" / OUTCOME).exists()
    rows = steps.select("seconds", "tokens", "loss", "mfu").rows()
    on_gpu = float(steps["memory_mib"].max())  # type: ignore[arg-type]
    peak = on_gpu if given.device == "cuda" else resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return summary(rows, peak)


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
    samples, _ = read_samples(Job(recipe=recipe(given), model=model, system=None, **paths))
    size = given.samples // STEPS
    order = [samples[row] for step in range(STEPS) for row in batch_rows(len(samples), 42, size, step)]
    masks = [[0] * sample.prompt + [1] * sample.loss_tokens for sample in order]
    labels = [[-100] * sample.prompt + sample.ids[sample.prompt :] for sample in order]
    columns = {"input_ids": [sample.ids for sample in order]}
    data = Dataset.from_dict(columns | ({"completion_mask": masks} if packing else {"labels": labels}))
    seconds: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.monotonic()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            if given.device == "cuda":
                # Until then the GPU has been asked for the step, and has not taken it.
                torch.cuda.synchronize()
            seconds.append(time.monotonic() - self.started)

    total = sum(len(sample.ids) for sample in samples)
    longest = LONGEST[given.device]
    passes = -(-total // (longest * STEPS)) if packing else size // batch
    config = SFTConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=passes,
        num_train_epochs=1,
        learning_rate=LR,
        lr_scheduler_type="constant",
        warmup_steps=0,
        max_length=longest,
        packing=packing,
        bf16=given.precision == "bf16",
        gradient_checkpointing=given.device == "cuda",
        use_cpu=given.device == "cpu",
        report_to=[],
        logging_steps=1,
        save_strategy="no",
        completion_only_loss=True,
        dataset_kwargs={"skip_prepare_dataset": not packing},
        model_init_kwargs={"dtype": "float32", "attn_implementation": attention(given.device)},
    )
    trainer = SFTTrainer(str(folder / "model"), args=config, train_dataset=data, callbacks=[Clock()])
    # In the order given: the same samples in each step as here.
    trainer._get_train_sampler = lambda dataset=None: torch.utils.data.SequentialSampler(
        dataset or trainer.train_dataset
    )
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    lengths = [[len(s.ids) for s in order[at : at + size]] for at in range(0, len(order), size)]
    tokens = [sum(each) for each in lengths]
    meter = Meter(folder / "model", given.device, 1)
    used = [meter.mfu(each, taken) for each, taken in zip(lengths, seconds, strict=False)]
    if packing:
        # Which samples a step holds is TRL's own choice: only the whole is known.
        tokens = [total // len(seconds)] * len(seconds)
        used = [meter.mfu([len(s.ids) for s in order], sum(seconds))] * len(seconds)
    on_cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = torch.cuda.max_memory_allocated() / 2**20 if given.device == "cuda" else on_cpu
    return summary(list(zip(seconds, tokens, losses, used, strict=True)), peak)


def summary(rows: list[tuple[float, int, float, float | None]], peak_mib: float) -> dict[str, Any]:
    later = rows[1:]
    seconds = sum(row[0] for row in later)
    used = [row[3] * row[0] for row in later if row[3] is not None]
    return {
        "tokens_per_second": sum(row[1] for row in later) / seconds,
        "mfu": round(sum(used) / seconds, 3) if used else None,
        "peak_mib": round(peak_mib),
        "losses": [round(row[2], 5) for row in rows],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=64, help="a multiple of 32")
    parser.add_argument("--precision", choices=("fp32", "bf16"), nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--device", choices=tuple(LONGEST), default="cpu")
    parser.add_argument("--size", choices=tuple(SIZES), default="20m")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        given.precision = given.precision[0]
        found = ours(given.folder, given) if given.run == "this trainer" else trl(given.folder, given)
        (given.folder / "found.json").write_text(json.dumps(found), encoding="utf-8")
        return
    compared = {precision: compare(given, precision) for precision in given.precision}
    found = {"samples": given.samples, "size": given.size, "cores": len(os.sched_getaffinity(0))} | compared
    result = RESULT if given.device == "cpu" else RESULT.with_name("training_gpu.json")
    result.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def compare(given: argparse.Namespace, precision: str) -> dict[str, Any]:
    """All runs at one precision, printed as a table."""
    runs = {name: alone(name, given, precision) for name in ("this trainer", *TRL)}
    speeds = {name: one["tokens_per_second"] for name, one in runs.items() if "failed" not in one}
    best = max((speeds[name] for name in TRL if name in speeds), default=math.nan)
    ratio = speeds.get("this trainer", math.nan) / best
    print(precision)
    for name, one in runs.items():
        if "failed" in one:
            print(f"{name:<22} failed: {one['failed']}")
            continue
        speed = f"{one['tokens_per_second']:8,.0f} tokens/s" + (f", MFU {one['mfu']:.1%}" if one["mfu"] else "")
        print(f"{name:<22} {speed} {one['peak_mib']:6,} MiB  losses {one['losses']}")
    print(f"ratio to its best      {ratio:8.2f}", flush=True)
    return {"ratio": ratio, "runs": runs}


def alone(name: str, given: argparse.Namespace, precision: str) -> dict[str, Any]:
    """One run in a process and a folder of its own."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_model(folder / "model", given.size)
        make_samples(given.samples, LONGEST[given.device]).write_parquet(folder / "samples.parquet")
        options = ["--run", name, "--folder", scratch, "--samples", str(given.samples), "--precision", precision]
        options += ["--device", given.device, "--size", given.size]
        command = [sys.executable, "-m", "benchmarks.training", *options]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            # Memory may not do for all of them.
            said = done.stderr.splitlines() or [f"exit code {done.returncode}"]
            return {"failed": next((line for line in reversed(said) if "Error" in line), said[-1])[:300]}
        found: dict[str, Any] = json.loads((folder / "found.json").read_text(encoding="utf-8"))
        return found


if __name__ == "__main__":
    main()
