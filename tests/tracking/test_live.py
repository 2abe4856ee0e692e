"""Curves in MLflow while rows are being written; what a killed run leaves, and how it is continued."""

import json
import sqlite3
from contextlib import closing

import pytest

from tasks.tracking.live import EXPERIMENT, live_run_id, log_live
from tasks.tracking.store import mlflow_client
from tests.waiting import LIMIT_SECONDS, wait_until

pytestmark = pytest.mark.slow


def row(step):
    return json.dumps({"step": step, "loss": 1 / step, "lr": 1e-3, "mfu": None}) + "\n"


def history(artifacts, metric="loss"):
    """The status of the one live run, and its metric's steps and values: read beside MLflow, not through it."""
    database = artifacts / "mlflow" / "mlflow.db"
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as store:
            runs = store.execute(
                "select r.status from runs r join experiments e using (experiment_id) where e.name = ?", [EXPERIMENT]
            ).fetchall()
            points = store.execute("select step, value from metrics where key = ? order by step", [metric]).fetchall()
    except sqlite3.OperationalError:
        # It is still being created.
        return None, []
    assert len(runs) < 2
    return (runs[0][0] if runs else None), points


def until(artifacts, steps):
    """The status once so many steps are there."""
    return wait_until(lambda: (found := history(artifacts)) and len(found[1]) == steps and found[0])


@pytest.fixture
def lines(tmp_path, monkeypatch):
    monkeypatch.setattr("tasks.tracking.live.LAST_SECONDS", LIMIT_SECONDS)
    return tmp_path / "live.jsonl"


def test_steps_are_there_while_it_runs_and_once_after_it_was_resumed(lines, tmp_path):
    with pytest.raises(KeyboardInterrupt), log_live(lines, tmp_path, "j1"):
        with lines.open("w", buffering=1) as file:
            file.write(row(1) + row(2))
            assert until(tmp_path, 2) == "RUNNING"
            file.write(row(3))
            file.write(row(4)[:10])
            assert until(tmp_path, 3) == "RUNNING"
        raise KeyboardInterrupt
    assert history(tmp_path)[0] == "KILLED"

    with log_live(lines, tmp_path, "j1"):
        # It resumes from a checkpoint of two steps.
        lines.write_text(row(1) + row(2) + row(3) + row(4))
    assert history(tmp_path) == ("FINISHED", [(step, 1 / step) for step in range(1, 5)])
    assert history(tmp_path, "mfu")[1] == []
    with mlflow_client(tmp_path) as client:
        assert live_run_id(client, "j1") is not None
        assert live_run_id(client, "j2") is None


def test_a_job_that_takes_no_step_makes_no_run(lines, tmp_path):
    with log_live(lines, tmp_path, "j1"):
        pass
    assert history(tmp_path) == (None, [])


def test_a_store_that_is_not_there_costs_one_line_and_the_curves(lines, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/no/such/folder.db")
    with log_live(lines, tmp_path, "j1"):
        lines.write_text(row(1))
    reported = [line for line in capfd.readouterr().err.splitlines() if line.startswith("train:")]
    assert len(reported) == 1
    assert reported[0].startswith("train: no live curves: MLflow at sqlite:////proc/no/such/folder.db")
