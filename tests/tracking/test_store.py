"""Params, facts and code version as MLflow takes them."""

import subprocess

import pytest

from tasks.tracking.store import commit_tags, commit_text, flatten_metrics, flatten_params, mlflow_key


def test_params_are_flat_with_lists_as_json():
    params = {
        "score": {"weights": {"a": 0.5}, "words": ("check", "检"), "none": None},
        "profile": "default",
        "empty": {},
    }
    assert flatten_params(params) == {
        "score.weights.a": "0.5",
        "score.words": '["check", "检"]',
        "score.none": "null",
        "profile": "default",
        "empty": "{}",
    }


def test_a_long_value_is_cut_to_what_mlflow_takes():
    assert len(flatten_params({"text": "x" * 9000})["text"]) == 6000


def test_only_numbers_become_metrics():
    facts = {"taken": 3, "rejected": {"too long": 1}, "engine": "vllm", "resumed": True, "teachers": [{"tokens": 7}]}
    assert flatten_metrics(facts) == {"taken": 3.0, "rejected.too long": 1.0, "resumed": 1.0, "teachers.0.tokens": 7.0}


def test_names_are_written_in_mlflows_characters():
    assert mlflow_key("base/aime24/pass@1") == "base/aime24/pass_at_1"
    assert mlflow_key("数学(a)") == "___a_"


def git(*words):
    subprocess.run(["git", "-c", "user.name=x", "-c", "user.email=x@y", *words], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    return tmp_path


def test_commit_and_changes_since(folder):
    git("init")
    (folder / "file").write_text("1")
    git("add", "file")
    git("commit", "-m", "first")
    tags = commit_tags()
    assert len(tags["mlflow.source.git.commit"]) == 40
    assert tags["limo.dirty"] == "false"
    assert commit_text() == tags["mlflow.source.git.commit"]
    (folder / "file").write_text("2")
    assert commit_tags()["limo.dirty"] == "true"
    assert commit_text() == tags["mlflow.source.git.commit"] + "-dirty"


def test_dvc_lock_is_no_change(folder, monkeypatch):
    git("init")
    (folder / "below").mkdir()
    for name in ("dvc.lock", "below/code.py"):
        (folder / name).write_text("1")
        git("add", name)
    git("commit", "-m", "first")
    (folder / "dvc.lock").write_text("2")
    assert commit_tags()["limo.dirty"] == "false"
    monkeypatch.chdir(folder / "below")
    assert commit_tags()["limo.dirty"] == "false"
    (folder / "below/code.py").write_text("2")
    monkeypatch.chdir(folder)
    assert commit_tags()["limo.dirty"] == "true"


def test_outside_a_repository_there_is_none():
    assert commit_tags() == {}
    assert commit_text() is None


def test_without_git_there_is_none(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit_tags() == {}
