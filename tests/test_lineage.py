import json
import shutil
import sqlite3

import polars as pl
import pytest

from tasks.core.errors import LimoError
from tasks.core.files import read_json, read_table
from tasks.lineage import LineageParams, run
from tasks.provenance.edges import EDGE
from tasks.provenance.mlflow_run import md5
from tasks.tracking.store import mlflow_client
from tests.artifacts import write_run, write_store

pytestmark = pytest.mark.slow

PARAMS = "profile: default\nselect:\n  count: 4\nengine:\n  kind: vllm\nlineage:\n  experiment: limo\n"


@pytest.fixture(scope="module")
def logged(tmp_path_factory):
    """A run logged to a store of its own, once for this file: a new store takes seconds."""
    root = tmp_path_factory.mktemp("run")
    (root / "params.yaml").write_text(PARAMS)
    shutil.copy("dvc.yaml", root)
    artifacts = write_run(root / "artifacts")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        write_store(artifacts, tmp_path_factory)
        log(artifacts)
        yield artifacts


def log(artifacts):
    run(
        LineageParams(),
        artifacts=artifacts,
        params_file=artifacts.parent / "params.yaml",
        out=artifacts / "lineage",
    )
    return read_json(artifacts / "lineage" / "mlflow.json")


def counted(artifacts, table):
    with sqlite3.connect(artifacts / "mlflow" / "mlflow.db") as database:
        return database.execute(f"select count(*) from {table}").fetchone()[0]


def test_edges_and_manifest_are_written(logged):
    edges = read_table(logged / "lineage" / "edges.parquet", EDGE)
    facts = read_json(logged / "lineage" / "facts.json")
    assert facts["edges"] == edges.height
    assert facts["questions_behind_scores"] == 4
    assert facts["records"]["score"] == 6


def test_one_parent_run_with_a_child_a_stage(logged):
    found = read_json(logged / "lineage" / "mlflow.json")
    with mlflow_client(logged) as client:
        parent = client.get_run(found["run_id"])
        train = client.get_run(found["stage_runs"]["train"])
        select = client.get_run(found["stage_runs"]["select"])
        screen = client.get_run(found["stage_runs"]["screen"])
        losses = client.get_metric_history(train.info.run_id, "loss")
    assert train.data.params["checkpoint"] == "step 3 of 3: the last"
    assert parent.info.run_name == "m_trained"
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["trained/aime24/pass_at_1"] == pytest.approx(0.85)
    assert parent.data.params == {"select.count": "4", "engine.kind": "vllm"}
    assert len(found["stage_runs"]) == 13
    assert train.data.tags["mlflow.parentRunId"] == found["run_id"]
    assert json.loads(parent.data.tags["limo.tables"])["answers"] == md5(logged / "answer" / "answers.parquet")
    assert [(point.step, point.value) for point in losses] == [(1, 2.0), (2, 1.0), (3, 0.5)]
    assert [given.dataset.name for given in train.inputs.dataset_inputs] == ["samples"]
    assert [given.model_id for given in train.inputs.model_inputs] == [found["logged_models"]["m_base"]]
    assert [made.model_id for made in train.outputs.model_outputs] == [found["logged_models"]["m_trained"]]
    assert select.data.metrics["rejected.below_cut"] == 10
    assert screen.data.params == {"engine.kind": "vllm"}


def test_scores_are_tied_to_model_and_benchmark(logged):
    found = read_json(logged / "lineage" / "mlflow.json")
    with mlflow_client(logged) as client:
        model = client.get_logged_model(found["logged_models"]["m_trained"])
    tied = {(metric.key, metric.dataset_name) for metric in model.metrics}
    assert ("trained/aime24/pass_at_1", "aime24") in tied
    assert ("trained/average/pass_at_1", None) in tied


def test_the_trained_model_is_the_challenger(logged):
    found = read_json(logged / "lineage" / "mlflow.json")
    with mlflow_client(logged) as client:
        version = client.get_model_version_by_alias("limo", "challenger")
    assert str(version.version) == found["version"] == "1"
    assert version.tags["model_id"] == "m_trained"
    assert '"value": 0.8' in version.tags["score/aime24/pass_at_1"]
    assert version.source == f"models:/{found['logged_models']['m_trained']}"


def test_artifacts_lie_next_to_the_store_and_not_in_the_working_folder(logged):
    names = {path.name for path in (logged / "mlflow" / "artifacts").rglob("*") if path.is_file()}
    assert {"edges.parquet", "verdicts.parquet", "README.md"} <= names
    assert not (logged.parent / "mlruns").exists()


def test_the_same_state_again_adds_nothing(logged):
    before = read_json(logged / "lineage" / "mlflow.json")
    counts = [counted(logged, table) for table in ("runs", "model_versions", "logged_models", "metrics")]
    assert log(logged) == before
    assert [counted(logged, table) for table in ("runs", "model_versions", "logged_models", "metrics")] == counts


def test_a_run_cut_short_is_logged_afresh(logged):
    before = read_json(logged / "lineage" / "mlflow.json")
    with mlflow_client(logged) as client:
        client.update_run(before["run_id"], status="RUNNING")
    after = log(logged)
    assert after["run_id"] != before["run_id"]
    assert after["version"] == before["version"]
    assert after["logged_models"] == before["logged_models"]
    with mlflow_client(logged) as client:
        assert client.get_run(before["run_id"]).info.lifecycle_stage == "deleted"


def test_a_broken_lineage_is_refused_before_anything_is_written(tmp_path):
    artifacts = write_run(tmp_path)
    answers = pl.read_parquet(artifacts / "answer" / "answers.parquet")
    answers.tail(-1).write_parquet(artifacts / "answer" / "answers.parquet")
    (tmp_path.parent / "params.yaml").write_text(PARAMS)
    with pytest.raises(LimoError, match=r"response r_\w+ was made from no model"):
        log(artifacts)
    assert not (artifacts / "lineage").exists()
    assert not (artifacts / "mlflow").exists()


def test_a_server_that_does_not_answer_is_one_clear_line(tmp_path, monkeypatch):
    artifacts = write_run(tmp_path)
    (tmp_path.parent / "params.yaml").write_text(PARAMS)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    with pytest.raises(LimoError, match=r"MLflow at http://127.0.0.1:9: .*"):
        log(artifacts)
    assert not (artifacts / "lineage" / "mlflow.json").exists()
