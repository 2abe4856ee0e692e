"""One arm of an ablation: pick its samples, train on them, answer and grade, once a seed.

Reads the scored chains (SCORED), the questions (BANDED), the benchmark items, the models and the response ledger.
Writes samples.parquet, verdicts.parquet (ARM_VERDICT), seeds.parquet (ARM_SEED) and the manifest; the folder's name is
the arm's. Trained weights stay in the work folder, so a run that was killed trains and answers only what is missing.
"""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.ablation.params import AblationParams, ArmParams, ArmsParams, ProtocolParams
from tasks.ablation.pick import pick
from tasks.engines.params import ChatParams, EngineParams
from tasks.engines.prompts import item_prompts, prompt_renderer
from tasks.errors import LimoError
from tasks.files import publish, read_json, read_table
from tasks.grading.grader import Pair, grade_many, kept_beside
from tasks.manifest import write_manifest
from tasks.models.digest import describe
from tasks.records.arm import ARM_SEED, ARM_VERDICT
from tasks.records.benchmark import ITEM
from tasks.records.chain import SAMPLE, SCORED
from tasks.records.model import Model, load_models, require_model
from tasks.records.question import BANDED
from tasks.records.response import CUT_OFF
from tasks.sampling.draw import draw
from tasks.sampling.groups import Group
from tasks.sampling.sampled import with_texts
from tasks.stage import stage_main
from tasks.training.checkpoint import checkpoints
from tasks.training.job import OUTCOME, Job, job_key
from tasks.training.launch import launch
from tasks.training.recipe import Recipe

MEANS = ("quality", "elaboration", "verification", "exploration", "granularity", "n_tokens", "equations")


class Trained(NamedTuple):
    """A model to ask, and its row of seeds.parquet."""

    model: Model
    facts: dict[str, Any]


def train(samples: pl.DataFrame, base: Model, recipe: Recipe, system: str | None, work: Path) -> Trained:
    """Train on the samples (SAMPLE), or take the weights that an earlier run left in `work`."""
    key = job_key(recipe, samples, base.model_id, system)
    folder = (work / key).absolute()
    if (folder / OUTCOME).exists():
        outcome = read_json(folder / OUTCOME)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        samples.write_parquet(folder / "given.parquet")
        absolute = base.model_copy(update={"path": str(Path(base.path).absolute())})
        paths = {"samples": folder / "given.parquet", "work": folder, "out": folder}
        outcome = launch(Job(recipe=recipe, model=absolute, system=system, **paths))
        if outcome["too_long"]:
            too_long = f"{len(outcome['too_long'])} of {samples.height} samples"
            raise LimoError(f"{too_long} are longer than train.max_length {recipe.max_length}; raise it")
        for checkpoint in checkpoints(folder):
            shutil.rmtree(checkpoint)
    model = describe(folder / "model", key, f"trained:{base.model_id}")
    facts = {"passes": outcome["epochs"], "train_seconds": outcome["seconds"]}
    facts |= {name: outcome[name] for name in ("steps", "loss_tokens", "last_loss")}
    return Trained(model, facts | samples.select(pl.col(*MEANS).cast(pl.Float64).mean()).row(0, named=True))


def answers(
    name: str,
    model: Model,
    items: pl.DataFrame,
    protocol: ProtocolParams,
    engine: EngineParams,
    chat: ChatParams,
    ledger: Path,
) -> pl.DataFrame:
    """One graded response of the arm `name` an item, as ARM_VERDICT without arm and seed."""
    render = prompt_renderer(Path(model.path), chat)
    prompts = item_prompts(render, items)
    groups = [
        Group(row["item_id"], prompt, row["gold"], row["kind"], 1, protocol.sampling, render.opened)
        for prompt, row in zip(prompts, items.iter_rows(named=True), strict=True)
    ]
    sampled = draw(groups, name=f"arm ({name} {model.model_id})", model=model, engine=engine, ledger=ledger)
    drawn = with_texts(sampled.table, sampled.ledger).rename({"key": "item_id"})
    drawn = drawn.join(items, on="item_id", how="left", maintain_order="left")
    verdicts = grade_many(
        [
            Pair(gold, text, kind, cut_off=finish in CUT_OFF)
            for gold, text, kind, finish in drawn.select("gold", "text", "kind", "finish_reason").iter_rows()
        ],
        kept=kept_beside(ledger),
    )
    graded = drawn.with_columns(
        model_id=pl.lit(model.model_id), verdict=pl.Series([verdict.verdict for verdict in verdicts], dtype=pl.String)
    )
    return graded.select([column for column in ARM_VERDICT.names() if column not in ("arm", "seed")])


def run(
    arms: ArmsParams,
    ablation: AblationParams,
    train: Recipe,
    answer: ProtocolParams,
    engine: EngineParams,
    chat: ChatParams,
    *,
    chains: Path,
    questions: Path,
    items: Path,
    models: Path,
    ledger: Path,
    work: Path,
    out: Path,
) -> None:
    """Write the arm that `out` names."""
    name, arm = out.name, arms.named.get(out.name)
    if arm is None:
        raise LimoError(f"arms.{name}: no such arm in the params file; there are {', '.join(arms.named)}")
    base = require_model(load_models(models), arm.base, f"arms.{name}.base")
    asked = read_table(items, ITEM)
    pool = _Pool(read_table(chains, SCORED), read_table(questions, BANDED))
    seeds = _seeds(name, arm, base, pool, ablation, train, chat, work)
    verdicts = [
        answers(name, seed.trained.model, asked, answer, engine, chat, ledger).with_columns(seed=pl.lit(seed.seed))
        for seed in seeds
    ]
    with publish(out) as part:
        _table(pl.concat(verdicts), name, ARM_VERDICT).write_parquet(part / "verdicts.parquet")
        _table(pl.concat([seed.samples for seed in seeds]), name).write_parquet(part / "samples.parquet")
        rows = [{"arm": name, "seed": seed.seed, "base": arm.base} | seed.trained.facts for seed in seeds]
        pl.DataFrame(rows, schema=ARM_SEED).write_parquet(part / "seeds.parquet")
        taken = sum(seed.samples.height for seed in seeds)
        write_manifest(part, f"arm {name}", taken=taken, kept=taken, rejected={}, facts={"seeds": rows})


class _Pool(NamedTuple):
    chains: pl.DataFrame
    questions: pl.DataFrame


class _Seed(NamedTuple):
    seed: int
    samples: pl.DataFrame
    trained: Trained


def _seeds(
    name: str,
    arm: ArmParams,
    base: Model,
    pool: _Pool,
    ablation: AblationParams,
    recipe: Recipe,
    chat: ChatParams,
    work: Path,
) -> list[_Seed]:
    """Every seed, trained; all before the first is asked, as an engine takes the memory that training needs."""
    if arm.count == 0:
        empty = pl.DataFrame(schema={**SAMPLE, "equations": pl.Int64(), "seed": pl.Int64()})
        return [_Seed(0, empty, Trained(base, {"model_id": base.model_id, "samples": 0, "steps": 0, "loss_tokens": 0}))]
    seeds = []
    for seed in ablation.seeds:
        picked = pick(pool.chains, pool.questions, arm, ablation, seed, name)
        trained = train(picked, base, recipe.model_copy(update={"seed": seed}), chat.system, work)
        facts = trained.facts | {"model_id": trained.model.model_id, "samples": picked.height}
        seeds.append(_Seed(seed, picked.with_columns(seed=pl.lit(seed, pl.Int64)), trained._replace(facts=facts)))
    return seeds


def _table(table: pl.DataFrame, arm: str, schema: pl.Schema | None = None) -> pl.DataFrame:
    named = table.with_columns(pl.col("seed").cast(pl.Int64), arm=pl.lit(arm))
    return named.select(
        list(schema) if schema else ["arm", "seed", *(c for c in named.columns if c not in ("arm", "seed"))]
    )


if __name__ == "__main__":
    stage_main(run)
