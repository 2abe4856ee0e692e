"""Why a run failed, in one line: the rank that knows the cause speaks first."""

import pytest
import torch

from tasks.core.errors import LimoError
from tasks.core.files import write_json
from tasks.records.model import Model
from tasks.training.launch import LOG, failure_line
from tasks.training.recipe import Job, Recipe
from tasks.training.worker import explain

MODEL = Model(model_id="m_1", name="base", path="base", origin="path:base", architecture="A", parameters=1)


def make_job(path, **recipe):
    return Job(recipe=Recipe(**recipe), model=MODEL, system="s", samples=path, work=path, out=path)


def test_the_cause_is_reported_not_its_consequence(tmp_path):
    write_json(tmp_path / "failure-0.json", {"line": "train: RuntimeError: connection closed", "cause": False})
    write_json(tmp_path / "failure-1.json", {"line": "train: out of memory", "cause": True})
    assert failure_line(tmp_path) == "train: out of memory"


def test_a_killed_rank_is_reported(tmp_path):
    write_json(tmp_path / "failure-0.json", {"line": "train: RuntimeError: connection closed", "cause": False})
    (tmp_path / LOG).write_text("traceback : Signal 9 (SIGKILL) received by PID 123")
    assert failure_line(tmp_path).startswith("train: a rank was killed (SIGKILL; out of memory?); rerun to resume")


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("srun: error: n2: task 1: Killed\nsrun: error: n1: task 0: Exited with exit code 1", "n2: task 1: Killed"),
        ("slurmstepd: error: *** STEP 7.0 ON n1 CANCELLED AT 2026 DUE TO TIME LIMIT ***", "*** STEP 7.0 ON n1 CANC"),
    ],
)
def test_what_slurm_says_of_a_node_is_reported(tmp_path, log, line):
    write_json(tmp_path / "failure-0.json", {"line": "train: RuntimeError: connection closed", "cause": False})
    (tmp_path / LOG).write_text(log)
    assert failure_line(tmp_path).startswith(f"train: Slurm says: {line}")


def test_a_rank_that_made_its_node_exit_speaks_for_it(tmp_path):
    write_json(tmp_path / "failure-0.json", {"line": "train: KeyError: 'x'", "cause": False})
    (tmp_path / LOG).write_text("srun: error: n1: task 0: Exited with exit code 1\nsrun: error: n2: task 1: Terminated")
    assert failure_line(tmp_path) == f"train: KeyError: 'x'; see {tmp_path / LOG}"


def test_a_launcher_that_failed_names_its_log(tmp_path):
    (tmp_path / LOG).write_text("no such option")
    assert failure_line(tmp_path) == f"train: accelerate launch failed; see {tmp_path / LOG}"


@pytest.mark.parametrize(
    ("error", "line", "cause"),
    [
        (LimoError("train: the loss is nan"), "train: the loss is nan", True),
        (KeyError("x"), "train: KeyError: 'x'", False),
    ],
)
def test_explain(tmp_path, error, line, cause):
    assert explain(error, make_job(tmp_path)) == (line, cause)


def test_out_of_memory_says_what_to_lower(tmp_path):
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.")
    line, cause = explain(error, make_job(tmp_path, pack_tokens=2, activation_checkpointing=True))
    assert cause
    relief = "; lower train.pack_tokens, or raise train.processes, over more GPUs"
    assert line.endswith(f"{relief}; then rerun to resume from the last checkpoint")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        RuntimeError("NCCL error: unhandled cuda error (run with NCCL_DEBUG=INFO); Cuda failure 2 'out of memory'"),
    ],
)
def test_out_of_memory_on_a_gpu_names_every_way_out(tmp_path, error):
    line, cause = explain(error, make_job(tmp_path, pack_tokens=4096))
    assert cause
    assert line.startswith("train: out of memory (")
    assert (
        "); lower train.pack_tokens, or set train.activation_checkpointing: true, or set train.cpu_offload: true, "
        "or raise train.processes, over more GPUs; then rerun to resume"
    ) in line
