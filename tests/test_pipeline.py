"""The real thing, small: `dvc repro` in a copy of the project, then `limo` and the Prefect flow, on its artifacts.

Everything runs for real (vLLM, two FSDP2 ranks, DVC, MLflow, Prefect); only the counts are small.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
import yaml

from flows.dag import environment, upstream
from tests.builders import manifest_of

pytestmark = pytest.mark.slow(minutes=9)

SMALL = yaml.safe_load(Path("tests/small.yaml").read_text(encoding="utf-8"))


def run(project, *command, **extra):
    return subprocess.run(command, cwd=project, env=environment() | extra, capture_output=True, text=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project's own files, as a git repository, with small counts in params.yaml, run to the end."""
    folder = tmp_path_factory.mktemp("project")
    listing = ["git", "ls-files", "-coz", "--exclude-standard"]
    listed = subprocess.run(listing, capture_output=True, check=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if Path(name).is_file() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, folder / name)
    # What numba compiled belongs to its source's path and time: without it the copy compiles for half a minute.
    for compiled in Path("tasks").rglob("*.nb[ci]"):
        (folder / compiled).parent.mkdir(exist_ok=True)
        shutil.copy2(compiled, folder / compiled)
    subprocess.run(["git", "init", "-q", folder], check=True)
    params = folder / "params.yaml"
    params.write_text(yaml.safe_dump(merge(yaml.safe_load(params.read_text()), SMALL)))
    done = run(folder, "dvc", "repro")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return folder


def merge(tree, changes):
    """`tree` with the leaves of `changes` in place of its own."""
    if not isinstance(changes, dict):
        return changes
    return tree | {key: merge(tree.get(key, {}), value) for key, value in changes.items()}


def manifest(project, stage):
    return manifest_of(project / "artifacts" / stage)


def test_every_stage_ran_and_nothing_is_lost(project):
    for stage in set(upstream()) - {"check", "lineage", "report"}:
        counts = manifest(project, stage)
        assert counts["taken"] == counts["kept"] + sum(counts["rejected"].values()), stage


def test_each_filter_takes_in_what_the_one_before_it_kept(project):
    order = ["pull", "clean", "decontaminate", "screen", "band"]
    for before, after in pairwise(order):
        assert manifest(project, after)["taken"] == manifest(project, before)["kept"]


def test_the_filters_by_difficulty_both_drop_something(project):
    assert manifest(project, "screen")["rejected"]["solved_by_weak_model"] > 0
    assert sum(manifest(project, "band")["rejected"].values()) > 0


def test_training_was_fsdp2_on_two_ranks_and_changed_the_weights(project):
    facts = manifest(project, "train")["facts"]
    assert (facts["fsdp"], facts["world_size"]) == (2, 2)
    assert facts["last_loss"] < facts["first_loss"]


def test_the_model_card_names_the_samples_as_dvc_does(project):
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]["train"]["deps"]
    (samples,) = [entry["md5"] for entry in lock if entry["path"] == "artifacts/select/kept.parquet"]
    card = (project / "artifacts/train/model/README.md").read_text()
    assert f"`md5:{samples}`" in card
    assert manifest(project, "train")["facts"]["run"] in card
    assert "epoch 3 of 3, step 6 of 6: the last" in card


def test_both_arms_answered_every_item(project):
    items = pl.read_parquet(project / "artifacts/benchmarks/items.parquet")
    scores = pl.read_parquet(project / "artifacts/grade/scores.parquet").filter(pl.col("metric") == "pass@1")
    for arm in ("base", "trained"):
        rows = scores.filter((pl.col("arm") == arm) & (pl.col("benchmark") != "average"))
        assert rows["items"].sum() == items.height


def test_a_score_is_traced_to_its_samples_and_their_pool_questions(project):
    scores = pl.read_parquet(project / "artifacts/grade/scores.parquet")
    score = scores.filter((pl.col("arm") == "trained") & (pl.col("metric") == "pass@1"))["score_id"][0]
    samples = pl.read_parquet(project / "artifacts/select/kept.parquet")
    shown = run(project, "limo", "trace", score)
    assert shown.returncode == 0, shown.stderr
    pool = set(pl.read_parquet(project / "artifacts/pull/kept.parquet")["question_id"])
    for chain, question in samples.select("chain_id", "question_id").iter_rows():
        assert chain in shown.stdout
        assert question in shown.stdout
        assert question in pool


def test_mlflow_has_the_runs_and_the_model_version(project):
    with sqlite3.connect(project / "artifacts/mlflow/mlflow.db") as store:
        versions = store.execute("select name, version from model_versions").fetchall()
        runs = store.execute("select count(*) from runs where status = 'FINISHED'").fetchone()[0]
    assert versions == [("limo", 1)]
    assert runs > 1


def test_the_report_stands_alone(project):
    page = (project / "artifacts/report/report.html").read_text()
    assert 'src="http' not in page
    assert 'href="http' not in page
    assert manifest(project, "select")["kept"] > 0


def test_a_second_repro_has_nothing_to_do(project):
    done = run(project, "dvc", "repro")
    assert done.returncode == 0
    assert "up to date" in done.stdout
    assert "Running stage" not in done.stdout


def test_status_and_results_read_the_run(project):
    status = run(project, "limo", "status")
    assert status.returncode == 0, status.stderr
    assert "out of date" not in status.stdout
    results = run(project, "limo", "results")
    assert "report.html" in results.stdout
    assert "limo trace s_" in results.stdout


def test_the_flow_runs_the_same_stages_from_the_same_cache(project):
    home = project / "artifacts/prefect"
    settings = {
        "PREFECT_HOME": str(home),
        "PREFECT_LOCAL_STORAGE_PATH": str(home / "storage"),
        "PREFECT_MEMO_STORE_PATH": str(home / "memo.toml"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "600",
    }
    before = {path: path.stat().st_mtime_ns for path in (project / "artifacts").glob("manifests/*.json")}
    done = run(project, sys.executable, "-m", "flows.pipeline", **settings)
    assert done.returncode == 0, done.stderr[-4000:]
    with sqlite3.connect(home / "prefect.db") as store:
        states = dict(store.execute("select name, state_type from task_run").fetchall())
    assert states == dict.fromkeys(upstream(), "COMPLETED")
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_three_mistakes_stop_repro_before_anything_starts(project):
    params = project / "params.yaml"
    text = params.read_text()
    tree = yaml.safe_load(text)
    tree["band"]["samples"], tree["select"]["count"], tree["train"]["lrate"] = "many", 0, 1
    params.write_text(yaml.safe_dump(tree))
    try:
        done = run(project, "dvc", "repro")
    finally:
        params.write_text(text)
    assert done.returncode != 0
    for key in ("band.samples", "select.count", "train.lrate"):
        assert key in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    assert os.listdir(project / "artifacts/band")
