"""Arms compared: a row of numbers an arm, and the answer to each question."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tasks.ablation.contrast import Correlation, Outcome, contrast, estimate, joint_outcome, outcome, spearman
from tasks.ablation.params import AblationParams, QuestionParams
from tasks.ablation.results import Arm, benchmarks, elsewhere
from tasks.grading.statistics import Estimate
from tasks.records.response import CUT_OFF

PREDICTORS = ("quality", "elaboration", "verification", "exploration", "granularity", "n_tokens", "equations")


class Record(BaseModel):
    """Base of what contrasts.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Shown(Record):
    """An arm as a question shows it; shares, not per cent."""

    arm: str
    label: str
    accuracy: Estimate
    elsewhere: Estimate | None
    """Out of distribution."""


class Difference(Record):
    """How much more accurate one arm is than another, with its interval."""

    better: str
    worse: str
    labels: tuple[str, str]
    value: float
    low: float
    high: float
    outcome: Outcome


class Answer(Record):
    """A question with what its arms say."""

    name: str
    asks: str
    paper: str
    outcome: Outcome
    arms: tuple[Shown, ...]
    contrasts: tuple[Difference, ...]


class Predictor(NamedTuple):
    """How well a trait of an arm's chains orders the arms by accuracy."""

    trait: str
    correlation: Correlation


class Compared(NamedTuple):
    """All that `compare` finds."""

    arms: pl.DataFrame
    answers: list[Answer]
    predictors: list[Predictor]


def compare_arms(arms: dict[str, Arm], ablation: AblationParams) -> Compared:
    """Rows, answers and predictors of arms that have answered the same items."""
    table = pl.DataFrame([arm_row(arm, ablation) for arm in arms.values()], infer_schema_length=None)
    answers = [answer(question, arms, table, ablation) for question in ablation.questions]
    return Compared(table, answers, predictors(arms, ablation))


def arm_row(arm: Arm, ablation: AblationParams) -> dict[str, Any]:
    """One row of arms.parquet; from `samples` to `n_tokens`: means over seeds."""
    names = ("samples", "passes", "steps", "loss_tokens", "quality", "n_tokens")
    others = elsewhere(arm, ablation)
    matrix = arm.matrix(ablation.accuracy_over)
    row: dict[str, Any] = {"arm": arm.name, "base": arm.seeds["base"][0], "seeds": matrix.shape[0]}
    row |= {"items": matrix.shape[1], **_columns("accuracy", rate(matrix, ablation))}
    row |= _columns("elsewhere", rate(arm.matrix(others), ablation) if others else None)
    row |= {name: arm.seeds[name].cast(pl.Float64).mean() for name in names}
    row["truncated"] = arm.verdicts["finish_reason"].is_in(CUT_OFF).cast(pl.Float64).mean()
    return row | {f"accuracy/{name}": float(arm.matrix([name]).mean()) for name in benchmarks(arm)}


def rate(matrix: NDArray[np.int64], ablation: AblationParams) -> Estimate:
    """The share of right answers."""
    return estimate(matrix, confidence=ablation.confidence, resamples=ablation.resamples)


def answer(question: QuestionParams, arms: dict[str, Arm], table: pl.DataFrame, ablation: AblationParams) -> Answer:
    """What the arms of a question say."""
    rows = {row["arm"]: row for row in table.iter_rows(named=True)}
    shown = [
        Shown(arm=name, label=label, accuracy=_estimate(rows[name], "accuracy"), elsewhere=_other(rows[name]))
        for name, label in question.arms.items()
    ]
    found = [difference(arms[better], arms[worse], question.arms, ablation) for better, worse in question.contrasts]
    return Answer(
        name=question.name,
        asks=question.asks,
        paper=question.paper,
        outcome=joint_outcome([each.outcome for each in found]),
        arms=tuple(shown),
        contrasts=tuple(found),
    )


def difference(better: Arm, worse: Arm, labels: dict[str, str], ablation: AblationParams) -> Difference:
    """One contrast, over the items of `accuracy_over`."""
    matrices = [arm.matrix(ablation.accuracy_over) for arm in (better, worse)]
    found = contrast(*matrices, confidence=ablation.confidence, resamples=ablation.resamples)
    return Difference(
        better=better.name,
        worse=worse.name,
        labels=(labels.get(better.name, better.name), labels.get(worse.name, worse.name)),
        **found._asdict(),
        outcome=outcome(found.low, found.high, ablation.smallest_effect),
    )


def predictors(arms: dict[str, Arm], ablation: AblationParams) -> list[Predictor]:
    """Rank correlation of accuracy with each trait, over the seeds of the arms that `predictors` names."""
    rows = [row for name in ablation.predictors for row in points_of(arms[name], ablation.accuracy_over)]
    points = pl.DataFrame(rows, infer_schema_length=None)
    return [Predictor(trait, correlation(points, trait, ablation)) for trait in PREDICTORS]


def points_of(arm: Arm, accuracy_over: Sequence[str]) -> list[dict[str, Any]]:
    """Traits and accuracy of every seed of an arm."""
    pairs = zip(arm.seeds.to_dicts(), arm.matrix(accuracy_over), strict=True)
    return [seed | {"accuracy": float(right.mean())} for seed, right in pairs]


def correlation(points: pl.DataFrame, trait: str, ablation: AblationParams) -> Correlation:
    """The rank correlation of accuracy with one trait, over the points that have it."""
    if points.is_empty():
        return Correlation(None, None, None, 0, 0)
    known = points.drop_nulls(trait)
    x, y, arms = (known[name].to_list() for name in (trait, "accuracy", "arm"))
    return spearman(x, y, arms, confidence=ablation.confidence, resamples=ablation.resamples)


def _columns(name: str, found: Estimate | None) -> dict[str, float | None]:
    value, low, high = found or (None, None, None)
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def _estimate(row: dict[str, Any], name: str) -> Estimate:
    return Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])


def _other(row: dict[str, Any]) -> Estimate | None:
    return None if row["elsewhere"] is None else _estimate(row, "elsewhere")
