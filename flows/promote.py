"""Promotion in the MLflow model registry: challenger to champion behind a gate, and back again.

It acts on the registry, not on artifacts, so it is no DVC stage.
"""

from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from flows.registry import Gate, Promotion, promote, rollback
from tasks.core.params import load_section
from tasks.core.stage import one_line_errors
from tasks.lineage import LineageParams

PARAMS = Path("params.yaml")
ARTIFACTS = Path("artifacts")


@flow(name="limo-promote", description="The challenger becomes the champion when it passes the gate.")
def promotion(gate: Gate | None = None) -> Promotion:
    """Promote the challenger behind `gate`; without one, its average must not be below the champion's."""
    done = promote(ARTIFACTS, _registered_model(), gate or Gate())
    get_run_logger().info(done.why)
    if done.checks:
        rows = [check._asdict() for check in done.checks]
        create_table_artifact(rows, key="gate", description=done.why)
    return done


@flow(name="limo-rollback", description="The previous champion is the champion again.")
def taking_back() -> Promotion:
    """Undo the last promotion."""
    done = rollback(ARTIFACTS, _registered_model())
    get_run_logger().info(done.why)
    return done


def _registered_model() -> str:
    return load_section(PARAMS, "lineage", LineageParams).registered_model


if __name__ == "__main__":
    with one_line_errors():
        print(promotion().why)
