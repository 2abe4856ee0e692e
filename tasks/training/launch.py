"""Start the ranks with `accelerate launch`, wait for them, and say in one line why they failed."""

import re
import signal
from pathlib import Path
from typing import Any

import yaml

from tasks.errors import LimoError
from tasks.files import read_json
from tasks.training.fsdp import accelerate_config
from tasks.training.job import OUTCOME, Job
from tasks.training.node import run_ranks
from tasks.training.slurm import run_nodes
from tasks.training.stopping import hold
from tasks.training.worker import FAILURE

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
