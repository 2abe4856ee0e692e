"""The trained model as a Hugging Face folder: the base model's files with new weights, and a model card."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import yaml

from tasks.core.files import read_json, write_json
from tasks.records.model import TOKENIZER_FILES, digest_file
from tasks.tracking.store import commit_text
from tasks.training.data import CheckpointChoice
from tasks.training.recipe import Job, samples_digest

if TYPE_CHECKING:
    from accelerate import Accelerator


GENERATION = "generation_config.json"
TAGS = ["sft", "full-parameter", "reasoning", "limo"]


def model_card(job: Job, choice: CheckpointChoice, samples: int, commit: str | None) -> str:
    """README.md of the model folder: from what the model was made, by which code, and which checkpoint it is.

    It has no times or speeds, so that the same run gives the same card.

    Args:
        samples: how many of the job's samples were trained on; the others were too long.
    """
    base = job.model
    hub_metadata = {
        "base_model": base.origin.removeprefix("hub:").partition("@")[0]
        if base.origin.startswith("hub:")
        else base.name,
        "base_model_relation": "finetune",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": TAGS,
    }
    given = pl.read_parquet(job.samples)
    long = f", and {given.height - samples} longer than `max_length` left out" if given.height > samples else ""
    facts = {
        "Base model": f"`{job.model.name}`, from {job.model.origin}, id `{job.model.model_id}`",
        "Samples": f"{samples} trained on{long}",
        "Digest of the samples": f"`sha256:{samples_digest(given)}`, of id, question and text of all {given.height}",
        "File of the samples": f"`md5:{digest_file(job.samples, 'md5')}`, as dvc.lock and MLflow have it",
        "Checkpoint": f"{choice}; never chosen on a benchmark",
        "Run": f"`{job.work.name}`",
        "Git commit": f"`{commit}`" if commit else "none: no git repository, or nothing committed in it",
    }
    lines = "\n".join(f"- {name}: {text}" for name, text in facts.items())
    recipe = json.dumps({"system message": job.system} | job.recipe.model_dump(), indent=2, ensure_ascii=False)
    return (
        f"---\n{yaml.safe_dump(hub_metadata, sort_keys=False)}---\n\n"
        "# Fine-tuned model\n\nMade by full-parameter supervised fine-tuning with Accelerate FSDP2.\n\n"
        f"{lines}\n\n## Recipe\n\n```json\n{recipe}\n```\n"
    )


def export(accelerator: "Accelerator", model: Any, job: Job, choice: CheckpointChoice, samples: int) -> None:
    """Write the folder `model` of the job's output; every rank must call it, rank 0 writes."""
    import torch
    from transformers import AutoTokenizer, GenerationConfig

    dtype = getattr(torch, job.recipe.export_dtype)
    state = accelerator.get_state_dict(model)
    if not accelerator.is_main_process:
        return
    folder, base = job.out / "model", Path(job.model.path)
    # A tied matrix arrives as two tensors, and would be stored twice.
    weights = {name: tensor.to(dtype) for name, tensor in state.items() if name not in model.all_tied_weights_keys}
    # Transformers refuses to save some that it loads (a temperature without sampling); the file is copied below.
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    model.save_pretrained(folder, state_dict=weights)
    _fix_config(folder, base, job.recipe.export_dtype)
    for name in TOKENIZER_FILES:
        if (base / name).exists():
            shutil.copyfile(base / name, folder / name)
    _fix_generation_config(folder, base, AutoTokenizer.from_pretrained(base))
    (folder / "README.md").write_text(model_card(job, choice, samples, commit_text()), encoding="utf-8")


def _fix_config(folder: Path, base: Path, dtype: str) -> None:
    """State the base model's architecture, as FSDP renames the class, and the type that the weights now have."""
    config = read_json(folder / "config.json")
    config |= {"architectures": read_json(base / "config.json")["architectures"], "dtype": dtype}
    write_json(folder / "config.json", config)


def _fix_generation_config(folder: Path, base: Path, tokenizer: Any) -> None:
    """Set the end token that was trained on, and a pad token: a base that was never tuned may lack both."""
    original = base / GENERATION
    given = read_json(original) if original.exists() else {}
    ends = given.get("eos_token_id", read_json(base / "config.json").get("eos_token_id"))
    ends = ends if isinstance(ends, list) else [ends] if ends is not None else []
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    wanted = dict(given)
    if end not in ends or "eos_token_id" not in given:
        wanted["eos_token_id"] = [end, *(other for other in ends if other != end)]
    if given.get("pad_token_id") is None:
        wanted["pad_token_id"] = end if pad is None else pad
    if wanted != given:
        write_json(folder / GENERATION, wanted)
