"""Promotion in the MLflow model registry: a challenger that passes the gate becomes champion; rollback.

Aliases of the registered model: `challenger` (the version trained last), `champion` (the one in use), `previous` (the
champion before it). Scores are the versions' own tags, written by the `lineage` stage. It acts on the registry, not on
artifacts, so it is no DVC stage.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from pydantic import Field

from tasks.core.errors import LimoError
from tasks.core.params import Params, load_section
from tasks.core.stage import one_line_errors
from tasks.lineage import LineageParams
from tasks.provenance.mlflow_run import CHALLENGER, CHAMPION, PREVIOUS
from tasks.tracking.store import mlflow_client

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PARAMS = Path("params.yaml")
ARTIFACTS = Path("artifacts")


class Gate(Params):
    """What a challenger must reach."""

    benchmarks: tuple[str, ...] = ()
    """Benchmarks that are compared; empty: the average over all of them."""
    metric: str = "pass_at_1"
    """Score that is compared, as MLflow names it."""
    rule: Literal["difference", "interval"] = "difference"
    """`difference`: the value must be at least the champion's plus the margin; `interval`: the lower bound must."""
    margin: float = Field(0.0, ge=-1, le=1)
    """Share of [0, 1] that the challenger must be better by; negative: may be worse by."""


class Check(NamedTuple):
    """One benchmark at the gate; values in [0, 1]."""

    benchmark: str
    challenger: float
    needed: float
    passed: bool


class Promotion(NamedTuple):
    """The outcome: the champion's version afterwards, and what the gate compared."""

    promoted: bool
    champion: str
    previous: str | None
    checks: tuple[Check, ...]
    why: str


def promote(artifacts: Path, name: str, gate: Gate) -> Promotion:
    """Make the challenger of the registered model `name` its champion, when every check of the gate passes.

    Where there is no champion yet, the challenger is measured against the base model it was trained from.

    Raises:
        LimoError: there is no challenger, or a score to compare is missing.
    """
    with mlflow_client(artifacts) as client:
        aliases = _aliases(client, name)
        if CHALLENGER not in aliases:
            raise LimoError(
                f"registered model {name}: no challenger; `dvc repro -f -s lineage` registers the trained model"
            )
        challenger, champion = aliases[CHALLENGER], aliases.get(CHAMPION)
        if challenger == champion:
            return Promotion(
                False, challenger, aliases.get(PREVIOUS), (), f"version {champion} is the champion already"
            )
        checks = _checks(client, name, gate, challenger, champion)
        against = f"champion {champion}" if champion else "its base model"
        failed = [check.benchmark for check in checks if not check.passed]
        if failed:
            why = f"version {challenger} is not good enough against {against} on {', '.join(failed)}"
            return Promotion(False, champion or "", aliases.get(PREVIOUS), checks, why)
        if champion:
            client.set_registered_model_alias(name, PREVIOUS, champion)
        client.set_registered_model_alias(name, CHAMPION, challenger)
        client.delete_registered_model_alias(name, CHALLENGER)
        return Promotion(True, challenger, champion, checks, f"version {challenger} passed against {against}")


def rollback(artifacts: Path, name: str) -> Promotion:
    """Make the previous champion the champion again; the one rolled back becomes `previous`, so it can be undone.

    Raises:
        LimoError: there is no previous champion.
    """
    with mlflow_client(artifacts) as client:
        aliases = _aliases(client, name)
        if PREVIOUS not in aliases or CHAMPION not in aliases:
            raise LimoError(f"registered model {name}: no previous champion to go back to")
        back, replaced = aliases[PREVIOUS], aliases[CHAMPION]
        client.set_registered_model_alias(name, CHAMPION, back)
        client.set_registered_model_alias(name, PREVIOUS, replaced)
        return Promotion(True, back, replaced, (), f"rolled back from version {replaced} to {back}")


def _aliases(client: "MlflowClient", name: str) -> dict[str, str]:
    if not client.search_registered_models(f"name='{name}'"):
        raise LimoError(
            f"registered model {name}: not in the registry; `dvc repro -f -s lineage` registers the trained model"
        )
    return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}


def _checks(client: "MlflowClient", name: str, gate: Gate, challenger: str, champion: str | None) -> tuple[Check, ...]:
    trained = client.get_model_version(name, challenger)
    against = client.get_model_version(name, champion) if champion else trained
    graders = [version.tags.get("grader", "") for version in (trained, against)]
    if graders[0] != graders[1]:
        raise LimoError(
            f"registered model {name}: version {challenger} was graded by {graders[0]}, champion {champion} by"
            f" {graders[1]}; scores of two graders do not compare, so grade the champion again"
        )
    checks = []
    for benchmark in gate.benchmarks or ("average",):
        score = _score(trained, f"score/{benchmark}/{gate.metric}")
        needed = _score(against, f"{'score' if champion else 'base'}/{benchmark}/{gate.metric}")["value"] + gate.margin
        reached = score["low" if gate.rule == "interval" else "value"]
        # Scores are ratios of counts: a challenger equal to the champion must not fail by a rounding.
        checks.append(Check(benchmark, reached, needed, reached >= needed - 1e-9))
    return tuple(checks)


def _score(version: "ModelVersion", tag: str) -> dict[str, float]:
    if tag not in version.tags:
        known = ", ".join(sorted(name for name in version.tags if "/" in name))
        raise LimoError(f"version {version.version} of {version.name}: no score {tag}; it has {known or 'none'}")
    score: dict[str, float] = json.loads(version.tags[tag])
    return score


@flow(name="limo-promote", description="The challenger becomes the champion when it passes the gate.")
def promote_flow(gate: Gate | None = None) -> Promotion:
    """Promote the challenger behind `gate`; without one, its average must not be below the champion's."""
    done = promote(ARTIFACTS, _registered_model(), gate or Gate())
    get_run_logger().info(done.why)
    if done.checks:
        rows = [check._asdict() for check in done.checks]
        create_table_artifact(rows, key="gate", description=done.why)
    return done


@flow(name="limo-rollback", description="The previous champion is the champion again.")
def rollback_flow() -> Promotion:
    """Undo the last promotion."""
    done = rollback(ARTIFACTS, _registered_model())
    get_run_logger().info(done.why)
    return done


def _registered_model() -> str:
    return load_section(PARAMS, "lineage", LineageParams).registered_model


if __name__ == "__main__":
    with one_line_errors():
        print(promote_flow().why)
