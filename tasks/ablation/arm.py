"""One arm of an ablation: select its samples, train on them, answer and grade, once a seed.

Reads the scored chains (SCORED), the questions (BANDED), the benchmark items, the models and the response ledger.
Writes samples.parquet, verdicts.parquet (ARM_VERDICT), seeds.parquet (ARM_SEED) and the manifest; the folder's name is
the arm's. TrainedModel weights stay in the work folder, so a run that was killed resumes with what is missing.
"""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.ablation.params import AblationParams, ArmParams, ArmsParams, ProtocolParams
from tasks.ablation.tables import ARM_SEED, ARM_VERDICT
from tasks.core.errors import LimoError
from tasks.core.files import publish, read_json, read_table
from tasks.core.params import ChatParams
from tasks.core.stage import Stage, stage_main, write_manifest
from tasks.engines.params import EngineParams
from tasks.engines.prompts import item_prompts
from tasks.grading.grader import Pair, grade_many, verdict_cache
from tasks.records.benchmark import ITEM
from tasks.records.ids import content_id
from tasks.records.model import Model, describe, load_models, require_model
from tasks.records.question import BANDED
from tasks.records.response import CUT_OFF, SAMPLE, SCORED
from tasks.sampling.sampler import Sampler
from tasks.sampling.schedule import Group
from tasks.scoring.chains import right_equations
from tasks.training.checkpoint import checkpoints
from tasks.training.launch import launch
from tasks.training.recipe import OUTCOME, Job, Recipe, job_key

LEVELS = 5


def select_samples(
    chains: pl.DataFrame, questions: pl.DataFrame, arm: ArmParams, ablation: AblationParams, seed: int, name: str
) -> pl.DataFrame:
    """The samples of one arm and seed: SAMPLE and `equations`, rank 1 first.

    Args:
        chains: SCORED.
        questions: BANDED; `solved` and `level` decide the groups.

    Raises:
        LimoError: there are fewer than the arm asks for.
    """
    pool = questions.filter(_in_group(arm.questions, ablation, name))
    seen = [_unit(seed, "pool", question) < ablation.pool_share for question in pool["question_id"]]
    pool = pool.filter(pl.Series(seen, dtype=pl.Boolean))
    table = chains.join(pool.select("question_id"), on="question_id", how="semi", maintain_order="left")
    table = _with_draws(table.filter(pl.len().over("question_id") >= arm.min_chains), seed, ablation.modulus)
    ordered = _chains(table, arm).sort("_place", _question_key(arm), "chain_id")
    if ordered.height < arm.count:
        raise LimoError(
            f"arms.{name}: asks for {arm.count} samples of group {arm.questions}, seed {seed} has {ordered.height}; "
            "lower its count, or raise pull.sources.*.count"
        )
    kept = ordered.head(arm.count).with_columns(rank=pl.int_range(1, arm.count + 1, dtype=pl.Int64))
    return kept.select(*SCORED.names(), "rank", "equations")


def _in_group(group: str, ablation: AblationParams, name: str) -> pl.Expr:
    if group == "all":
        return pl.lit(value=True)
    if group == "band":
        return pl.col("solved").is_between(*ablation.band)
    if group not in ablation.levels:
        known = ", ".join(["all", "band", *ablation.levels])
        raise LimoError(f"arms.{name}.questions: no group `{group}`; there are {known}")
    return pl.col("level").is_in(list(ablation.levels[group]))


def _with_draws(chains: pl.DataFrame, seed: int, modulus: int | None) -> pl.DataFrame:
    return chains.with_columns(
        pl.Series("_draw", [_unit(seed, "chain", c) for c in chains["chain_id"]], pl.Float64),
        pl.Series("_question_draw", [_unit(seed, "question", q) for q in chains["question_id"]], pl.Float64),
        pl.Series("equations", [right_equations(text, modulus) for text in chains["text"]], pl.Int64),
    )


def _unit(seed: int, what: str, name: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments: the same draw whatever else there is."""
    return int(content_id("draw", what, seed, name).removeprefix("draw_"), 16) / 16**16


def _chains(table: pl.DataFrame, arm: ArmParams) -> pl.DataFrame:
    """The chains to take of each question, with their place in it (`_place`)."""
    if arm.chain.startswith("level-"):
        return _level(table, int(arm.chain.removeprefix("level-")))
    key = {
        "best": -pl.col("quality"),
        "worst": pl.col("quality"),
        "random": pl.col("_draw"),
        "longest": -pl.col("n_tokens"),
        "equations": -pl.col("equations"),
    }[arm.chain]
    # Ties by a draw: ids would favour the same chain in every arm.
    ordered = table.with_columns(_key=key).sort("_key", "_draw")
    placed = ordered.with_columns(_place=pl.int_range(pl.len()).over("question_id"))
    return placed.filter(pl.col("_place") < arm.chains_per_question)


def _level(table: pl.DataFrame, level: int) -> pl.DataFrame:
    """Of each question's n chains in the order of quality, number round((n - 1) (level - 1) / 4)."""
    ordered = table.sort("quality", "_draw")
    ordered = ordered.with_columns(
        _number=pl.int_range(pl.len()).over("question_id"), _count=pl.len().over("question_id"), _place=pl.lit(0)
    ).filter(pl.col("_count") >= LEVELS)
    wanted = ((pl.col("_count") - 1) * (level - 1) / (LEVELS - 1)).round().cast(pl.Int64)
    return ordered.filter(pl.col("_number") == wanted)


def _question_key(arm: ArmParams) -> pl.Expr:
    return {"best": -pl.col("quality"), "worst": pl.col("quality"), "random": pl.col("_question_draw")}[arm.rank]


MEANS = ("quality", "elaboration", "verification", "exploration", "granularity", "n_tokens", "equations")


class TrainedModel(NamedTuple):
    """A trained model, or the base as it is, and its row of seeds.parquet."""

    model: Model
    facts: dict[str, Any]


def train(samples: pl.DataFrame, base: Model, recipe: Recipe, system: str | None, work: Path) -> TrainedModel:
    """Train on the samples (SAMPLE), or reuse the weights that an earlier run left in `work`."""
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
    return TrainedModel(model, facts | samples.select(pl.col(*MEANS).cast(pl.Float64).mean()).row(0, named=True))


def answer_items(
    name: str,
    model: Model,
    items: pl.DataFrame,
    protocol: ProtocolParams,
    engine: EngineParams,
    chat: ChatParams,
    ledger: Path,
) -> pl.DataFrame:
    """One graded response of the arm `name` an item, as ARM_VERDICT without arm and seed."""
    sampler = Sampler(model, engine, chat, ledger, stage=f"arm ({name} {model.model_id})")
    prompts = item_prompts(sampler.render, items)
    groups = [
        Group(row["item_id"], prompt, row["gold"], row["kind"], 1, protocol.sampling, sampler.render.opened)
        for prompt, row in zip(prompts, items.iter_rows(named=True), strict=True)
    ]
    drawn = sampler.draw(groups).with_texts().rename({"key": "item_id"})
    drawn = drawn.join(items, on="item_id", how="left", maintain_order="left")
    verdicts = grade_many(
        [
            Pair(gold, text, kind, cut_off=finish in CUT_OFF)
            for gold, text, kind, finish in drawn.select("gold", "text", "kind", "finish_reason").iter_rows()
        ],
        cache=verdict_cache(ledger),
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
    benchmark_items = read_table(items, ITEM)
    pool = _Pool(read_table(chains, SCORED), read_table(questions, BANDED))
    seeds = _train_seeds(name, arm, base, pool, ablation, train, chat, work)
    verdicts = [
        answer_items(name, seed.trained.model, benchmark_items, answer, engine, chat, ledger).with_columns(
            seed=pl.lit(seed.seed)
        )
        for seed in seeds
    ]
    with publish(out) as part:
        _table(pl.concat(verdicts), name, ARM_VERDICT).write_parquet(part / "verdicts.parquet")
        _table(pl.concat([seed.samples for seed in seeds]), name).write_parquet(part / "samples.parquet")
        rows = [{"arm": name, "seed": seed.seed, "base": arm.base} | seed.trained.facts for seed in seeds]
        pl.DataFrame(rows, schema=ARM_SEED).write_parquet(part / "seeds.parquet")
        taken = sum(seed.samples.height for seed in seeds)
        write_manifest(part, Stage(name, "samples"), taken=taken, kept=taken, facts={"seeds": rows})


class _Pool(NamedTuple):
    chains: pl.DataFrame
    questions: pl.DataFrame


class _Seed(NamedTuple):
    seed: int
    samples: pl.DataFrame
    trained: TrainedModel


def _train_seeds(
    name: str,
    arm: ArmParams,
    base: Model,
    pool: _Pool,
    ablation: AblationParams,
    recipe: Recipe,
    chat: ChatParams,
    work: Path,
) -> list[_Seed]:
    """Every seed, trained; all before the first answers, as an engine takes the memory that training needs."""
    if arm.count == 0:
        empty = pl.DataFrame(schema={**SAMPLE, "equations": pl.Int64(), "seed": pl.Int64()})
        return [
            _Seed(0, empty, TrainedModel(base, {"model_id": base.model_id, "samples": 0, "steps": 0, "loss_tokens": 0}))
        ]
    seeds = []
    for seed in ablation.seeds:
        samples = select_samples(pool.chains, pool.questions, arm, ablation, seed, name)
        trained = train(samples, base, recipe.model_copy(update={"seed": seed}), chat.system, work)
        facts = trained.facts | {"model_id": trained.model.model_id, "samples": samples.height}
        seeds.append(_Seed(seed, samples.with_columns(seed=pl.lit(seed, pl.Int64)), trained._replace(facts=facts)))
    return seeds


def _table(table: pl.DataFrame, arm: str, schema: pl.Schema | None = None) -> pl.DataFrame:
    named = table.with_columns(pl.col("seed").cast(pl.Int64), arm=pl.lit(arm))
    return named.select(
        list(schema) if schema else ["arm", "seed", *(c for c in named.columns if c not in ("arm", "seed"))]
    )


if __name__ == "__main__":
    stage_main(run)
