"""One rank of a training run, also started by `accelerate launch --module tasks.training.worker JOB`.

A rank that fails writes one line of what went wrong into the job's work folder, for the stage to report.
"""

import os
import sys
import time
import traceback
from pathlib import Path

from tasks.core.errors import LimoError
from tasks.core.files import write_json
from tasks.core.stage import die_with_parent
from tasks.training.recipe import Job, catch_sigterm

FAILURE = "failure-{rank}.json"
OUT_OF_MEMORY = ("OutOfMemoryError", "out of memory", "not enough memory", "can't allocate memory")
"""In the type or text of the errors of torch, CUDA and NCCL."""


def main() -> None:
    """Do the job whose file is the first argument."""
    run_rank(Path(sys.argv[1]))


def run_rank(path: Path) -> None:
    """Train; exits with 1 after a failure."""
    catch_sigterm()
    die_with_parent()
    # Not where this module is imported, by the stage: other parts of its process may need what it blocks.
    import tasks.core.startup  # noqa: F401

    job = Job.model_validate_json(path.read_bytes())
    try:
        from tasks.training.loop import train

        train(job)
    except Exception as error:
        traceback.print_exc()
        line, cause = explain(error, job)
        rank = os.environ.get("RANK", "0")
        write_json(job.work / FAILURE.format(rank=rank), {"line": line, "cause": cause})
        sys.stderr.flush()
        if not cause:
            # The launcher reports one rank only: if another was killed, let it see that one first.
            time.sleep(1)
        # Without the exit handlers, which wait for ranks that no longer answer.
        os._exit(1)


def explain(error: Exception, job: Job) -> tuple[str, bool]:
    """One line for the user, and whether it names a cause; the other ranks only see that one is gone."""
    if isinstance(error, LimoError):
        return str(error), True
    text = " ".join(str(error).split())
    if any(words in f"{type(error).__name__} {text}" for words in OUT_OF_MEMORY):
        remedies = _remedies(job, gpu="CPUAllocator" not in text)
        return f"train: out of memory ({text[:160]}); {remedies}; then rerun to resume from the last checkpoint", True
    return f"train: {type(error).__name__}: {text[:300]}", False


def _remedies(job: Job, gpu: bool) -> str:
    recipe = job.recipe
    remedies = [
        ("lower train.pack_tokens", recipe.pack_tokens is None or recipe.pack_tokens > 1),
        ("set train.activation_checkpointing: true", not recipe.activation_checkpointing),
        ("set train.cpu_offload: true", gpu and not recipe.cpu_offload),
        ("set train.precision: bf16, from the start", recipe.precision == "fp32"),
        ("raise train.processes, over more GPUs", True),
    ]
    return ", or ".join(remedy for remedy, applies in remedies if applies)


if __name__ == "__main__":
    main()
