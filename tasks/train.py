"""Full-parameter supervised fine-tuning of the base model on the selected samples, with Accelerate FSDP2.

Reads the samples and models.json. Writes the trained model's folder and its model.json, what each step did
(steps.parquet, and steps.csv for plots), and which sample was in which step with what loss (samples.parquet): a trained
model can be followed to the samples it was made from. A sample longer than `max_length` is rejected, never cut.

The work is done by ranks that `accelerate launch` starts; a killed run resumes from its last checkpoint. The manifest
describes the job, not the process that ended it: what each step took is saved with the checkpoints.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import polars as pl

from tasks.core.errors import LimoError
from tasks.core.files import publish, read_table, write_json
from tasks.core.params import ChatParams, ModelName
from tasks.core.stage import Stage, count_reasons, stage_main, write_manifest
from tasks.records.model import describe, load_models, require_model
from tasks.records.response import SAMPLE
from tasks.tracking.live import log_live
from tasks.training.launch import launch
from tasks.training.recipe import LIVE, Job, Recipe, job_key

STAGE = Stage("train", "samples", {"too_long": "has more tokens than training takes"})


class TrainParams(Recipe):
    """The recipe, and the model it is for."""

    base: ModelName = "base"
    """The model to train, by its name under `base.models`. Paper: Qwen2.5-32B-Instruct."""
    live: bool = True
    """Log steps to MLflow as they are taken, in the experiment that MLFLOW_EXPERIMENT_NAME names, or limo-training."""


NOT_IN_MANIFEST = ("too_long", "resumed_at", "process_seconds")
"""Of `outcome.json`: the first is in the table of rejected samples; the others are of the last process alone."""


def decide(samples: pl.DataFrame, too_long: Mapping[str, int], max_length: int) -> pl.DataFrame:
    """The samples with `reason` and `evidence`: null for those trained on, `too_long` for those with too many tokens.

    Args:
        too_long: tokens of each sample that is longer than `max_length`, by chain_id.
    """
    length = pl.col("chain_id").replace_strict(too_long, default=None, return_dtype=pl.Int64)
    evidence = pl.format("{} tokens, train.max_length is {}", length, pl.lit(max_length))
    return samples.with_columns(
        reason=pl.when(length.is_not_null()).then(pl.lit("too_long")),
        evidence=pl.when(length.is_not_null()).then(evidence),
    )


def run(train: TrainParams, chat: ChatParams, *, samples: Path, models: Path, work: Path, out: Path) -> None:
    """Train, and write the model, the tables and the manifest."""
    given = read_table(samples, SAMPLE)
    if given.is_empty():
        raise LimoError(f"{samples}: no samples to train on; loosen the section `select` of params.yaml")
    base = require_model(load_models(models), train.base, "train.base")
    recipe = Recipe.model_validate(train.model_dump(exclude={"base", "live"}))
    key = job_key(recipe, given, base.model_id, chat.system, chat.thinking)
    with publish(out) as part:
        job = Job(
            recipe=recipe,
            model=base.model_copy(update={"path": str(Path(base.path).absolute())}),
            system=chat.system,
            thinking=chat.thinking,
            samples=samples.absolute(),
            work=(work / key).absolute(),
            out=part.absolute(),
        )
        with log_live(work / key / LIVE, out.parent, key) if train.live else nullcontext():
            outcome = launch(job)
        decided = decide(given, outcome["too_long"], recipe.max_length)
        facts = {name: value for name, value in outcome.items() if name not in NOT_IN_MANIFEST}
        _write(part, samples, decided, facts | {"run": key, "base_model_id": base.model_id}, out / "model")


def _write(part: Path, samples: Path, decided: pl.DataFrame, facts: dict[str, Any], folder: Path) -> None:
    steps = pl.read_parquet(part / "steps.parquet")
    steps.write_csv(part / "steps.csv")
    trained = describe(part / "model", "trained", "trained")
    # The model is still in the scratch folder; it will be read from its final one.
    final = trained.model_copy(update={"path": str(folder)})
    write_json(part / "model.json", [final.model_dump()])
    rejected = decided.filter(pl.col("reason").is_not_null())
    rejected.write_parquet(part / "rejected.parquet")
    kept = decided.height - rejected.height
    facts |= {"parameters": final.parameters, "model_id": final.model_id}
    write_manifest(
        part, STAGE, takes=samples, taken=decided.height, kept=kept, rejected=count_reasons(rejected), facts=facts
    )


if __name__ == "__main__":
    stage_main(run)
