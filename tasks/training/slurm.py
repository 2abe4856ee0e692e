"""The ranks of several machines: those of the Slurm allocation this process is in, by way of srun.

Work folder, project and Python are taken to be on a file system that all nodes share.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
from typing import IO

from tasks.errors import LimoError
from tasks.stage import die_with_parent
from tasks.training.job import Job
from tasks.training.node import passing_on


def run_nodes(job: Job, log: IO[bytes]) -> int:
    """Start the ranks of all nodes and wait for them; srun's exit code.

    Raises:
        LimoError: this is no allocation of as many nodes.
    """
    process = subprocess.Popen(
        _command(job, hosts(job.recipe.nodes)),
        stdin=subprocess.DEVNULL,
        stderr=log,
        # Killed ourselves, the ranks save; see below.
        preexec_fn=lambda: die_with_parent(signal.SIGUSR1),  # noqa: PLW1509
    )

    def tell() -> None:
        # srun passes SIGUSR1 on to all nodes; at a SIGTERM it would kill what runs there.
        process.send_signal(signal.SIGUSR1)

    with passing_on(tell):
        try:
            return process.wait()
        finally:
            tell()


def hosts(nodes: int) -> list[str]:
    """The names of the first `nodes` nodes of the allocation.

    Raises:
        LimoError: there is no allocation, it has fewer nodes, or Slurm's commands are missing.
    """
    allocation = os.environ.get("SLURM_JOB_NODELIST")
    missing = [command for command in ("srun", "scontrol") if shutil.which(command) is None]
    if not allocation or missing:
        why = "this is no Slurm allocation (SLURM_JOB_NODELIST is not set)"
        why = f"{' and '.join(missing)} cannot be found" if allocation else why
        raise LimoError(
            f"train.nodes is {nodes}, but {why}; start it by sbatch or salloc (README, Training), or set train.nodes: 1"
        )
    asked = subprocess.run(["scontrol", "show", "hostnames", allocation], capture_output=True, text=True, check=False)
    names = asked.stdout.split()
    if len(names) < nodes:
        have = ", ".join(names) or " ".join(asked.stderr.split()) or "none"
        raise LimoError(f"train.nodes is {nodes}, but the allocation has {len(names)} ({have}); ask Slurm for more")
    return names[:nodes]


def _command(job: Job, names: list[str]) -> list[str]:
    return [
        *("srun", f"--nodes={len(names)}", f"--ntasks={len(names)}", "--ntasks-per-node=1"),
        f"--nodelist={','.join(names)}",
        # A node is given whole to its one task, which starts all ranks there, also where another step holds it.
        *("--overlap", "--cpu-bind=none", "--kill-on-bad-exit=1"),
        *(sys.executable, "-m", "tasks.training.node", str(job.work / "job.json"), names[0], str(_free_port())),
    ]


def _free_port() -> int:
    # Free here, which is on the first node as a rule.
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port
