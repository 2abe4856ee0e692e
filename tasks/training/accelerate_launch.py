"""`accelerate launch` of the ranks; on CPUs it imports what ranks need once, and forks them all.

A rank started as a program imports torch and transformers for five seconds. On GPUs each does: Accelerate's launcher
asks CUDA what GPUs there are, and no process forked from one that has asked may use them.
"""

import importlib
import os
import signal
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from tasks.core.stage import die_with_parent
from tasks.training.recipe import catch_sigterm
from tasks.training.worker import run_rank

PRELOADED = ("tasks.training.loop", "torch.distributed.checkpoint", "transformers.models.qwen2.modeling_qwen2")
"""What all ranks import; the code of another kind of model each imports by itself."""


def main() -> None:
    """Takes the arguments of `accelerate launch`; the last is the job's file."""
    import tasks.core.startup  # noqa: F401, I001  (goes first)
    import torch
    from accelerate.commands import launch

    if sys.platform.startswith("linux") and not torch.cuda.is_available():
        _fork_ranks()
    launch.main()


def _fork_ranks() -> None:
    from torch.distributed import run

    for module in PRELOADED:
        importlib.import_module(module)
    original = run.config_from_args

    def as_forks(args: Namespace) -> tuple[Any, Any, list[str]]:
        config, _, words = original(args)
        config.start_method = "fork"
        return config, _rank, words[-1:]

    run.config_from_args = as_forks
    # A rank must not end at once by a signal that comes before its first line.
    os.register_at_fork(after_in_child=catch_sigterm)


def _rank(path: str) -> None:
    # The launcher's own handler of Ctrl-C is not for a rank.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    launcher = os.getppid()
    run_rank(Path(path))
    # torch has it wait for the launcher now, and a SIGTERM would only be noted.
    die_with_parent(signal.SIGKILL)
    if os.getppid() != launcher:
        os._exit(0)


if __name__ == "__main__":
    main()
