"""The ranks of one machine, started by `accelerate launch`, and the wish to end them passed on.

Of several nodes each runs `python -m tasks.training.node JOB HOST PORT`, started by srun, which says the node's place.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

import psutil

from tasks.errors import LimoError
from tasks.stage import die_with_parent, one_line_errors
from tasks.training.job import Job

ENDING = (signal.SIGTERM, signal.SIGUSR1)
"""Signals that ask a run to save and leave. Slurm follows its SIGTERM with a SIGKILL, hence the second."""


def run_ranks(job: Job, log: IO[bytes] | None = None, machine: tuple[str, ...] = ()) -> int:
    """Start this machine's ranks and wait for them; the launcher's exit code.

    Args:
        log: gets what the ranks write to stderr; None: our own stderr.
        machine: options of the launcher that place this machine among several.
    """
    # The death signal outlives the exec: when this process ends, so does the launcher, and with it the ranks.
    process = subprocess.Popen(_command(job, machine), stderr=log, env=_environment(job), preexec_fn=_prepare)  # noqa: PLW1509

    def tell() -> None:
        with suppress(psutil.NoSuchProcess):
            launcher = psutil.Process(process.pid)
            # The launcher only before there are ranks: it would kill them after 30 seconds.
            for each in launcher.children() or [launcher]:
                each.terminate()

    with passing_on(tell):
        try:
            return process.wait()
        finally:
            process.terminate()


@contextmanager
def passing_on(tell: Callable[[], None]) -> Iterator[None]:
    """Meanwhile call `tell` where this process is asked to end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, lambda *_: tell()) for number in ENDING]
    try:
        yield
    finally:
        for number, handler in zip(ENDING, before, strict=True):
            signal.signal(number, handler)


def _prepare() -> None:
    die_with_parent()
    # Slurm sends it to every process of a node: to us, who know what to do, and to the launcher and the ranks.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _command(job: Job, machine: tuple[str, ...]) -> list[str]:
    launcher = [sys.executable, "-m", "tasks.training.launcher", "--config_file", str(job.work / "accelerate.yaml")]
    return [
        *launcher,
        *machine,
        "--module",
        "tasks.training.worker",
        str(job.work / "job.json"),
    ]


def _environment(job: Job) -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # All files are local by now; and nothing is reported to anyone.
    added = {
        # Also the launcher's own: what it has loaded stays as it is in the ranks that it forks.
        "OMP_NUM_THREADS": str(max(1, cores * job.recipe.nodes // job.recipe.processes)),
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    if sys.platform.startswith("linux") and job.recipe.nodes == 1:
        # Gloo asks for the host's own name, which a machine without a network may not resolve.
        added["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", "lo")
    return os.environ | added


def main() -> None:
    """Run the ranks of this node; exits with the launcher's exit code, or with 2 after one line."""
    path, host, port = Path(sys.argv[1]), *sys.argv[2:]
    with one_line_errors():
        if not path.exists():
            name = os.environ.get("SLURMD_NODENAME", os.uname().nodename)
            raise LimoError(
                f"train: node {name} does not see {path}; put the project on a file system that all nodes share"
            )
    job = Job.model_validate_json(path.read_bytes())
    place = ("--machine_rank", os.environ["SLURM_PROCID"], "--main_process_ip", host, "--main_process_port", port)
    sys.exit(run_ranks(job, machine=place))


if __name__ == "__main__":
    main()
