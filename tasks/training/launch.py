"""Start the ranks with `accelerate launch`, wait for them, and say in one line why they failed."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import psutil
import yaml

from tasks.core.errors import LimoError
from tasks.core.files import read_json
from tasks.core.stage import die_with_parent, one_line_errors
from tasks.training.fsdp import accelerate_config
from tasks.training.recipe import OUTCOME, Job, hold
from tasks.training.worker import FAILURE

# The ranks of one machine, started by `accelerate launch`, and the wish to end them passed on.
#
# Of several nodes each runs `python -m tasks.training.launch JOB HOST PORT`, started by srun, which says the node's
# place.

ENDING = (signal.SIGTERM, signal.SIGUSR1)
"""Signals that ask a run to save and leave. Slurm follows its SIGTERM with a SIGKILL, hence the second."""


def run_ranks(job: Job, log: IO[bytes] | None = None, machine: tuple[str, ...] = ()) -> int:
    """Start this machine's ranks and wait for them; the launcher's exit code.

    Args:
        log: gets what the ranks write to stderr; None: our own stderr.
        machine: options of the launcher that place this machine among several.
    """
    # The death signal outlives the exec: when this process ends, so does the launcher, and with it the ranks.
    process = subprocess.Popen(
        _accelerate_command(job, machine),
        stderr=log,
        env=_environment(job),
        preexec_fn=_prepare,  # noqa: PLW1509
    )

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


def _accelerate_command(job: Job, machine: tuple[str, ...]) -> list[str]:
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


# The ranks of several machines: those of the Slurm allocation this process is in, by way of srun.
#
# Work folder, project and Python are taken to be on a file system that all nodes share.


def run_nodes(job: Job, log: IO[bytes]) -> int:
    """Start the ranks of all nodes and wait for them; srun's exit code.

    Raises:
        LimoError: this is no allocation of as many nodes.
    """
    process = subprocess.Popen(
        _srun_command(job, hosts(job.recipe.nodes)),
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


def _srun_command(job: Job, names: list[str]) -> list[str]:
    return [
        *("srun", f"--nodes={len(names)}", f"--ntasks={len(names)}", "--ntasks-per-node=1"),
        f"--nodelist={','.join(names)}",
        # A node is given whole to its one task, which starts all ranks there, also where another step holds it.
        *("--overlap", "--cpu-bind=none", "--kill-on-bad-exit=1"),
        *(sys.executable, "-m", "tasks.training.launch", str(job.work / "job.json"), names[0], str(_free_port())),
    ]


def _free_port() -> int:
    # Free here, which is on the first node as a rule.
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


LOG = "worker.log"


def launch(job: Job) -> dict[str, Any]:
    """Run the job to its end; what rank 0 says of it.

    Raises:
        LimoError: a rank failed.
    """
    job.work.mkdir(parents=True, exist_ok=True)
    # The ranks of an earlier run may still be saving, and say there why they end.
    hold(job.work).close()
    for left_over in [*job.work.glob(FAILURE.format(rank="*")), job.work / OUTCOME]:
        left_over.unlink(missing_ok=True)
    (job.work / "job.json").write_text(job.model_dump_json(indent=2), encoding="utf-8")
    (job.work / "accelerate.yaml").write_text(yaml.safe_dump(accelerate_config(job.recipe)), encoding="utf-8")
    with (job.work / LOG).open("wb") as log:
        code = run_ranks(job, log) if job.recipe.nodes == 1 else run_nodes(job, log)
    if code == -signal.SIGTERM:
        raise LimoError("train: told to end before the first step; rerun to go on")
    if code != 0 or not (job.work / OUTCOME).exists():
        raise LimoError(failure(job.work))
    outcome: dict[str, Any] = read_json(job.work / OUTCOME)
    return outcome


def failure(work: Path) -> str:
    """Why the ranks failed: the line of one that knows the cause, else a kill, else the first line there is."""
    told = [read_json(path) for path in sorted(work.glob(FAILURE.format(rank="*")))]
    causes = [entry["line"] for entry in told if entry["cause"]]
    if causes:
        return str(causes[0])
    log = (work / LOG).read_text(encoding="utf-8", errors="replace")
    # A node that does not see the work folder can say so nowhere else.
    if unseen := re.search(r"^limo: (.+)$", log, re.MULTILINE):
        return unseen[1]
    if reason := _killed(log):
        return f"train: {reason}; rerun to go on from the last checkpoint; see {work / LOG}"
    line = told[0]["line"] if told else "train: accelerate launch failed"
    return f"{line}; see {work / LOG}"


def _killed(log: str) -> str | None:
    killed = re.findall(r"Signal \d+ \((\w+)\) received by PID", log)
    # When one is killed, the launcher ends the others with a SIGTERM.
    if others := [name for name in killed if name != "SIGTERM"]:
        return f"a rank was killed ({others[0]}; out of memory?)"
    if killed:
        return "told to end before the first step"
    # Slurm's first line on what went wrong; it is no news that a node exited, for its ranks say why.
    slurm = re.search(r"^(?:srun|slurmstepd)[\w-]*: error: (.+)$", log, re.MULTILINE)
    return None if slurm is None or "Exited with" in slurm[1] else f"Slurm says: {slurm[1]}"


if __name__ == "__main__":
    main()
