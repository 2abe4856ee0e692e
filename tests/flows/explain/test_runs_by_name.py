import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows.explain.runs import find_flips, find_run, parse_side
from tasks.core.errors import LimoError
from tasks.provenance.mlflow_run import COMPARED, PARENT, STAGE, STATE, TABLES, md5
from tasks.tracking.store import mlflow_client
from tests.artifacts import write_run, write_store

pytestmark = pytest.mark.slow


def run(*words):
    subprocess.run(words, check=True, capture_output=True)


def cache(digest):
    return Path(".dvc/cache/files/md5") / digest[:2] / digest[2:]


def commit(words):
    run("git", "add", "-A")
    run("git", "-c", "user.name=me", "-c", "user.email=me@example.org", "commit", "-q", "--allow-empty", "-m", words)


def write_lock(digests):
    outs = [{"path": f"artifacts/{COMPARED[table]}", "hash": "md5", "md5": digests[table]} for table in digests]
    Path("dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"all": {"cmd": "true", "outs": outs}}}))


@pytest.fixture(scope="module")
def digests(tmp_path_factory):
    """A project whose run is in DVC's cache, at the revision `done` and in MLflow, and no longer in its folder."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        run("git", "init", "-q")
        run(sys.executable, "-m", "dvc", "init", "-q")
        Path(".gitignore").write_text("/artifacts\n/remote\n/moved\n")
        commit("before any run")
        run("git", "tag", "before")
        made = write_run(root / "moved", items=6, samples=3)
        found = {table: md5(made / path) for table, path in COMPARED.items()}
        for table, digest in found.items():
            cache(digest).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(made / COMPARED[table], cache(digest))
        write_lock(found)
        commit("a run")
        run("git", "tag", "done")
        write_store(root / "artifacts", tmp_path_factory)
        log_runs(found)
        yield found


def log_runs(digests):
    with mlflow_client(Path("artifacts")) as client:
        experiment = client.create_experiment("limo", artifact_location=Path("artifacts").absolute().as_uri())

        def log(name, stage=PARENT, **tags):
            tags |= {STAGE: stage}
            return client.create_run(experiment, tags=tags, run_name=name).info.run_id

        parent = log("m_one", **{STATE: "run_1", TABLES: json.dumps(digests)})
        log("grade", "grade", **{"mlflow.parentRunId": parent})
        log("twice", **{TABLES: json.dumps(digests)})
        log("twice", **{TABLES: json.dumps(digests)})
        log("old")
        log("elsewhere", **{TABLES: json.dumps(dict.fromkeys(digests, "0" * 32))})
        client.create_registered_model("limo")
        for state in ("run_1", "run_gone"):
            client.create_model_version("limo", Path("moved").absolute().as_uri(), tags={"state": state})
        client.set_registered_model_alias("limo", "champion", "1")


def id_of(name):
    with mlflow_client(Path("artifacts")) as client:
        (found,) = client.search_runs(["1"], f"attributes.run_name = '{name}'")
        return found.info.run_id


def contents(tables):
    return {table: md5(path) for table, path in tables._asdict().items()}


@pytest.mark.parametrize("name", ["done", "HEAD", "moved", "m_one", "models:/limo@champion", "models:/limo/1"])
def test_what_a_run_may_be_called(digests, name):
    assert contents(find_run(name)) == digests


def test_the_id_of_a_run_and_of_one_of_its_stages(digests):
    assert contents(find_run(id_of("m_one"))) == contents(find_run(id_of("grade"))) == digests


def test_the_arm_comes_after_any_name(digests):
    found = find_flips(parse_side("done:base"), parse_side("models:/limo@champion"), resamples=200)
    assert found.table.height
    assert (str(parse_side("done:base")), parse_side("models:/limo@champion").arm) == ("done:base", "trained")
    assert parse_side("models:/limo@champion:base").arm == "base"


def test_a_folder_comes_before_a_revision_of_the_same_name(digests):
    run("git", "branch", "moved", "before")
    assert contents(find_run("moved")) == digests


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "nowhere: no artifacts folder, git revision, or MLflow run"),
        ("it's", "it's: no artifacts folder"),
        ("0" * 32, "no artifacts folder"),
        ("artifacts", "no artifacts/grade/verdicts.parquet; give the artifacts folder of a run"),
        ("before", "before: git commit [0-9a-f]{10} has no dvc.lock; commit dvc.lock after a run"),
        ("twice", r"2 MLflow runs have this name; give the id of one: [0-9a-f]{32}, [0-9a-f]{32}$"),
        ("old", "has no tag limo.tables; `dvc repro -f -s lineage`"),
        ("elsewhere", "elsewhere: DVC's cache does not have its grade/verdicts.parquet"),
        ("models:/limo@none", "MLflow at .*none"),
        ("models:/limo/2", "version 2 is there, the MLflow run that it came from is not"),
        ("models:/none@champion", "MLflow at .*none"),
        ("models:/limo", "MLflow at "),
    ],
)
def test_a_name_that_leads_nowhere_is_one_line(digests, name, message):
    with pytest.raises(LimoError, match=message) as caught:
        find_run(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["<<<<<<< ours: {", "stages", "stages: [1]", "stages: {grade: {outs: [{md5: 0}]}}"])
def test_a_torn_lock_is_one_line(digests, text):
    Path("dvc.lock").write_text(text)
    commit("a conflict")
    with pytest.raises(LimoError, match="HEAD: the dvc.lock of git commit [0-9a-f]{10} is not one that DVC wrote"):
        find_run("HEAD")
    run("git", "reset", "-q", "--hard", "done")


def test_a_revision_whose_run_was_not_finished_is_one_line(digests):
    write_lock({"items": digests["items"]})
    commit("half a run")
    with pytest.raises(LimoError, match=r"has no artifacts/grade/verdicts.parquet; its run was not finished"):
        find_run("HEAD")
    run("git", "reset", "-q", "--hard", "done")


def test_what_the_cache_lacks_comes_from_the_remote(digests):
    gone = cache(digests["answers"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_NO_ANALYTICS", "1")
        kept = Path("remote/files/md5") / gone.parent.name / gone.name
        kept.parent.mkdir(parents=True)
        shutil.move(gone, kept)
        with pytest.raises(LimoError, match=r"DVC's cache does not have its .*no remote"):
            find_run("done")
        run(sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "store", "remote")
        assert contents(find_run("done")) == digests


def test_outside_a_git_and_dvc_project_folders_still_have_their_names(digests, tmp_path, monkeypatch):
    made = Path("moved").absolute()
    monkeypatch.chdir(tmp_path)
    assert contents(find_run(str(made))) == digests
    with pytest.raises(LimoError, match="HEAD: no artifacts folder"):
        find_run("HEAD")
