"""The DAG as a Prefect flow: one task run a stage, each of which lets DVC bring that single stage up to date.

So the flow and `dvc repro` share one cache and give the same results. Prefect adds schedules, retries, the concurrency
of independent stages, and a UI.
"""

import re
from contextlib import suppress
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.futures import PrefectFuture
from prefect.task_runners import ThreadPoolTaskRunner

from flows import check, profiles, summary
from flows.dag import repro_stage, upstream
from flows.running import Board, Watch
from tasks.core.params import read_tree
from tasks.core.stage import one_line_errors

PARAMS = Path("params.yaml")
RUNNER: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=4)


@task(task_run_name="{name}", tags=["limo"])
def stage(name: str) -> str:
    """Bring one stage up to date; returns its name. While it samples, its progress is an artifact of the task run."""
    watch = Watch(name, BOARD)
    repro_stage(name, get_run_logger().info, watch=watch.look)
    watch.close()
    return name


def _create(label: str, percent: float, line: str) -> object:
    key = "progress-" + re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")
    try:
        return create_progress_artifact(percent, key=key, description=line)
    except httpx.HTTPError:
        # A server that is busy must not fail the stage.
        return None


def _update(artifact: object, percent: float, line: str) -> None:
    if isinstance(artifact, UUID):
        with suppress(httpx.HTTPError):
            update_progress_artifact(artifact, percent, description=line)


BOARD = Board(_create, _update)


@flow(
    name="limo-pipeline",
    description="Question pool to scores: the stages of dvc.yaml.",
    task_runner=RUNNER,  # type: ignore[arg-type]  # its futures are PrefectFutures, which its stubs do not say
)
def pipeline(profile: str | None = None, retries: int = 0) -> None:
    """Run all stages that are out of date.

    Args:
        profile: switch params.yaml to this profile first; None runs params.yaml as it is.
        retries: of a failed stage (it resumes from the ledger or its checkpoint).
    """
    if profile is not None:
        profiles.use(profile, PARAMS)
    check.require_valid(read_tree(PARAMS), PARAMS)
    runs: dict[str, PrefectFuture[str]] = {}
    needs = upstream()
    for name in TopologicalSorter(needs).static_order():
        before = [runs[parent] for parent in needs[name]]
        retried = stage.with_options(retries=retries, retry_delay_seconds=10)
        runs[name] = retried.submit(name, wait_for=before, return_state=False)
    for run in runs.values():
        run.result()
    create_table_artifact(summary.score_rows(), key="scores", description="Scores with 95% intervals")
    create_markdown_artifact(f"[Report](file://{summary.REPORT.resolve()})", key="report")


def main() -> None:
    """Run the flow as params.yaml says; what it raises for a user's mistake is one line and exit code 2."""
    with one_line_errors():
        # Before Prefect starts its server: an error is reported at once.
        check.require_valid(read_tree(PARAMS), PARAMS)
        pipeline()
        print(summary.closing())


if __name__ == "__main__":
    main()
