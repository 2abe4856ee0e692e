"""Where there are GPUs the ranks are programs of their own; that they are forks elsewhere is seen in test_train.py."""

import sys

import torch
from accelerate.commands import launch
from torch.distributed import run

from tasks.training import launcher


def test_no_rank_is_forked_from_a_process_that_asked_cuda_for_its_gpus(monkeypatch):
    # Other tests in this process may want what it keeps away.
    monkeypatch.setitem(sys.modules, "tasks.lean", sys)
    started = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(launch, "main", lambda: started.append(run.config_from_args))
    before = run.config_from_args
    launcher.main()
    assert started == [before]
