"""Tests in parallel: the files that take longest start first, so that no process is left alone with one at the end."""

import os
from pathlib import Path

# Ray gives its workers the last turn at the cores, so that beside other tests its own would wait for minutes.
os.environ.setdefault("RAY_worker_niceness", "0")

LONGEST = (
    "test_pipeline.py",
    "test_drills.py",
    "test_train.py",
    "test_ray_engine.py",
    "test_real_servers.py",
    "test_on_ray.py",
    "test_ledger_cli.py",
    "test_cli.py",
    "test_models.py",
    "test_slurm.py",
    "test_arm.py",
    "test_make.py",
    "test_grader.py",
    "test_symbolic.py",
    "test_replicas.py",
)
"""By name, the longest first."""


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONGEST.index(name) if (name := Path(item.path).name) in LONGEST else len(LONGEST))
