"""The trained weights as a Hugging Face model folder, like the base model's but for the weights."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.files import read_json, write_json
from tasks.models.digest import TOKENIZER_FILES
from tasks.training.job import Job

if TYPE_CHECKING:
    from accelerate import Accelerator


def export(accelerator: "Accelerator", model: Any, job: Job, step: int, samples: int) -> None:
    """Write the folder `model` of the job's output; every rank must call it, rank 0 writes."""
    import torch

    dtype = getattr(torch, job.recipe.export_dtype)
    state = accelerator.get_state_dict(model)
    if not accelerator.is_main_process:
        return
    folder = job.out / "model"
    # A tied matrix arrives as two tensors, and would be stored twice.
    weights = {name: tensor.to(dtype) for name, tensor in state.items() if name not in model.all_tied_weights_keys}
    model.save_pretrained(folder, state_dict=weights)
    _mend_config(folder, Path(job.model.path), job.recipe.export_dtype)
    for name in TOKENIZER_FILES:
        if (Path(job.model.path) / name).exists():
            shutil.copyfile(Path(job.model.path) / name, folder / name)
    (folder / "README.md").write_text(_card(job, step, samples), encoding="utf-8")


def _mend_config(folder: Path, base: Path, dtype: str) -> None:
    """State the base model's architecture, as FSDP renames the class, and the type that the weights now have."""
    config = read_json(folder / "config.json")
    config |= {"architectures": read_json(base / "config.json")["architectures"], "dtype": dtype}
    write_json(folder / "config.json", config)


def _card(job: Job, step: int, samples: int) -> str:
    recipe = json.dumps(job.recipe.model_dump(), indent=2)
    return (
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\n---\n\n# Fine-tuned model\n\n"
        f"Full-parameter fine-tuning of `{job.model.name}` ({job.model.origin}, {job.model.model_id}) on {samples} "
        f"samples, {step} optimizer steps, with Accelerate FSDP2.\n\nSystem message: {job.system or 'none'}\n\n"
        f"Run {job.work.name}, with this recipe:\n\n```json\n{recipe}\n```\n"
    )
