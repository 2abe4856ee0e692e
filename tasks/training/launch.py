"""Start the ranks with `accelerate launch`, wait for them, and say in one line why they failed."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import yaml

from tasks.errors import LimoError
from tasks.files import read_json
from tasks.stage import die_with_parent
from tasks.training.fsdp import accelerate_config
from tasks.training.job import OUTCOME, Job
from tasks.training.worker import FAILURE

LOG = "worker.log"


def launch(job: Job) -> dict[str, Any]:
    """Run the job to its end; what rank 0 says of it.

    Raises:
        LimoError: a rank failed.
    """
    job.work.mkdir(parents=True, exist_ok=True)
    for left_over in [*job.work.glob(FAILURE.format(rank="*")), job.work / OUTCOME]:
        left_over.unlink(missing_ok=True)
    (job.work / "job.json").write_text(job.model_dump_json(indent=2), encoding="utf-8")
    (job.work / "accelerate.yaml").write_text(yaml.safe_dump(accelerate_config(job.recipe)), encoding="utf-8")
    with (job.work / LOG).open("wb") as log:
        # The death signal outlives the exec: when this process ends, so does the launcher, and with it the ranks.
        process = subprocess.Popen(_command(job), stderr=log, env=_environment(job), preexec_fn=die_with_parent)  # noqa: PLW1509
        with _told_to_ranks(process):
            code = process.wait()
    if code != 0 or not (job.work / OUTCOME).exists():
        raise LimoError(failure(job.work))
    outcome: dict[str, Any] = read_json(job.work / OUTCOME)
    return outcome


@contextmanager
def _told_to_ranks(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Pass a SIGTERM on to the ranks alone, which save and leave: the launcher would kill them after 30 seconds."""

    def tell(*_: Any) -> None:
        for rank in psutil.Process(process.pid).children():
            rank.terminate()

    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, tell) if in_main else None
    try:
        yield
    finally:
        process.terminate()
        if in_main:
            signal.signal(signal.SIGTERM, before)


def failure(work: Path) -> str:
    """Why the ranks failed: the line of one that knows the cause, else a kill, else the first line there is."""
    told = [read_json(path) for path in sorted(work.glob(FAILURE.format(rank="*")))]
    causes = [entry["line"] for entry in told if entry["cause"]]
    if causes:
        return str(causes[0])
    killed = re.search(
        r"Signal (\d+) \((\w+)\) received by PID", (work / LOG).read_text(encoding="utf-8", errors="replace")
    )
    if killed:
        reason = f"train: a rank was killed ({killed[2]}; out of memory?)"
        return f"{reason}; rerun to go on from the last checkpoint; see {work / LOG}"
    line = told[0]["line"] if told else "train: accelerate launch failed"
    return f"{line}; see {work / LOG}"


def _command(job: Job) -> list[str]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(job.work / "accelerate.yaml")]
    return [
        *launcher,
        f"--num_cpu_threads_per_process={max(1, cores // job.recipe.processes)}",
        "--module",
        "tasks.training.worker",
        str(job.work / "job.json"),
    ]


def _environment(job: Job) -> dict[str, str]:
    # All files are local by now; and nothing is reported to anyone.
    added = {
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    if sys.platform.startswith("linux"):
        # Gloo asks for the host's own name, which a machine without a network may not resolve.
        added["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", "lo")
    return os.environ | added
