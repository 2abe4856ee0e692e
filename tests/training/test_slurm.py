"""Several nodes, by a stand-in for srun: each "node" is a local process, and signals do what they do with Slurm."""

import os
import re
import signal
import subprocess
import sys

import psutil
import pytest

from tasks.core.errors import LimoError
from tasks.records.model import describe
from tasks.training.checkpoint import checkpoints, step_of
from tasks.training.launch import launch, node_names
from tasks.training.recipe import Job, Recipe
from tests.training.tiny import make_folder, make_samples
from tests.waiting import LIMIT_SECONDS, wait_until

pytestmark = pytest.mark.slow(minutes=1)

RECIPE = {"epochs": 6, "global_batch": 8, "pack_tokens": 400, "lr": 3e-3, "max_length": 200, "precision": "fp32"}
SCONTROL = "#!/bin/sh\necho localhost\necho other\n"
SRUN = """#!{python}
import os, signal, subprocess, sys

words = sys.argv[1:]
command = words[next(place for place, word in enumerate(words) if not word.startswith("-")):]
count = int(next(word for word in words if word.startswith("--ntasks=")).split("=")[1])
tasks = {{}}

def to_all(number):
    for task in tasks.values():
        try:
            os.killpg(task.pid, number)
        except ProcessLookupError:
            pass

# As the real one: SIGUSR1 reaches every process of every node, and SIGTERM kills them.
signal.signal(signal.SIGUSR1, lambda *_: to_all(signal.SIGUSR1))
signal.signal(signal.SIGTERM, lambda *_: to_all(signal.SIGKILL))
# Each node has its share of the cores, and so as many threads a rank as one node with all ranks.
cores = sorted(os.sched_getaffinity(0))
share = max(1, len(cores) // count)
for place in range(count):
    os.sched_setaffinity(0, cores[place * share :][:share] or cores)
    told = {{"SLURM_PROCID": str(place), "SLURMD_NODENAME": f"node{{place}}"}}
    tasks[place] = subprocess.Popen(command, env=os.environ | told, start_new_session=True)
worst = 0
while tasks:
    pid, status = os.wait()
    place = next(place for place, task in tasks.items() if task.pid == pid)
    tasks.pop(place)
    code = os.waitstatus_to_exitcode(status)
    if code:
        how = "Killed" if code < 0 else f"Exited with exit code {{code}}"
        print(f"srun: error: node{{place}}: task {{place}}: {{how}}", file=sys.stderr, flush=True)
        to_all(signal.SIGKILL)
    worst = max(worst, abs(code))
sys.exit(worst)
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in (("srun", SRUN.format(python=sys.executable)), ("scontrol", SCONTROL)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_JOB_NODELIST", "all of them")
    # Both "nodes" are this machine, whose own name Gloo may not be able to resolve.
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    return tmp_path


def make_job(root, name, **recipe):
    base = describe(make_folder(root / "base"), "base", "path:base")
    make_samples(19).write_parquet(root / "samples.parquet")
    (root / name).mkdir(exist_ok=True)
    paths = {"samples": root / "samples.parquet", "work": root / f"{name}-work", "out": root / name}
    return Job(recipe=Recipe(**RECIPE, device="cpu", checkpoint_every=6, **recipe), model=base, system=None, **paths)


def start(job):
    """Launch in a process of its own."""
    job.work.with_suffix(".json").write_text(job.model_dump_json())
    script = (
        "import sys, pathlib; from tasks.core.stage import one_line_errors; from tasks.training.recipe import Job\n"
        "from tasks.training.launch import launch\n"
        "with one_line_errors(): launch(Job.model_validate_json(pathlib.Path(sys.argv[1]).read_text()))"
    )
    command = [sys.executable, "-c", script, str(job.work.with_suffix(".json"))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_nodes(process):
    """All processes of a launch, as soon as both nodes have started their launcher."""

    def started():
        everyone = psutil.Process(process.pid).children(recursive=True)
        return everyone if sum("tasks.training.accelerate_launch" in p.cmdline() for p in everyone) == 2 else None

    return wait_until(started)


def test_two_nodes_give_the_weights_of_one_also_stopped_and_killed(cluster):
    one, two = make_job(cluster, "one", processes=2), make_job(cluster, "two", processes=2, nodes=2)
    launch(one)

    process = start(two)
    assert process.stdout.readline().startswith("train: epoch 1/6")
    process.terminate()
    _, error = process.communicate(timeout=LIMIT_SECONDS)
    stopped = re.search(r"limo: train: stopped by a signal after step (\d+) of 18, saved; rerun to resume", error)
    assert stopped, error
    assert step_of(checkpoints(two.work)[0]) == int(stopped[1])

    process = start(two)
    everyone = wait_for_nodes(process)
    node = next(p for p in everyone if p.environ().get("SLURM_PROCID") == "1")
    os.killpg(node.pid, signal.SIGKILL)
    _, error = process.communicate(timeout=LIMIT_SECONDS)
    assert "limo: train: Slurm says: node1: task 1: Killed; rerun to resume from the last checkpoint; see" in error
    _, alive = psutil.wait_procs(everyone, timeout=LIMIT_SECONDS)
    assert alive == []

    outcome = launch(two)
    assert outcome["world_size"] == 2
    assert outcome["resumed_at"] == int(stopped[1])
    stored = [(job.out / "model/model.safetensors").read_bytes() for job in (one, two)]
    assert stored[0] == stored[1]


def test_a_node_that_does_not_see_the_job_is_one_line(cluster, monkeypatch):
    job = make_job(cluster, "unseen", nodes=2)
    (cluster / "bin/srun").write_text(
        '#!/bin/sh\nwhile [ "$1" != -m ]; do shift; done\n'
        f'SLURMD_NODENAME=node7 exec {sys.executable} -m "$2" /not/shared/job.json "$4" "$5"\n'
    )
    line = (
        "^train: node node7 does not see /not/shared/job.json; put the project on a file system that all nodes share$"
    )
    with pytest.raises(LimoError, match=line):
        launch(job)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "SLURM_JOB_NODELIST",
            "",
            r"train\.nodes is 2, but this is no Slurm allocation .*; start it by sbatch or salloc",
        ),
        ("PATH", "/nowhere", r"train\.nodes is 2, but srun and scontrol cannot be found; start it by sbatch or salloc"),
    ],
)
def test_no_allocation_is_one_line(cluster, monkeypatch, name, value, line):
    monkeypatch.setenv(name, value)
    with pytest.raises(LimoError, match=line):
        node_names(2)


def test_an_allocation_that_is_too_small_is_one_line(cluster):
    assert node_names(2) == ["localhost", "other"]
    with pytest.raises(LimoError, match=r"train\.nodes is 3, but the allocation has 2 \(localhost, other\); ask Slurm"):
        node_names(3)
