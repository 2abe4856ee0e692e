"""Accelerate FSDP2, on GPUs over nccl and on CPUs over gloo, and the check that it is what runs.

Accelerate never sets FSDP up on CPUs: configured for it, it silently runs plain data parallelism, or even independent
runs. `start_accelerator` sets its state right, `require_fsdp2` fails when the result is anything else.
"""

import os
from typing import TYPE_CHECKING, Any

from tasks.core.errors import LimoError
from tasks.training.recipe import Recipe

if TYPE_CHECKING:
    from accelerate import Accelerator


def accelerate_config(recipe: Recipe) -> dict[str, Any]:
    """What `accelerate launch --config_file` reads; with several nodes, each also states its `--machine_rank`, and the
    same `--main_process_ip` and `--main_process_port`."""
    return {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "FSDP",
        "num_machines": recipe.nodes,
        "num_processes": recipe.processes,
        "machine_rank": 0,
        # 0: any free one, which several machines could not agree on.
        "main_process_port": 0 if recipe.nodes == 1 else 29500,
        "rdzv_backend": "static",
        "same_network": True,
        "mixed_precision": "bf16" if recipe.precision == "bf16" else "no",
        # True would make the launcher start one process, whatever num_processes says.
        "use_cpu": False,
        "debug": False,
        "fsdp_config": {
            "fsdp_version": 2,
            "fsdp_reshard_after_forward": True,
            "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "fsdp_state_dict_type": "SHARDED_STATE_DICT",
            "fsdp_cpu_ram_efficient_loading": True,
            "fsdp_offload_params": recipe.cpu_offload,
            "fsdp_activation_checkpointing": recipe.activation_checkpointing,
        },
    }


def start_accelerator(recipe: Recipe) -> "Accelerator":
    """Join the other ranks; the FSDP settings come from the launcher, through the environment.

    Raises:
        LimoError: there are fewer GPUs than ranks, or none where one is needed.
    """
    import torch
    from accelerate import Accelerator, FullyShardedDataParallelPlugin
    from torch.distributed.fsdp import MixedPrecisionPolicy

    cpu = recipe.device == "cpu" or (recipe.device == "auto" and not torch.cuda.is_available())
    _check_devices(recipe, cpu, torch.cuda.device_count())
    plugin = FullyShardedDataParallelPlugin()
    if recipe.precision == "bf16":
        # Accelerate's own policy would sum gradients in bf16, and return logits in it.
        plugin.mixed_precision_policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    accelerator = Accelerator(
        cpu=cpu, mixed_precision="bf16" if recipe.precision == "bf16" else "no", fsdp_plugin=plugin
    )
    if cpu:
        _set_fsdp_state(plugin)
    return accelerator


def _check_devices(recipe: Recipe, cpu: bool, gpus: int) -> None:
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not cpu and gpus < local:
        raise LimoError(
            f"train.processes is {local} on this machine, which has {gpus} GPUs; lower it, raise train.nodes, "
            "or set train.device: cpu"
        )
    if cpu and (recipe.cpu_offload or recipe.attention == "flash_attention_2"):
        raise LimoError("train.cpu_offload and train.attention flash_attention_2 need a GPU, and this machine has none")


def _set_fsdp_state(plugin: Any) -> None:
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    # All of Accelerate reads from these two shared dicts what kind of run it is in; it sets them to FSDP on GPUs only.
    for shared in (AcceleratorState._shared_state, PartialState._shared_state):
        shared["distributed_type"] = DistributedType.FSDP
    AcceleratorState._shared_state["fsdp_plugin"] = plugin


def require_fsdp2(accelerator: "Accelerator", model: Any, processes: int) -> None:
    """Raise unless the model is sharded by FSDP2 over exactly `processes` ranks."""
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

    if accelerator.num_processes != processes:
        raise LimoError(f"train.processes is {processes}, but {accelerator.num_processes} ranks run; launch them all")
    whole = [name for name, parameter in model.named_parameters() if not isinstance(parameter, DTensor)]
    meshes = {parameter.device_mesh.size() for parameter in model.parameters() if isinstance(parameter, DTensor)}
    if not accelerator.is_fsdp2 or not isinstance(model, FSDPModule) or whole or meshes != {processes}:
        raise RuntimeError(
            f"the model is not sharded by FSDP2 over {processes} ranks: {accelerator.distributed_type}, "
            f"unsharded parameters {whole[:3]}, mesh sizes {sorted(meshes)}"
        )
