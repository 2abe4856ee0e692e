"""Where there are GPUs the ranks are programs of their own; that they are forks elsewhere is seen in test_train.py."""

import subprocess
import sys

import psutil
import pytest
import torch
import yaml
from accelerate.commands import launch
from torch.distributed import run

from tasks.training import accelerate_launch
from tasks.training.fsdp import accelerate_config
from tasks.training.recipe import Recipe
from tests.waiting import LIMIT_SECONDS, wait_until

pytestmark = pytest.mark.slow


def test_no_rank_is_forked_from_a_process_that_asked_cuda_for_its_gpus(monkeypatch):
    # Other tests in this process may need what it blocks.
    monkeypatch.setitem(sys.modules, "tasks.core.startup", sys)
    started = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(launch, "main", lambda: started.append(run.config_from_args))
    before = run.config_from_args
    accelerate_launch.main()
    assert started == [before]


RANKS = """
import os, sys, time
from tasks.training import accelerate_launch
from tasks.core.stage import die_with_parent
from tasks.training.recipe import catch_sigterm, stop_requested

def run_rank(path):
    catch_sigterm()
    die_with_parent()
    (path / os.environ["RANK"]).write_text(str(os.getpid()))
    while os.environ["RANK"] == "0" and not stop_requested():
        time.sleep(0.05)

accelerate_launch.run_rank, accelerate_launch.PRELOADED = run_rank, ()
accelerate_launch.main()
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU the ranks are no forks")
def test_ranks_end_with_their_launcher_also_one_that_has_finished(tmp_path):
    """torch has a rank that is done wait for the launcher."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(accelerate_config(Recipe(processes=2, device="cpu"))))
    options = ["--config_file", str(tmp_path / "config.yaml"), "--module", "tasks.training.worker", str(tmp_path)]
    launch = [sys.executable, "-c", RANKS, *options]
    started = subprocess.Popen(launch, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        pids = [tmp_path / rank for rank in "01"]
        wait_until(lambda: started.poll() is not None or all(pid.exists() and pid.read_text() for pid in pids))
        assert started.poll() is None
        ranks = [psutil.Process(int((tmp_path / rank).read_text())) for rank in "01"]
    finally:
        started.kill()
    assert psutil.wait_procs(ranks, timeout=LIMIT_SECONDS)[1] == []
