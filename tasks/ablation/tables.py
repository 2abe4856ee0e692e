"""The tables of an arm, read and checked: the same items in every arm, and the seeds of params."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.ablation.params import AblationParams
from tasks.core.errors import LimoError
from tasks.core.files import manifest_path, read_table

ARM_VERDICT = pl.Schema(
    {
        "arm": pl.String,
        "seed": pl.Int64,
        "benchmark": pl.String,
        "item_id": pl.String,
        "response_id": pl.String,
        "model_id": pl.String,
        "verdict": pl.String,
        "finish_reason": pl.String,
        "n_tokens": pl.Int64,
    }
)
"""`verdicts.parquet` of an arm: one row for each item and seed (the response is in the ledger, by its id)."""

ARM_SEED = pl.Schema(
    {
        "arm": pl.String,
        "seed": pl.Int64,
        "base": pl.String,
        "model_id": pl.String,
        "samples": pl.Int64,
        "passes": pl.Float64,
        "steps": pl.Int64,
        "loss_tokens": pl.Int64,
        "last_loss": pl.Float64,
        "train_seconds": pl.Float64,
        "quality": pl.Float64,
        "elaboration": pl.Float64,
        "verification": pl.Float64,
        "exploration": pl.Float64,
        "granularity": pl.Float64,
        "n_tokens": pl.Float64,
        "equations": pl.Float64,
    }
)
"""`seeds.parquet` of an arm: one row a seed. From `quality` on: means over its samples (`equations`: right equations a
chain). An untrained arm has one seed, 0 samples and nulls."""


TOKENS_APART = 0.02
RERUN = "run `limo ablate`"


class Arm(NamedTuple):
    """One arm's tables: rows of ARM_VERDICT in the order of seed and item, and of ARM_SEED in the order of seed."""

    name: str
    verdicts: pl.DataFrame
    seeds: pl.DataFrame

    @property
    def trained(self) -> bool:
        """Whether it is more than an untrained base."""
        return bool((self.seeds["samples"] > 0).any())

    def matrix(self, benchmarks: Iterable[str]) -> NDArray[np.int64]:
        """1 where an answer is right, of the items of some benchmarks: a row a seed, a column an item."""
        taken = self.verdicts.filter(pl.col("benchmark").is_in(list(benchmarks)))
        right = (taken["verdict"] == "correct").cast(pl.Int64).to_numpy()
        return np.asarray(right, dtype=np.int64).reshape(self.seeds.height, -1)


def read_arms(folder: Path, names: Iterable[str], ablation: AblationParams) -> dict[str, Arm]:
    """The arms called `names`, those that questions name first; folders of other, earlier arms are left alone.

    Raises:
        LimoError: an arm is missing; a file is torn; or arms differ in their items or seeds.
    """
    wanted = arms_of_questions(ablation) | {name: "" for name in names if name not in arms_of_questions(ablation)}
    require_arms(folder, wanted)
    arms = {name: read_arm(folder / name) for name in wanted}
    check_items(folder, arms, ablation)
    for arm in arms.values():
        check_seeds(folder / arm.name, arm, ablation.seeds)
    check_matched(folder, [arm for arm in arms.values() if arm.trained])
    return arms


def arms_of_questions(ablation: AblationParams) -> dict[str, str]:
    """The arms that questions name, each with the first question that does."""
    found: dict[str, str] = {}
    for question in ablation.questions:
        for arm in [*question.arms, *(arm for pair in question.contrasts for arm in pair)]:
            found.setdefault(arm, question.name)
    return found


def require_arms(folder: Path, wanted: dict[str, str]) -> None:
    """Raise where an arm is missing; its manifest, which is written last, shows that it is complete."""
    missing = {arm: name for arm, name in wanted.items() if not manifest_path(folder, arm).exists()}
    if missing:
        arms = ", ".join(f"`{arm}`" + (f" (question `{name}`)" if name else "") for arm, name in missing.items())
        raise LimoError(f"{folder}: no such arm yet: {arms}; {RERUN}")


def read_arm(folder: Path) -> Arm:
    """One arm's tables."""
    verdicts = read_table(folder / "verdicts.parquet", ARM_VERDICT).sort("seed", "benchmark", "item_id")
    seeds = read_table(folder / "seeds.parquet", ARM_SEED).sort("seed")
    if verdicts.is_empty() or seeds.is_empty():
        raise LimoError(f"{folder}: holds no verdicts; delete the folder and {RERUN}")
    return Arm(folder.name, verdicts, seeds)


def check_seeds(folder: Path, arm: Arm, wanted: tuple[int, ...]) -> None:
    """A trained arm has the seeds of the params, an untrained one a single seed."""
    found = arm.seeds["seed"].to_list()
    if arm.trained and found != sorted(wanted):
        raise LimoError(f"{folder}: has the seeds {found}, not ablation.seeds {sorted(wanted)}; {RERUN}")
    if not arm.trained and len(found) != 1:
        raise LimoError(f"{folder}: an untrained arm has one seed, found {found}; delete the folder and {RERUN}")


def check_matched(folder: Path, arms: list[Arm]) -> None:
    """TrainedModel arms have had the same steps, and the same tokens in the loss but for a sample's rounding."""
    for arm in arms:
        first = arms[0].seeds.row(0, named=True)
        for row in arm.seeds.iter_rows(named=True):
            if row["steps"] != first["steps"] or abs(row["loss_tokens"] / first["loss_tokens"] - 1) > TOKENS_APART:
                raise LimoError(
                    f"{folder / arm.name}: seed {row['seed']} was trained for {row['steps']} steps and "
                    f"{row['loss_tokens']} tokens, arm `{arms[0].name}` for {first['steps']} and "
                    f"{first['loss_tokens']}: not the same; delete the folder and {RERUN}"
                )


def check_items(folder: Path, arms: dict[str, Arm], ablation: AblationParams) -> None:
    """Every seed of every arm has answered the same items once, those of `accuracy_over` among them."""
    first = next(iter(arms.values()))
    items = item_ids(first, first.seeds["seed"][0])
    for arm in arms.values():
        if arm.verdicts["seed"].unique().sort().to_list() != arm.seeds["seed"].to_list():
            raise LimoError(
                f"{folder / arm.name}: verdicts and seeds.parquet have other seeds; delete the folder and {RERUN}"
            )
        for seed in arm.seeds["seed"]:
            if item_ids(arm, seed) != items:
                raise LimoError(
                    f"{folder / arm.name}: seed {seed} has answered other items than the arm `{first.name}`; "
                    f"delete the folder and {RERUN}"
                )
    strange = [name for name in ablation.accuracy_over if name not in first.verdicts["benchmark"]]
    if strange:
        known = ", ".join(benchmarks(first))
        raise LimoError(f"params.yaml: ablation.accuracy_over: no verdicts on {', '.join(strange)}; arms have {known}")


def item_ids(arm: Arm, seed: int) -> list[tuple[str, str]]:
    """Benchmark and id of the items one seed has answered."""
    return arm.verdicts.filter(pl.col("seed") == seed).select("benchmark", "item_id").rows()


def benchmarks(arm: Arm) -> list[str]:
    """The benchmarks an arm has answered, by name."""
    return arm.verdicts["benchmark"].unique().sort().to_list()


def out_of_distribution(arm: Arm, ablation: AblationParams) -> list[str]:
    """The benchmarks out of distribution."""
    return [name for name in benchmarks(arm) if name not in ablation.accuracy_over]
