"""Numbers as MLflow's metrics."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.tracing.flat import key

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

MOST = 1000
"""Metrics that MLflow takes at once."""


class Tie(NamedTuple):
    """The logged model and the data set that a metric is of."""

    model_id: str | None
    dataset_name: str | None
    dataset_digest: str | None
    run_id: str | None


UNTIED = Tie(None, None, None, None)


def points(values: Iterable[tuple[str, float]], step: int = 0, tied: Tie = UNTIED) -> Iterator["Metric"]:
    """Metrics of one step, as of now."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return (Metric(name, float(value), now, step, *tied) for name, value in values)


def step_points(rows: Iterable[Mapping[str, Any]]) -> Iterator["Metric"]:
    """Metrics of the rows of STEP of `tasks.training.log`, one of each column that has a number."""
    for row in rows:
        known = ((key(name), value) for name, value in row.items() if name != "step" and value is not None)
        yield from points(known, step=row["step"])


def log_metrics(client: "MlflowClient", run_id: str, metrics: Iterable["Metric"]) -> None:
    """Log them all."""
    listed = list(metrics)
    for start in range(0, len(listed), MOST):
        client.log_batch(run_id, metrics=listed[start : start + MOST])
