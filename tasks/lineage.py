"""Derive the lineage of a run from the artifacts of its stages, and log the run to MLflow.

Reads every stage's tables and manifest under `artifacts`, and params.yaml; writes `edges.parquet` (EDGE: each record
with those it was made from, from every score back to the pool's questions) and `mlflow.json` (runs and registered
version). It is a stage of its own because a cached stage does not run, so what it logged itself would be missing.
"""

from pathlib import Path

from pydantic import Field

from tasks.core.files import publish, write_json
from tasks.core.params import Params, read_tree
from tasks.core.stage import stage_main
from tasks.provenance.edges import build_edges, require_connected, require_questions, trained_model
from tasks.provenance.mlflow_run import log_run


class LineageParams(Params):
    """Where a run goes in MLflow."""

    experiment: str = Field("limo", min_length=1)
    """MLflow experiment."""
    registered_model: str = Field("limo", min_length=1, pattern=r"^[^/:]+$")
    """Name in the model registry; each trained model becomes a version of it."""


UNLOGGED = ("lineage", "report")


def run(lineage: LineageParams, *, artifacts: Path, params_file: Path, out: Path) -> None:
    """Write the edges of the run in `artifacts`, check that they connect, and log the run."""
    edges = build_edges(artifacts)
    require_connected(edges, artifacts)
    questions = require_questions(edges, trained_model(artifacts).model_id)
    kinds = edges.unique(["child_id"])["child_kind"].value_counts().sort("child_kind")
    # How the run is logged and drawn is no part of what it was.
    params = {name: section for name, section in read_tree(params_file).items() if name not in UNLOGGED}
    with publish(out) as part:
        edges.write_parquet(part / "edges.parquet")
        logged = log_run(artifacts, params, part / "edges.parquet", lineage.experiment, lineage.registered_model)
        write_json(part / "mlflow.json", logged)
        facts = {"edges": edges.height, "questions_behind_scores": questions, "records": dict(kinds.iter_rows())}
        write_json(part / "facts.json", facts)


if __name__ == "__main__":
    stage_main(run)
