"""Which chains an arm trains on: a pure function of the scored chains, the arm and the seed."""

import polars as pl

from tasks.ablation.params import AblationParams, ArmParams
from tasks.errors import LimoError
from tasks.quality.equations import right_equations
from tasks.records.chain import SCORED
from tasks.records.ids import content_id

LEVELS = 5


def pick(
    chains: pl.DataFrame, questions: pl.DataFrame, arm: ArmParams, ablation: AblationParams, seed: int, name: str
) -> pl.DataFrame:
    """The samples of one arm and seed: SAMPLE and `equations`, rank 1 first.

    Args:
        chains: SCORED.
        questions: BANDED; `solved` and `level` decide the groups.

    Raises:
        LimoError: there are fewer than the arm asks for.
    """
    asked = questions.filter(_in_group(arm.questions, ablation, name))
    seen = [_unit(seed, "pool", question) < ablation.pool_share for question in asked["question_id"]]
    asked = asked.filter(pl.Series(seen, dtype=pl.Boolean))
    table = chains.join(asked.select("question_id"), on="question_id", how="semi", maintain_order="left")
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
    """A number in [0, 1) that hangs on nothing but its arguments: the same draw whatever else there is."""
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
