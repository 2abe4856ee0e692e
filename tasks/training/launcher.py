"""`accelerate launch` of the ranks; on CPUs it loads what a rank needs once, and forks them all.

A rank started by itself loads torch and transformers for five seconds. On GPUs each does: Accelerate's launcher asks
CUDA what GPUs there are, and no process forked from one that has asked may use them.
"""

import importlib
import os
import signal
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from tasks.core.stage import die_with_parent
from tasks.training.recipe import listen
from tasks.training.worker import work

PRELOADED = ("tasks.training.loop", "torch.distributed.checkpoint", "transformers.models.qwen2.modeling_qwen2")
"""What all ranks load; another model's kind they load each for itself."""


def main() -> None:
    """Takes the arguments of `accelerate launch`; the last is the job's file."""
    import tasks.core.lean  # noqa: F401, I001  (goes first)
    import torch
    from accelerate.commands import launch

    if sys.platform.startswith("linux") and not torch.cuda.is_available():
        _fork_ranks()
    launch.main()


def _fork_ranks() -> None:
    from torch.distributed import run

    for module in PRELOADED:
        importlib.import_module(module)
    as_programs = run.config_from_args

    def as_forks(args: Namespace) -> tuple[Any, Any, list[str]]:
        config, _, words = as_programs(args)
        config.start_method = "fork"
        return config, _rank, words[-1:]

    run.config_from_args = as_forks
    # A rank must not end at once by a signal that comes before its first line.
    os.register_at_fork(after_in_child=listen)


def _rank(path: str) -> None:
    # The launcher's own way with Ctrl-C is not for a rank.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    launcher = os.getppid()
    work(Path(path))
    # torch has it wait for the launcher now, and a SIGTERM would only be remembered.
    die_with_parent(signal.SIGKILL)
    if os.getppid() != launcher:
        os._exit(0)


if __name__ == "__main__":
    main()
