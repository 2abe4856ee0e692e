"""Examples for the report: the best training sample with its trail, and one item answered by both models."""

from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.files import read_table
from tasks.records.benchmark import ANSWER, ITEM, VERDICT
from tasks.tracing.samples import sample_trails


class Pair(NamedTuple):
    """One benchmark item with an answer of each arm; answers have the columns of ANSWER and VERDICT."""

    item: dict[str, Any]
    base: dict[str, Any]
    trained: dict[str, Any]
    why: str
    """How this item was chosen."""


def best_sample(artifacts: Path) -> dict[str, Any]:
    """The training sample of the highest rank, with its trail."""
    return sample_trails(artifacts).row(0, named=True)


def answered_pair(artifacts: Path) -> Pair | None:
    """The first item that only the trained model got right; else the first item. None without two arms."""
    verdicts = read_table(artifacts / "grade" / "verdicts.parquet", VERDICT).sort("sample_index", maintain_order=True)
    first = verdicts.unique(["item_id", "arm"], keep="first", maintain_order=True)
    arms = [first.filter(pl.col("arm") == arm) for arm in ("base", "trained")]
    both = arms[0].join(arms[1], on="item_id", suffix="_trained", maintain_order="left")
    if both.is_empty():
        return None
    gained = both.filter((pl.col("verdict") != "correct") & (pl.col("verdict_trained") == "correct"))
    why = "the first item that the base model got wrong and the trained model right"
    if gained.is_empty():
        gained, why = both, "the first item, since there is none that only the trained model got right"
    row = gained.row(0, named=True)
    items = read_table(artifacts / "benchmarks" / "items.parquet", ITEM)
    item = items.filter(pl.col("item_id") == row["item_id"]).row(0, named=True)
    answers = read_table(
        artifacts / "answer" / "answers.parquet", {name: ANSWER[name] for name in ("response_id", "text")}
    )
    base, trained = (_answer(verdicts, answers, row[column]) for column in ("response_id", "response_id_trained"))
    return Pair(item, base, trained, why)


def _answer(verdicts: pl.DataFrame, answers: pl.DataFrame, response_id: str) -> dict[str, Any]:
    found = verdicts.filter(pl.col("response_id") == response_id).join(answers, on="response_id")
    return found.row(0, named=True)
