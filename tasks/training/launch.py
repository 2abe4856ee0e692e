"""Start the ranks with `accelerate launch`, on one machine or by Slurm on several; report why they failed in one line.

Each of several nodes runs `python -m tasks.training.launch JOB HOST PORT`, started by srun, which gives its rank.
Work folder, project and Python are assumed to be on a file system that all nodes share.
"""

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
from tasks.training.recipe import OUTCOME, Job, lock_work
from tasks.training.worker import FAILURE

LOG = "worker.log"
STOPPED_EARLY = "stopped by a signal before the first step"
STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""Signals at which a run saves and exits. Slurm follows its SIGTERM with a SIGKILL, hence the second."""


def run_ranks(job: Job, log: IO[bytes] | None = None, machine: tuple[str, ...] = ()) -> int:
    """Start this machine's ranks and wait for them; the launcher's exit code.

    Args:
        log: gets what the ranks write to stderr; None: our own stderr.
        machine: options of the launcher that give this machine its rank among several.
    """
    # The death signal outlives the exec: when this process ends, so does the launcher, and with it the ranks.
    process = subprocess.Popen(
        _accelerate_command(job, machine),
        stderr=log,
        env=_environment(job),
        preexec_fn=_prepare,  # noqa: PLW1509
    )

    def stop() -> None:
        with suppress(psutil.NoSuchProcess):
            launcher = psutil.Process(process.pid)
            # The launcher only before there are ranks: it would kill them after 30 seconds.
            for each in launcher.children() or [launcher]:
                each.terminate()

    with forward_signals(stop):
        try:
            return process.wait()
        finally:
            process.terminate()


@contextmanager
def forward_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Meanwhile call `stop` at each signal that would end this process."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = [signal.signal(number, lambda *_: stop()) for number in STOP_SIGNALS]
    try:
        yield
    finally:
        for number, handler in zip(STOP_SIGNALS, before, strict=True):
            signal.signal(number, handler)


def _prepare() -> None:
    die_with_parent()
    # Slurm sends it to every process of a node: to us, who handle it, and to the launcher and the ranks.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


def _accelerate_command(job: Job, machine: tuple[str, ...]) -> list[str]:
    return [
        *(sys.executable, "-m", "tasks.training.accelerate_launch"),
        *("--config_file", str(job.work / "accelerate.yaml"), *machine),
        *("--module", "tasks.training.worker", str(job.work / "job.json")),
    ]


def _environment(job: Job) -> dict[str, str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    # All files are local by now; and no library sends telemetry.
    added = {
        # Also the launcher's own: what it has imported stays as it is in the ranks that it forks.
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
    machine = ("--machine_rank", os.environ["SLURM_PROCID"], "--main_process_ip", host, "--main_process_port", port)
    sys.exit(run_ranks(job, machine=machine))


def run_nodes(job: Job, log: IO[bytes]) -> int:
    """Start the ranks of all nodes of this Slurm allocation by srun, and wait for them; srun's exit code.

    Raises:
        LimoError: this is no allocation of as many nodes.
    """
    process = subprocess.Popen(
        _srun_command(job, node_names(job.recipe.nodes)),
        stdin=subprocess.DEVNULL,
        stderr=log,
        # When we are killed, the ranks save; see below.
        preexec_fn=lambda: die_with_parent(signal.SIGUSR1),  # noqa: PLW1509
    )

    def stop() -> None:
        # srun forwards SIGUSR1 to all nodes; at a SIGTERM it would kill what runs there.
        process.send_signal(signal.SIGUSR1)

    with forward_signals(stop):
        try:
            return process.wait()
        finally:
            stop()


def node_names(nodes: int) -> list[str]:
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
    found = subprocess.run(["scontrol", "show", "hostnames", allocation], capture_output=True, text=True, check=False)
    names = found.stdout.split()
    if len(names) < nodes:
        have = ", ".join(names) or " ".join(found.stderr.split()) or "none"
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


def launch(job: Job) -> dict[str, Any]:
    """Run the job to its end; the content of its `outcome.json`.

    Raises:
        LimoError: a rank failed.
    """
    job.work.mkdir(parents=True, exist_ok=True)
    # The ranks of an earlier run may still be saving, and write there why they end.
    lock_work(job.work).close()
    for left_over in [*job.work.glob(FAILURE.format(rank="*")), job.work / OUTCOME]:
        left_over.unlink(missing_ok=True)
    (job.work / "job.json").write_text(job.model_dump_json(indent=2), encoding="utf-8")
    (job.work / "accelerate.yaml").write_text(yaml.safe_dump(accelerate_config(job.recipe)), encoding="utf-8")
    with (job.work / LOG).open("wb") as log:
        code = run_ranks(job, log) if job.recipe.nodes == 1 else run_nodes(job, log)
    if code == -signal.SIGTERM:
        raise LimoError(f"train: {STOPPED_EARLY}; rerun to resume")
    if code != 0 or not (job.work / OUTCOME).exists():
        raise LimoError(failure_line(job.work))
    outcome: dict[str, Any] = read_json(job.work / OUTCOME)
    return outcome


def failure_line(work: Path) -> str:
    """Why the ranks failed: the line of one that knows the cause, else a kill, else the first line there is."""
    failures = [read_json(path) for path in sorted(work.glob(FAILURE.format(rank="*")))]
    causes = [entry["line"] for entry in failures if entry["cause"]]
    if causes:
        return str(causes[0])
    log = (work / LOG).read_text(encoding="utf-8", errors="replace")
    # A node that does not see the work folder can report it nowhere else.
    if unseen := re.search(r"^limo: (.+)$", log, re.MULTILINE):
        return unseen[1]
    if reason := _kill_reason(log):
        return f"train: {reason}; rerun to resume from the last checkpoint; see {work / LOG}"
    line = failures[0]["line"] if failures else "train: accelerate launch failed"
    return f"{line}; see {work / LOG}"


def _kill_reason(log: str) -> str | None:
    killed = re.findall(r"Signal \d+ \((\w+)\) received by PID", log)
    # When one is killed, the launcher ends the others with a SIGTERM.
    if others := [name for name in killed if name != "SIGTERM"]:
        return f"a rank was killed ({others[0]}; out of memory?)"
    if killed:
        return STOPPED_EARLY
    # Slurm's first line on what went wrong; that a node exited is no cause, as its ranks report one.
    slurm = re.search(r"^(?:srun|slurmstepd)[\w-]*: error: (.+)$", log, re.MULTILINE)
    return None if slurm is None or "Exited with" in slurm[1] else f"Slurm says: {slurm[1]}"


if __name__ == "__main__":
    main()
