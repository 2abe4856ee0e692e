"""The benchmark table: base and trained model with their intervals, beside the paper's numbers."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from markupsafe import Markup

from tasks.files import read_json, read_table
from tasks.records.benchmark import SCORE
from tasks.reporting.figures import Interval, intervals

PAPER = "paper.json"
METRIC = "pass@1"
BASE, V1, V3 = "Qwen2.5-32B-Instruct", "LIMO v1", "LIMO v3"


class Result(NamedTuple):
    """A benchmark's line; scores are rows of SCORE, the comparison is the paired test of `grade`."""

    benchmark: str
    base: dict[str, Any] | None
    trained: dict[str, Any] | None
    comparison: dict[str, Any] | None
    paper: dict[str, float]
    """By column of the paper's table; empty for a benchmark that is not the paper's."""

    def drawing(self) -> Markup:
        """Both intervals on a scale from 0 to 100."""
        arms = {"base": self.base, "trained": self.trained}
        marks = {arm: [100 * score[key] for key in ("value", "low", "high")] for arm, score in arms.items() if score}
        return intervals(Interval(arm, *values) for arm, values in marks.items())


def read_paper() -> dict[str, Any]:
    """The paper's table of results."""
    table: dict[str, Any] = json.loads(Path(__file__).with_name(PAPER).read_text(encoding="utf-8"))
    return table


def results(artifacts: Path) -> list[Result]:
    """One line a benchmark, in the order of scores.parquet."""
    scores = read_table(artifacts / "grade" / "scores.parquet", SCORE).filter(pl.col("metric") == METRIC)
    compared = read_json(artifacts / "grade" / "comparisons.json")
    lines = []
    for name in scores["benchmark"].unique(maintain_order=True):
        arms = {row["arm"]: row for row in scores.filter(pl.col("benchmark") == name).iter_rows(named=True)}
        lines.append(Result(name, arms.get("base"), arms.get("trained"), compared.get(name), _paper_row(name)))
    return lines


def other_metrics(artifacts: Path) -> list[dict[str, Any]]:
    """Scores besides pass@1, such as pass@k."""
    scores = read_table(artifacts / "grade" / "scores.parquet", SCORE)
    return scores.filter(pl.col("metric") != METRIC).to_dicts()


def _paper_row(benchmark: str) -> dict[str, float]:
    paper = read_paper()
    found = {_plain(name): values for name, values in paper["rows"].items() if name != "average"}.get(_plain(benchmark))
    return dict(zip(paper["columns"], found, strict=True)) if found else {}


def _plain(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())
