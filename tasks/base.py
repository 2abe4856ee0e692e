"""Resolve the models of the profile to local folders with a content digest.

Reads the section `base`; writes models.json, which every stage that samples or trains a model reads. A model is known
by the digest of its files, so that a response, a score or a checkpoint of one model is never taken for another's.
"""

from pathlib import Path

from pydantic import Field

from tasks.core.files import publish, write_json
from tasks.core.params import Params
from tasks.core.stage import Stage, stage_main, write_manifest
from tasks.models.resolve import ModelSource, resolve

STAGE = Stage("base", "models")


class BaseParams(Params):
    """The models of this profile."""

    models: dict[str, ModelSource] = Field(min_length=1)
    """Name -> where it comes from. Paper: Qwen2.5-Math-7B-Instruct (coarse filter), R1-Distill-Qwen-32B (fine filter,
    teacher), QwQ-32B and DeepSeek-R1 (teachers), Qwen2.5-32B-Instruct (base)."""


def run(base: BaseParams, *, out: Path) -> None:
    """Write models.json and the manifest."""
    models = [resolve(name, source, out.parent / "models") for name, source in base.models.items()]
    with publish(out) as part:
        write_json(part / "models.json", [model.model_dump() for model in models])
        facts = {"parameters": {model.name: model.parameters for model in models}}
        write_manifest(part, STAGE, taken=len(models), kept=len(models), facts=facts)


if __name__ == "__main__":
    stage_main(run)
