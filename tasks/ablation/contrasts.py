"""Arms compared: a row of numbers an arm, and the rates, differences and rank correlations that questions ask for.

Each has its interval. An arm's verdicts are a matrix of 0 and 1: a row a seed, a column an item. Both were drawn from
the world, so both are resampled, each on its own: A. B. Owen, "The pigeonhole bootstrap", Annals of Applied Statistics
1 (2007), whose variance is conservative. Of n seeds n - 1 are drawn, which makes the variance of a mean unbiased where
n is as small as 3 (P. J. McCarthy and C. B. Snowden, "The Bootstrap and Finite Population Sampling", 1985); so too of
the items.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from tasks.ablation.params import AblationParams, QuestionParams
from tasks.ablation.tables import Arm, benchmarks, out_of_distribution
from tasks.records.response import CUT_OFF
from tasks.scoring.statistics import Estimate, percentile_interval, wilson

Values = NDArray[np.float64]
Outcome = Literal["holds", "does not hold", "undecided"]
SEED = 0


class Correlation(NamedTuple):
    """Spearman's rank correlation with its interval; nulls where too few arms differ."""

    value: float | None
    low: float | None
    high: float | None
    points: int
    arms: int


def estimate(matrix: NDArray[np.integer], *, confidence: float, resamples: int) -> Estimate:
    """The share of ones, of seeds x items."""
    if matrix.min() == matrix.max():
        # Values that are all alike resample to an interval of no width: an item as one trial is the cautious choice.
        items = matrix.shape[1]
        return wilson(items * int(matrix.flat[0]), items, confidence)
    return Estimate(float(matrix.mean()), *percentile_interval(two_way_means(matrix, resamples), confidence))


def contrast(better: NDArray[np.integer], worse: NDArray[np.integer], *, confidence: float, resamples: int) -> Estimate:
    """How much higher the first arm's share of ones is than the second's: on the same items, and seed by seed.

    An arm of one seed, which is one that was not trained, is compared with every seed of the other.
    """
    assert better.shape[1] == worse.shape[1], "both arms must have answered the same items"
    assert better.shape[0] == worse.shape[0] or 1 in (better.shape[0], worse.shape[0]), "both arms need the same seeds"
    differences = better.astype(np.int64) - worse.astype(np.int64)
    if differences.min() == differences.max():
        return _newcombe(better, worse, confidence)
    return Estimate(float(differences.mean()), *percentile_interval(two_way_means(differences, resamples), confidence))


def two_way_means(matrix: NDArray[np.integer], resamples: int) -> Values:
    """The mean of each resample, of rows and of columns independently."""
    generator = np.random.default_rng(SEED)
    rows, columns = (_weights(generator, count, resamples) for count in matrix.shape)
    return np.asarray(((rows @ matrix) * columns).sum(axis=1), dtype=np.float64)


def outcome(low: float, high: float, smallest_effect: float) -> Outcome:
    """The outcome of an interval of a difference: above 0, without any effect worth having, or neither."""
    if low > 0:
        return "holds"
    return "does not hold" if high < smallest_effect else "undecided"


def joint_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """The outcome of a question with several contrasts: all must hold, and one that does not hold decides."""
    if "does not hold" in outcomes:
        return "does not hold"
    return "undecided" if "undecided" in outcomes or not outcomes else "holds"


def spearman(
    x: Iterable[float], y: Iterable[float], arms: Sequence[str], *, confidence: float, resamples: int
) -> Correlation:
    """The rank correlation of points, with a bootstrap interval over arms: the points of an arm are one cluster."""
    xs, ys = np.array(list(x), dtype=np.float64), np.array(list(y), dtype=np.float64)
    members = [np.flatnonzero(np.array(arms) == arm) for arm in dict.fromkeys(arms)]
    value = rank_correlation(xs, ys)
    if len(members) < 3 or math.isnan(value):
        return Correlation(None, None, None, len(xs), len(members))
    generator = np.random.default_rng(SEED)
    draws = generator.integers(len(members), size=(resamples, len(members)))
    taken = (np.concatenate([members[arm] for arm in draw]) for draw in draws)
    drawn = np.array([rank_correlation(xs[points], ys[points]) for points in taken])
    # A resample in which all points are alike has no correlation.
    return Correlation(value, *percentile_interval(drawn[~np.isnan(drawn)], confidence), len(xs), len(members))


def rank_correlation(x: Values, y: Values) -> float:
    """Spearman's rho, ties at their mean rank; not a number when one side is constant."""
    a, b = (ranks(values) - (len(values) + 1) / 2 for values in (x, y))
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size else math.nan


def ranks(values: Values) -> Values:
    """Ranks from 1, ties at their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts - 1) / 2)[inverse], dtype=np.float64)


def _weights(generator: np.random.Generator, count: int, resamples: int) -> Values:
    """How much each of `count` weighs in each resample; what there is one of cannot be resampled."""
    if count == 1:
        return np.ones((resamples, 1))
    drawn = generator.multinomial(count - 1, np.full(count, 1 / count), size=resamples)
    return np.asarray(drawn / (count - 1), dtype=np.float64)


def _newcombe(better: NDArray[np.integer], worse: NDArray[np.integer], confidence: float) -> Estimate:
    """A difference that is the same everywhere, with the interval of two proportions, an item one trial of each.

    R. G. Newcombe, "Interval Estimation for the Difference between Independent Proportions", Statistics in Medicine 17
    (1998), method 10: the two Wilson intervals, squared and added.
    """
    items = better.shape[1]
    a, b = (wilson(round(float(matrix.mean()) * items), items, confidence) for matrix in (better, worse))
    difference = float(better.mean() - worse.mean())
    low = difference - math.hypot(a.value - a.low, b.high - b.value)
    high = difference + math.hypot(a.high - a.value, b.value - b.low)
    return Estimate(difference, max(-1.0, low), min(1.0, high))


PREDICTORS = ("quality", "elaboration", "verification", "exploration", "granularity", "n_tokens", "equations")


class Record(BaseModel):
    """Base of what contrasts.json holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ArmAccuracy(Record):
    """The accuracy of an arm under its label in a question; shares, not per cent."""

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


class Finding(Record):
    """A question with the accuracy of its arms, its contrasts and its outcome."""

    name: str
    asks: str
    paper: str
    outcome: Outcome
    arms: tuple[ArmAccuracy, ...]
    contrasts: tuple[Difference, ...]


class Predictor(NamedTuple):
    """How well a trait of an arm's chains orders the arms by accuracy."""

    trait: str
    correlation: Correlation


class Comparison(NamedTuple):
    """All results of `compare`."""

    arms: pl.DataFrame
    findings: list[Finding]
    predictors: list[Predictor]


def compare_arms(arms: dict[str, Arm], ablation: AblationParams) -> Comparison:
    """Rows, findings and predictors of arms that have answered the same items."""
    table = pl.DataFrame([arm_row(arm, ablation) for arm in arms.values()], infer_schema_length=None)
    findings = [finding(question, arms, table, ablation) for question in ablation.questions]
    return Comparison(table, findings, predictors(arms, ablation))


def arm_row(arm: Arm, ablation: AblationParams) -> dict[str, Any]:
    """One row of arms.parquet; from `samples` to `n_tokens`: means over seeds."""
    names = ("samples", "passes", "steps", "loss_tokens", "quality", "n_tokens")
    others = out_of_distribution(arm, ablation)
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


def finding(question: QuestionParams, arms: dict[str, Arm], table: pl.DataFrame, ablation: AblationParams) -> Finding:
    """The result of one question."""
    rows = {row["arm"]: row for row in table.iter_rows(named=True)}
    shown = [
        ArmAccuracy(arm=name, label=label, accuracy=_estimate(rows[name], "accuracy"), elsewhere=_other(rows[name]))
        for name, label in question.arms.items()
    ]
    found = [difference(arms[better], arms[worse], question.arms, ablation) for better, worse in question.contrasts]
    return Finding(
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
