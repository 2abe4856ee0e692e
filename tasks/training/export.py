"""The trained weights as a Hugging Face model folder, like the base model's but for the weights."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.files import read_json, write_json
from tasks.models.digest import TOKENIZER_FILES
from tasks.tracing.commit import described_commit
from tasks.training.card import card
from tasks.training.job import Job
from tasks.training.schedule import Choice

if TYPE_CHECKING:
    from accelerate import Accelerator

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
