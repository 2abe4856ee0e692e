"""The DAG as DVC knows it, and running one stage of it in a DVC process of its own."""

import json
import os
import re
import selectors
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import IO, Any

from tasks.core.errors import LimoError
from tasks.core.stage import SOURCE, stage_entries

DVC_FILE = Path("dvc.yaml")
ARTIFACTS = Path("artifacts")
"""What the stages write."""
DVC_SCRIPT = """
import sys
from dvc.cli import main
from tasks.core.stage import die_with_parent
die_with_parent()
sys.exit(main(sys.argv[1:]))
"""
"""DVC that ends when we do: Prefect cancels a flow by signalling its own process only."""


def upstream(path: Path = DVC_FILE) -> dict[str, set[str]]:
    """Stage -> the stages whose outputs it depends on, in the order of dvc.yaml."""
    stages = _stages(path)
    writer = {out: name for name, stage in stages.items() for out in outputs(stage)}
    return {
        name: {other for out, other in writer.items() if any(_within(out, dep) for dep in stage["deps"])} - {name}
        for name, stage in stages.items()
    }


def module_of(stage: str, path: Path = DVC_FILE) -> str:
    """The module that a stage's command starts: `python -m tasks.pull --out ...` -> `tasks.pull`."""
    words: list[str] = _stages(path)[stage]["cmd"].split()
    return words[words.index("-m") + 1]


def taken_from(path: Path = DVC_FILE) -> dict[str, str]:
    """Stage -> the stage whose kept rows it takes: the first such table on its command line."""
    tables = {name: re.findall(r"\S+/(\w+)/kept\.parquet", stage["cmd"]) for name, stage in _stages(path).items()}
    return {name: found[0] for name, found in tables.items() if found}


def on_the_way(path: Path = DVC_FILE) -> list[str]:
    """The stages from the pool's source to the trained model, in order: what may become of a question."""
    needs = upstream(path)
    order = list(TopologicalSorter(needs).static_order())
    ends = {name for name, stage in _stages(path).items() if any(out.endswith("/model") for out in outputs(stage))}
    before, after = ends, {SOURCE}
    for name in reversed(order):
        before = before | needs[name] if name in before else before
    for name in order:
        after |= {name} if needs[name] & after else set()
    return [name for name in order if name in before & after]


def outputs(stage: Mapping[str, Any]) -> list[str]:
    """Paths of a dvc.yaml stage's outs, metrics and plots."""
    listed = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return [next(iter(out)) if isinstance(out, dict) else out for out in listed]


def environment() -> dict[str, str]:
    """This process's environment with our interpreter first on PATH, and telemetry off."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    return os.environ | {"PATH": path, "DVC_NO_ANALYTICS": "1", "DO_NOT_TRACK": "1"}


def repro_stage(
    name: str,
    log: Callable[[str], None],
    cores: Collection[int] = (),
    watch: Callable[[int], None] | None = None,
    project: Path = Path(),
) -> None:
    """Bring one stage up to date by `dvc repro -s`, passing each line it prints to `log`.

    Args:
        cores: the cores that the stage may use; none: all that we may.
        watch: called with DVC's process id at least once a second while it runs.
        project: the folder of the DVC project.

    Raises:
        LimoError: the stage failed; carries the last lines it printed.
    """
    # Without the global --wait-for-lock, stages in parallel fail after their command ran, unrecorded.
    command = [sys.executable, "-c", DVC_SCRIPT, "--cd", str(project), "--wait-for-lock", "repro", "-s", name]
    lines = []
    with subprocess.Popen(
        _pinned(command, cores), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment()
    ) as run:
        assert run.stdout is not None
        for line in _lines(run.stdout):
            if watch is not None:
                watch(run.pid)
            if line is not None:
                lines.append(line)
                log(line)
    if run.returncode != 0:
        raise LimoError(f"stage {name} failed:\n" + "\n".join(_error_lines(lines)))


def _lines(stream: IO[bytes], seconds: float = 1.0) -> Iterator[str | None]:
    """The lines of a process as it prints them; None whenever that many seconds pass without any."""
    with selectors.DefaultSelector() as ready:
        ready.register(stream, selectors.EVENT_READ)
        rest = b""
        while True:
            if not ready.select(seconds):
                yield None
                continue
            chunk = os.read(stream.fileno(), 1 << 16)
            *whole, rest = (rest + chunk).split(b"\n")
            yield from map(_as_shown, whole)
            if not chunk:
                break
        if rest:
            yield _as_shown(rest)


def _as_shown(line: bytes) -> str:
    """A line as a terminal shows it in the end, without what was overwritten."""
    return line.decode(errors="replace").rstrip().rpartition("\r")[2]


def _pinned(command: list[str], cores: Collection[int]) -> list[str]:
    # In the new process rather than in ours: affinity is a thread's, and is inherited by all that it starts.
    if not cores:
        return command
    pin = f"import os; os.sched_setaffinity(0, {sorted(cores)})"
    return [*command[:2], f"{pin}\n{command[2]}", *command[3:]]


def out_of_date() -> dict[str, Any]:
    """`dvc status` as data: what is out of date, by stage; empty when all is up to date."""
    command = [sys.executable, "-m", "dvc", "status", "--json", str(DVC_FILE)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    if done.returncode != 0:
        raise LimoError(f"dvc status: {done.stderr.strip().splitlines()[-1]}")
    status: dict[str, Any] = json.loads(done.stdout or "{}")
    return status


def _stages(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise LimoError(f"{path}: no such file; run from the project's folder")
    return stage_entries(path)


def _within(path: str, folder: str) -> bool:
    """Whether `path` is `folder`, which may be a file too, or lies in it."""
    return path == folder or path.startswith(folder + "/")


def _error_lines(lines: list[str], most: int = 12) -> list[str]:
    """Our own error lines when there are any, else the last lines printed."""
    start = next((index for index, line in enumerate(lines) if line.startswith("limo: ")), -most)
    return lines[start:]
