"""The pool's stages on many questions: wall time, peak memory, what is kept and rejected, and how it grows.

    python -m benchmarks.pool_scale --rows 100000 1000000 [--work artifacts/scale] [--data ../shared/data]

Makes the questions as JSONL shards, then runs `benchmarks`, `pull`, `clean` and `decontaminate` by their command lines
in dvc.yaml, each in a process of its own. Memory is that of the stage and all its children: the largest sum of their
proportional set sizes, seen five times a second, and the largest resident size of any one of them. Fails when a stage
loses a row. Results are also written to benchmarks/results/pool_scale.json.
"""

import argparse
import itertools
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
import psutil
import yaml

from benchmarks.pool_data import CHINESE, DATA, Shape, real_questions, write_shards

STAGES = ("benchmarks", "pull", "clean", "decontaminate")
RESULTS = Path("benchmarks/results/pool_scale.json")
MIB = 1024**2
SAMPLES_A_SECOND = 5


class Usage(NamedTuple):
    """What one stage took."""

    seconds: float
    pss_mib: float
    """Largest sum over the stage's processes."""
    rss_mib: float
    """Largest of any one process."""


class Stage(NamedTuple):
    """What one stage did."""

    name: str
    usage: Usage
    taken: int
    kept: int
    rejected: dict[str, int]
    disk_mib: float


class Run(NamedTuple):
    """All stages on so many questions."""

    rows: int
    text_mib: float
    making_seconds: float
    stages: list[Stage]


def write_params(path: Path, shards: Path, data: Path) -> None:
    """A params.yaml of the pool's sections, all at their defaults."""
    suite = [
        {"name": file.stem, "path": str(file), "language": "zh" if file.stem in CHINESE else "en"}
        | ({"fields": {"choice": "choice_answer"}} if file.stem == "gaokao" else {})
        for file in sorted((data / "benchmarks").iterdir())
    ]
    source = {"name": "scale", "path": f"{shards}/*.jsonl", "answer_from": "as_is"}
    sections = {
        "benchmarks": {"suite": suite},
        "pull": {"sources": [source]},
        "clean": {},
        "decontaminate": {},
        "shards": {},
    }
    path.write_text(yaml.safe_dump(sections), encoding="utf-8")


def command(stage: str, artifacts: Path, params: Path) -> list[str]:
    """The stage's own command line, with its files under `artifacts`."""
    line = str(yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"][stage]["cmd"])
    words = [word.replace("artifacts/", f"{artifacts}/", 1) for word in shlex.split(line)]
    return [sys.executable, *words[1:], "--params", str(params)]


def measured(words: Sequence[str]) -> Usage:
    """Run a command to its end, watching its processes.

    Raises:
        SystemExit: it failed.
    """
    started = time.perf_counter()
    process = subprocess.Popen(words)
    pss = rss = 0
    while process.poll() is None:
        sizes = [size(each) for each in tree(process.pid)]
        pss = max(pss, sum(each.pss for each in sizes))
        rss = max(rss, *(each.rss for each in sizes), 0)
        time.sleep(1 / SAMPLES_A_SECOND)
    if process.returncode:
        sys.exit(f"{' '.join(words)} failed with status {process.returncode}")
    return Usage(time.perf_counter() - started, pss / MIB, rss / MIB)


class Size(NamedTuple):
    """Bytes of one process."""

    pss: int
    """Now; memory that several processes share is divided among them."""
    rss: int
    """The most it ever had."""


def tree(pid: int) -> list[psutil.Process]:
    """A process and all its descendants; none once it has ended."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def size(process: psutil.Process) -> Size:
    try:
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        most = re.search(r"VmHWM:\s+(\d+) kB", status)
        return Size(process.memory_full_info().pss, int(most.group(1)) * 1024 if most else 0)
    except (psutil.NoSuchProcess, psutil.ZombieProcess, FileNotFoundError, ProcessLookupError):
        # It ended between the listing and the look.
        return Size(0, 0)


def run_stage(name: str, artifacts: Path, params: Path) -> Stage:
    """Run one stage and count what it wrote."""
    usage = measured(command(name, artifacts, params))
    folder = artifacts / name
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    kept = count(folder / ("items.parquet" if name == "benchmarks" else "kept.parquet"))
    rejected = count(folder / "rejected.parquet")
    found = f"{kept} rows kept and {rejected} rejected of {manifest['taken']}; its manifest says {manifest['kept']}"
    assert kept + rejected == manifest["taken"], f"{name}: {found}"
    assert kept == manifest["kept"], f"{name}: {found}"
    return Stage(name, usage, manifest["taken"], kept, manifest["rejected"], size_mib(folder))


def count(path: Path) -> int:
    """Rows of a Parquet file, or of a folder of them."""
    return int(pl.scan_parquet(path).select(pl.len()).collect().item())


def size_mib(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / MIB


def run(rows: int, work: Path, data: Path, shape: Shape) -> Run:
    """Make the questions, run every stage, and check that no row is lost between them."""
    shutil.rmtree(work, ignore_errors=True)
    started = time.perf_counter()
    write_shards(work / "shards", real_questions(data), rows, shape=shape)
    seconds = time.perf_counter() - started
    write_params(work / "params.yaml", (work / "shards").resolve(), data.resolve())
    text = size_mib(work / "shards")
    stages = []
    for name in STAGES:
        stages.append(run_stage(name, work / "artifacts", work / "params.yaml"))
        print_stage(rows, stages[-1])
    _, pull, clean, decontaminate = stages
    assert (pull.taken, clean.taken, decontaminate.taken) == (rows, pull.kept, clean.kept), "rows lost between stages"
    return Run(rows, text, seconds, stages)


def print_stage(rows: int, stage: Stage) -> None:
    rate = stage.taken / stage.usage.seconds
    memory = f"{stage.usage.pss_mib:8,.0f} MiB (largest process {stage.usage.rss_mib:7,.0f})"
    counts = f"{stage.kept:10,} kept, {sum(stage.rejected.values()):8,} rejected"
    print(f"{rows:11,} {stage.name:14}{stage.usage.seconds:8.1f} s {rate:9,.0f}/s {memory} {counts} {stage.rejected}")


def print_growth(smaller: Run, larger: Run) -> None:
    print(f"\nfrom {smaller.rows:,} to {larger.rows:,} questions, {larger.rows / smaller.rows:.1f} times as many")
    for before, after in zip(smaller.stages, larger.stages, strict=True):
        seconds = after.usage.seconds / before.usage.seconds
        print(f"  {before.name:14} time x {seconds:5.1f}   memory x {after.usage.pss_mib / before.usage.pss_mib:4.1f}")


def as_json(each: Run) -> dict[str, Any]:
    stages = [stage._asdict() | {"usage": stage.usage._asdict()} for stage in each.stages]
    return each._asdict() | {"stages": stages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000], help="questions; several, smallest first")
    parser.add_argument("--joined", type=int, default=1, help="variants a question: 2 gives texts of twice the length")
    parser.add_argument("--repeated", type=float, default=0.05, help="share of the variants that repeat an earlier one")
    parser.add_argument("--work", type=Path, default=Path("artifacts/scale"), help="scratch folder, deleted at the end")
    parser.add_argument("--data", type=Path, default=DATA, help="folder with pool/ and benchmarks/")
    options = parser.parse_args()
    shape = Shape(options.joined, options.repeated)
    runs = [run(rows, options.work / str(rows), options.data, shape) for rows in options.rows]
    shutil.rmtree(options.work)
    for each in runs:
        seconds = sum(stage.usage.seconds for stage in each.stages)
        peak = max(stage.usage.pss_mib for stage in each.stages)
        print(
            f"\n{each.rows:,} questions, {each.text_mib:,.0f} MiB: {seconds:,.1f} s, at most {peak:,.0f} MiB of memory"
        )
    for smaller, larger in itertools.pairwise(runs):
        print_growth(smaller, larger)
    machine = {"cores": os.cpu_count(), "memory_mib": psutil.virtual_memory().total // MIB, "cpu": platform.machine()}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": machine, "runs": [as_json(each) for each in runs]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
