"""`limo ablate`: the stages of ablations/dvc.yaml as a Prefect flow, the arms side by side, one core each.

DVC is the cache, as everywhere: what is up to date does not run, and a run that was killed resumes.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import yaml
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from flows import check
from flows.dag import repro_stage
from tasks.ablation.params import AblationParams, ArmsParams, ProtocolParams
from tasks.core.errors import LimoError
from tasks.core.params import Params, read_tree, section_errors, unknown_names
from tasks.training.recipe import Recipe

FOLDER = Path("ablations")
PARAMS = FOLDER / "params.yaml"
OUT = FOLDER / "artifacts/compare"
ARMS, LAST = "arm", "compare"
GIB_PER_ARM = 4
"""Memory of an arm: an engine with its cache, or a trainer."""
OWN: dict[str, type[Params]] = {
    "ablation": AblationParams,
    "arms": ArmsParams,
    "train": Recipe,
    "answer": ProtocolParams,
}


def cores() -> list[int]:
    """The cores that this process may use; none where the system does not say."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def arms_at_once() -> int:
    """Arms at once: one a core as far as memory goes, and one alone where there is a GPU."""
    if shutil.which("nvidia-smi"):
        return 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return max(1, min(len(cores()), int(memory / GIB_PER_ARM)))


RUNNER: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=arms_at_once())


def tree_errors(tree: Mapping[str, Any]) -> list[str]:
    """Every error in the params of an ablation, each as `key.path: what is wrong`."""
    stages = yaml.safe_load((FOLDER / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    sections = {name: model for name, model in check.sections().items() if name in stages or name in ("engine", "chat")}
    sections |= OWN
    found = [f"{name}: unknown section" for name in tree if name not in sections]
    for name, model in sections.items():
        found += section_errors(name, tree.get(name), model)
    return found or [*unknown_names(tree, sections), *_unknown_groups(tree)]


def _unknown_groups(tree: Mapping[str, Any]) -> list[str]:
    groups = ("all", "band", *AblationParams.model_validate(tree["ablation"]).levels)
    return [
        f"arms.{name}.questions: no group `{arm.questions}`; there are {', '.join(groups)}"
        for name, arm in ArmsParams.model_validate(tree["arms"]).named.items()
        if arm.questions not in groups
    ]


def require_valid() -> dict[str, Any]:
    """The params of the ablation; a LimoError lists every error in them."""
    tree = read_tree(PARAMS)
    found = tree_errors(tree)
    if found:
        errors = "1 error" if len(found) == 1 else f"{len(found)} errors"
        raise LimoError(f"{PARAMS}: {errors}\n" + "\n".join(f"  {error}" for error in found))
    return tree


@task(task_run_name="{name}", tags=["limo"], cache_policy=NO_CACHE)  # DVC is the cache, and a queue has no hash
def stage(name: str, free: SimpleQueue[int] | None = None) -> None:
    """Bring one stage up to date, on one of the `free` cores where they are given."""
    core = free.get() if free is not None else None
    try:
        repro_stage(name, get_run_logger().info, [] if core is None else [core], project=FOLDER)
    finally:
        if free is not None and core is not None:
            free.put(core)


@flow(
    name="limo-ablate",
    description="The paper's five questions: ablations/dvc.yaml.",
    task_runner=RUNNER,  # type: ignore[arg-type]  # its futures are PrefectFutures, which its stubs do not say
)
def ablate() -> None:
    """Run the stages in their order, the arms side by side, and the comparison last.

    An arm that fails does not stop the others; the first failure is raised once all have ended.
    """
    arms = require_valid()["arms"]
    stages = yaml.safe_load((FOLDER / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name in stages:
        if name not in (ARMS, LAST):
            stage(name)
    free = _queue(cores()) if arms_at_once() > 1 else None
    runs = [stage.submit(f"{ARMS}@{name}", free, return_state=False) for name in arms]
    for run in runs:
        run.wait()
    for run in runs:
        run.result()
    stage(LAST)
    create_markdown_artifact((OUT / "table.md").read_text(encoding="utf-8"), key="ablations")


def _queue(numbers: list[int]) -> "SimpleQueue[int] | None":
    if not numbers:
        return None
    free: SimpleQueue[int] = SimpleQueue()
    for number in numbers:
        free.put(number)
    return free
