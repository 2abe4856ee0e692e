"""Training's curves in MLflow while it trains: a run for each job, continued when the job is resumed.

The process that waits for the ranks follows the lines that rank 0 writes, so that no rank ever waits for MLflow. The
run is for watching; the record is what the stage writes and `tasks.provenance.mlflow_run` logs of it, in a run that
names this one by the tag `LIVE_RUN`.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from tasks.core.errors import LimoError
from tasks.tracking.store import ensure_experiment, log_metrics, mlflow_client, step_metrics, store_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "limo-training"
"""Where MLFLOW_EXPERIMENT_NAME names no other."""
JOB, LIVE_RUN = "limo.job", "limo.live_run"
EVERY_SECONDS = 1.0
BATCH_STEPS = 50
"""Steps in a request: all numbers of a step are in one, so that a step that is there is complete."""
LAST_SECONDS = 30.0
"""How long the end of training waits for MLflow."""


@contextmanager
def log_live(lines: Path, artifacts: Path, job: str) -> Iterator[None]:
    """Inside, log what is written to `lines`, as JSON rows of STEP, to the MLflow run of `job`.

    A store that cannot be reached costs a line on stderr, and the curves.
    """
    ended = threading.Event()
    outcome = ["KILLED"]
    follower = threading.Thread(target=_follow, args=(lines, artifacts, job, ended, outcome), daemon=True)
    # Those of an earlier launch are not of this one.
    lines.unlink(missing_ok=True)
    follower.start()
    try:
        yield
        outcome[0] = "FINISHED"
    except Exception:
        outcome[0] = "FAILED"
        raise
    finally:
        ended.set()
        follower.join(LAST_SECONDS)


def _find_live_run(client: "MlflowClient", experiment_id: str, job: str) -> Any | None:
    found = client.search_runs([experiment_id], f"tags.`{JOB}` = '{job}'", max_results=1)
    return found[0] if found else None


def live_run_id(client: "MlflowClient", job: str) -> str | None:
    """The id of a job's live run; None where there is none."""
    experiment = client.get_experiment_by_name(_experiment())
    run = _find_live_run(client, experiment.experiment_id, job) if experiment else None
    return run.info.run_id if run else None


def _experiment() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT


def _follow(lines: Path, artifacts: Path, job: str, ended: threading.Event, outcome: list[str]) -> None:
    while not lines.exists():
        if ended.wait(EVERY_SECONDS) and not lines.exists():
            return
    try:
        with mlflow_client(artifacts) as client, lines.open("rb") as file:
            run_id, done = _open_run(client, ensure_experiment(client, _experiment(), artifacts), job)
            over = False
            while not over:
                # Once more after the end, for the last lines.
                over = ended.wait(EVERY_SECONDS)
                done = _log_lines(client, run_id, file, done)
            client.set_terminated(run_id, outcome[0])
    except LimoError as error:
        print(f"train: no live curves: {error}", file=sys.stderr, flush=True)
    except Exception as error:
        # Of many kinds, from many libraries; none of them is a reason to stop training.
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        print(f"train: no live curves: MLflow at {store_uri(artifacts)}: {reason}", file=sys.stderr, flush=True)


def _open_run(client: "MlflowClient", experiment_id: str, job: str) -> tuple[str, int]:
    """The job's run, and the last step that it has."""
    run = _find_live_run(client, experiment_id, job)
    if run is None:
        return client.create_run(experiment_id, tags={JOB: job}, run_name=f"train {job}").info.run_id, 0
    client.update_run(run.info.run_id, status="RUNNING")
    steps = [int(point.step) for point in client.get_metric_history(run.info.run_id, "loss")]
    return run.info.run_id, max(steps, default=0)


def _log_lines(client: "MlflowClient", run_id: str, file: IO[bytes], done: int) -> int:
    """Log the new steps after `done`; the last one logged then. A line that is not complete yet is left for later."""
    rows: list[dict[str, Any]] = []
    while (line := file.readline()).endswith(b"\n"):
        rows.append(json.loads(line))
    file.seek(-len(line), os.SEEK_CUR)
    # A resumed run takes the steps since its checkpoint again, with the same results.
    new = [row for row in rows if row["step"] > done]
    for start in range(0, len(new), BATCH_STEPS):
        log_metrics(client, run_id, step_metrics(new[start : start + BATCH_STEPS]))
    return max(done, *(int(row["step"]) for row in rows), 0)
