"""The MLflow store: where it is, how it is opened, and params, metrics and code version in the form that it takes."""

import json
import os
import re
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.core.errors import LimoError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric

LONGEST_VALUE = 6000
MOST_METRICS = 1000
"""Metrics that MLflow takes at once."""
COMMIT, DIRTY = "mlflow.source.git.commit", "limo.dirty"
# Read when mlflow is imported, so they are set first. A dead server should be reported in seconds, not in minutes.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_TRACKING, _REGISTRY = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"


def mlflow_key(name: str) -> str:
    """A name in the characters that MLflow allows: `pass@1` becomes `pass_at_1`."""
    return re.sub(r"[^\w\-. /]", "_", name.replace("@", "_at_"), flags=re.ASCII)[:250]


def flatten_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Params as `section.key: text`; lists and texts as they are in JSON, cut at MLflow's longest value."""
    flat: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten_params(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[mlflow_key(f"{prefix}{name}")] = text[:LONGEST_VALUE]
    return flat


def flatten_metrics(facts: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers among the facts as `group.name: number`, those of a list by place; what is no number is left out."""
    flat: dict[str, float] = {}
    for name, value in facts.items():
        inside = dict(enumerate(value)) if isinstance(value, list) else value
        if isinstance(inside, Mapping):
            flat |= flatten_metrics({str(place): each for place, each in inside.items()}, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            flat[mlflow_key(f"{prefix}{name}")] = float(value)
    return flat


class MetricSource(NamedTuple):
    """The logged model and the data set that a metric is of."""

    model_id: str | None
    dataset_name: str | None
    dataset_digest: str | None
    run_id: str | None


NO_SOURCE = MetricSource(None, None, None, None)


def as_metrics(
    values: Iterable[tuple[str, float]], step: int = 0, source: MetricSource = NO_SOURCE
) -> Iterator["Metric"]:
    """Metrics of one step, as of now."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return (Metric(name, float(value), now, step, *source) for name, value in values)


def step_metrics(rows: Iterable[Mapping[str, Any]]) -> Iterator["Metric"]:
    """Metrics of the rows of STEP of `tasks.training.log`, one of each column that has a number."""
    for row in rows:
        known = ((mlflow_key(name), value) for name, value in row.items() if name != "step" and value is not None)
        yield from as_metrics(known, step=row["step"])


def log_metrics(client: "MlflowClient", run_id: str, metrics: Iterable["Metric"]) -> None:
    """Log them all, in as many calls as MLflow needs."""
    listed = list(metrics)
    for start in range(0, len(listed), MOST_METRICS):
        client.log_batch(run_id, metrics=listed[start : start + MOST_METRICS])


def store_uri(artifacts: Path) -> str:
    """MLFLOW_TRACKING_URI where it is set, else a SQLite file under `artifacts/mlflow`, by its absolute path."""
    return os.environ.get(_TRACKING) or _local_uri(artifacts)


@contextmanager
def mlflow_client(artifacts: Path) -> Iterator["MlflowClient"]:
    """A client of the store, which is created when it does not exist yet.

    Raises:
        LimoError: the store cannot be reached, or refuses a request.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    uri = store_uri(artifacts)
    registry = os.environ.get(_REGISTRY) or uri
    before = {name: os.environ.get(name) for name in (_TRACKING, _REGISTRY)}
    _store_folder(artifacts).mkdir(parents=True, exist_ok=True)
    # The registry resolves logged models through the process's own URI, whatever the client was given.
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(registry)
    try:
        yield mlflow.MlflowClient(uri, registry)
    except mlflow.MlflowException as error:
        raise LimoError(f"MLflow at {uri}: {str(error).splitlines()[0]}") from error
    finally:
        # What mlflow wrote into the environment would pass for the user's choice the next time.
        for name, earlier in before.items():
            if earlier is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = earlier


def ensure_experiment(client: "MlflowClient", name: str, artifacts: Path) -> str:
    """The id of the experiment, which is created when it does not exist yet."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    # A server decides itself where artifacts go; for our own file it would be ./mlruns, wherever that is.
    local = client.tracking_uri == _local_uri(artifacts)
    location = (_store_folder(artifacts) / "artifacts").as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=location))


def _local_uri(artifacts: Path) -> str:
    return f"sqlite:///{_store_folder(artifacts) / 'mlflow.db'}"


def _store_folder(artifacts: Path) -> Path:
    return artifacts.resolve() / "mlflow"


def commit_tags() -> dict[str, str]:
    """The commit and the dirty flag as MLflow tags; empty outside a git repository or without a commit."""
    commit = git("rev-parse", "HEAD")
    return {} if commit is None else {COMMIT: commit, DIRTY: str(_has_changes()).lower()}


def commit_text() -> str | None:
    """The commit, with `-dirty` where files had changed since; None where there is none."""
    commit = git("rev-parse", "HEAD")
    return commit and commit + ("-dirty" if _has_changes() else "")


def git(*words: str) -> str | None:
    """What a git command prints; None where there is no git, or the command fails."""
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _has_changes() -> bool:
    # dvc.lock is left out, as DVC writes it.
    return bool(git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":(top,exclude)dvc.lock"))
