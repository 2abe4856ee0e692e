"""Which questions two runs answer differently, and whether the runs differ at all."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from tasks.errors import LimoError
from tasks.files import read_table
from tasks.grading.statistics import Comparison, compare
from tasks.records.benchmark import ANSWER, ITEM, VERDICT
from tasks.tracing.named import Tables, find_tables

ARMS = ("trained", "base")
KEPT = ("extracted", "verdict", "verdict_reason", "finish_reason", "response_id")


FLIPPED = pl.Schema(
    {
        **dict.fromkeys(("benchmark", "item_id", "question", "gold"), pl.String),
        **dict.fromkeys(("left", "right"), pl.Float64),
        **{f"{side}_{name}": pl.String for side in ("left", "right") for name in (*KEPT, "text")},
    }
)


class Side(NamedTuple):
    """One arm of one run."""

    name: str
    arm: str
    tables: Tables

    def __str__(self) -> str:
        """As it is named on the command line."""
        return f"{self.name}:{self.arm}"


class Flips(NamedTuple):
    """What differs between two sides."""

    table: pl.DataFrame
    """One row an item whose share of right answers differs: benchmark, item_id, question, gold, `left` and `right`
    (shares), and for each side extracted, verdict, reason and text of its first answer that tells them apart."""
    tests: dict[str, Comparison]
    """By benchmark; `base` is the left side, `trained` the right one."""
    only_left: int
    only_right: int
    """Items that one side alone answered."""
    other_golds: int
    """Items of both whose gold differs between the runs."""
    graders: tuple[str, ...]
    """Versions of the grader: more than one where the sides were graded by different ones."""


def side(text: str) -> Side:
    """A side of the command line: what a run is called, and after a colon the arm (trained where none is given).

    Raises:
        LimoError: the arm is none, or no run is called so.
    """
    name, colon, arm = text.rpartition(":")
    if not colon or arm.startswith("/"):
        # The colon of models:/NAME@ALIAS comes before no arm.
        name, arm = text, ARMS[0]
    if arm not in ARMS:
        raise LimoError(f"{text}: no arm `{arm}`; give {name}:trained or {name}:base")
    return Side(name, arm, find_tables(name))


def flips(left: Side, right: Side, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Flips:
    """The items of both sides that flipped, the largest changes first, and the paired test of each benchmark.

    Raises:
        LimoError: a table is missing, or the sides share no item.
    """
    sides = [_graded(one) for one in (left, right)]
    shares = [one.group_by("benchmark", "item_id").agg((pl.col("verdict") == "correct").mean()) for one in sides]
    both = shares[0].join(shares[1], on=["benchmark", "item_id"], suffix="_right").sort("benchmark", "item_id")
    if both.is_empty():
        raise LimoError(f"{left} and {right} share no item; runs are compared on the same benchmarks")
    tests = {}
    for name in both["benchmark"].unique(maintain_order=True):
        kept = both.filter(pl.col("benchmark") == name)["item_id"]
        pair = [_matrix(one.filter(pl.col("item_id").is_in(kept.implode()))) for one in sides]
        tests[name] = compare(*pair, confidence=confidence, resamples=resamples, seed=seed)
    changed = both.filter(pl.col("verdict") != pl.col("verdict_right"))
    rows = _rows(changed, left, right, sides)
    table = pl.DataFrame(rows, schema=FLIPPED)
    return Flips(
        table.sort((pl.col("right") - pl.col("left")).abs(), descending=True, maintain_order=True) if rows else table,
        tests,
        shares[0].height - both.height,
        shares[1].height - both.height,
        _other_golds(left, right),
        tuple(sorted({grader for one in sides for grader in one["grader"].unique()})),
    )


def _graded(one: Side) -> pl.DataFrame:
    verdicts = read_table(one.tables.verdicts, VERDICT).filter(pl.col("arm") == one.arm)
    return verdicts.sort("item_id", "sample_index")


def _other_golds(left: Side, right: Side) -> int:
    golds = [read_table(one.tables.items, ITEM).select("item_id", "gold") for one in (left, right)]
    both = golds[0].join(golds[1], on="item_id", suffix="_right")
    return both.filter(pl.col("gold") != pl.col("gold_right")).height


def _matrix(verdicts: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    by_item = verdicts.group_by("item_id").agg((pl.col("verdict") == "correct").cast(pl.Int64)).sort("item_id")
    if by_item["verdict"].list.len().n_unique() != 1:
        name = verdicts.item(0, "benchmark")
        raise LimoError(f"limo compare: {name}: items have unequal numbers of answers; rerun `dvc repro grade`")
    return np.array(by_item["verdict"].to_list(), dtype=np.int64)


def _rows(changed: pl.DataFrame, left: Side, right: Side, sides: list[pl.DataFrame]) -> list[dict[str, Any]]:
    """What `Flips.table` has of each changed item."""
    better = pl.col("verdict") > pl.col("verdict_right")
    items = _by_id(left.tables.items, ITEM, "item_id", changed["item_id"])
    rows = [
        {name: items[row["item_id"]][name] for name in ("benchmark", "item_id", "question", "gold")}
        | {"left": row["verdict"], "right": row["verdict_right"]}
        for row in changed.iter_rows(named=True)
    ]
    for name, one, graded, sought in (("left", left, sides[0], better), ("right", right, sides[1], ~better)):
        wanted = changed.select("item_id", sought=sought)
        telling = graded.join(wanted, on="item_id").filter((pl.col("verdict") == "correct") == pl.col("sought"))
        first = telling.unique("item_id", keep="first", maintain_order=True)
        shown = {row["item_id"]: row for row in first.iter_rows(named=True)}
        texts = _by_id(one.tables.answers, ANSWER, "response_id", first["response_id"])
        for row in rows:
            verdict = shown[row["item_id"]]
            row |= {f"{name}_{key}": verdict[key] for key in KEPT}
            row[f"{name}_text"] = texts[verdict["response_id"]]["text"]
    return rows


def _by_id(path: Path, schema: pl.Schema, key: str, values: pl.Series) -> dict[str, dict[str, Any]]:
    """The rows of these ids.

    Raises:
        LimoError: one is not there.
    """
    table = read_table(path, schema).filter(pl.col(key).is_in(values.implode()))
    rows = {row[key]: row for row in table.iter_rows(named=True)}
    lost = [value for value in values if value not in rows]
    if lost:
        raise LimoError(f"{path}: has no {key} {lost[0]}, which the verdicts name; rerun `dvc repro grade`")
    return rows
