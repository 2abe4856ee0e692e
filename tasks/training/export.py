"""The trained weights as a Hugging Face model folder, like the base model's but for the weights."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import yaml

from tasks.core.files import read_json, write_json
from tasks.records.model import TOKENIZER_FILES, digest_file
from tasks.tracking.commit import described_commit
from tasks.training.data import Choice
from tasks.training.recipe import Job, samples_digest

if TYPE_CHECKING:
    from tasks.records.model import Model
if TYPE_CHECKING:
    from accelerate import Accelerator


# The model card of a trained model: from what it was made, by which code, and which checkpoint it is.
#
# Nothing in it tells when or how fast it was made, so that the same run gives the same card.

TAGS = ["sft", "full-parameter", "reasoning", "limo"]


def card(job: Job, choice: Choice, samples: int, commit: str | None) -> str:
    """README.md of the model folder.

    Args:
        samples: how many of the job's samples were trained on; the others were too long.
    """
    return f"---\n{yaml.safe_dump(_front(job.model), sort_keys=False)}---\n\n{_text(job, choice, samples, commit)}"


def _front(base: "Model") -> dict[str, object]:
    """What model hubs read."""
    repository = base.origin.removeprefix("hub:").partition("@")[0] if base.origin.startswith("hub:") else base.name
    return {
        "base_model": repository,
        "base_model_relation": "finetune",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": TAGS,
    }


def _text(job: Job, choice: Choice, samples: int, commit: str | None) -> str:
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
        "# Fine-tuned model\n\nMade by full-parameter supervised fine-tuning with Accelerate FSDP2.\n\n"
        f"{lines}\n\n## Recipe\n\n```json\n{recipe}\n```\n"
    )


GENERATION = "generation_config.json"


def export(accelerator: "Accelerator", model: Any, job: Job, choice: Choice, samples: int) -> None:
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
    _mend_config(folder, base, job.recipe.export_dtype)
    for name in TOKENIZER_FILES:
        if (base / name).exists():
            shutil.copyfile(base / name, folder / name)
    _mend_generation(folder, base, AutoTokenizer.from_pretrained(base))
    (folder / "README.md").write_text(card(job, choice, samples, described_commit()), encoding="utf-8")


def _mend_config(folder: Path, base: Path, dtype: str) -> None:
    """State the base model's architecture, as FSDP renames the class, and the type that the weights now have."""
    config = read_json(folder / "config.json")
    config |= {"architectures": read_json(base / "config.json")["architectures"], "dtype": dtype}
    write_json(folder / "config.json", config)


def _mend_generation(folder: Path, base: Path, tokenizer: Any) -> None:
    """Let generation end at the end token that was learnt, and pad: a base that was never tuned may say neither."""
    named = base / GENERATION
    given = read_json(named) if named.exists() else {}
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
