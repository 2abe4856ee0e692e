"""The MLflow store: where it is, how it is opened, and what is said when it cannot be."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.errors import LimoError

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Read when mlflow is imported, so they are set first. A dead server should be reported in seconds, not in minutes.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}
_TRACKING, _REGISTRY = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"


def store_uri(artifacts: Path) -> str:
    """MLFLOW_TRACKING_URI where it is set, else a SQLite file under `artifacts/mlflow`, by its absolute path."""
    return os.environ.get(_TRACKING) or _local_uri(artifacts)


@contextmanager
def connected(artifacts: Path) -> Iterator["MlflowClient"]:
    """A client of the store, which is made when it is not there yet.

    Raises:
        LimoError: the store is not reached, or refuses what is asked of it.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    uri = store_uri(artifacts)
    registry = os.environ.get(_REGISTRY) or uri
    before = {name: os.environ.get(name) for name in (_TRACKING, _REGISTRY)}
    _folder(artifacts).mkdir(parents=True, exist_ok=True)
    # The registry resolves logged models through the process's own URI, whatever the client was given.
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(registry)
    try:
        yield mlflow.MlflowClient(uri, registry)
    except mlflow.MlflowException as error:
        raise LimoError(f"MLflow at {uri}: {str(error).splitlines()[0]}") from error
    finally:
        _restore(before)


def open_experiment(client: "MlflowClient", name: str, artifacts: Path) -> str:
    """The id of the experiment, made when it is not there yet."""
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    # A server decides itself where artifacts go; for our own file it would be ./mlruns, wherever that is.
    local = client.tracking_uri == _local_uri(artifacts)
    location = (_folder(artifacts) / "artifacts").as_uri() if local else None
    return str(client.create_experiment(name, artifact_location=location))


def _local_uri(artifacts: Path) -> str:
    return f"sqlite:///{_folder(artifacts) / 'mlflow.db'}"


def _restore(before: dict[str, str | None]) -> None:
    """Take back what mlflow wrote into the environment: it would pass for the user's choice the next time."""
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _folder(artifacts: Path) -> Path:
    return artifacts.resolve() / "mlflow"
