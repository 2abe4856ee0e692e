"""The model card of a trained model: from what it was made, by which code, and which checkpoint it is.

Nothing in it tells when or how fast it was made, so that the same run gives the same card.
"""

import json
from typing import TYPE_CHECKING

import polars as pl
import yaml

from tasks.models.digest import digest_file
from tasks.training.job import Job, samples_digest
from tasks.training.schedule import Choice

if TYPE_CHECKING:
    from tasks.records.model import Model

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
