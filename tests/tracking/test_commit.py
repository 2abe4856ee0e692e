import subprocess

import pytest

from tasks.tracking.commit import commit_tags, described_commit


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
    assert described_commit() == tags["mlflow.source.git.commit"]
    (folder / "file").write_text("2")
    assert commit_tags()["limo.dirty"] == "true"
    assert described_commit() == tags["mlflow.source.git.commit"] + "-dirty"


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
    assert described_commit() is None


def test_without_git_there_is_none(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit_tags() == {}
