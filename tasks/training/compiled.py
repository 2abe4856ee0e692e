"""The decoder layers compiled by torch.compile: one program for all of them, and for packs of any length.

Attention over a pack stays as it is (`tasks.training.attention.register`): a layer is compiled in two parts, around it.
Only the computation within a layer is replaced: FSDP's gathering, recomputation and the names of weights are outside.
"""

import os
import shutil
from typing import Any

from tasks.errors import LimoError


def compile_layers(model: Any) -> None:
    """Have each decoder layer compiled when it first runs.

    Raises:
        LimoError: there is no compiler for what torch writes for CPUs.
    """
    import torch
    from transformers.modeling_layers import GradientCheckpointingLayer

    compiler = os.environ.get("CXX", "g++")
    if model.device.type == "cpu" and shutil.which(compiler) is None:
        raise LimoError(f"train.compile needs the C++ compiler {compiler}, which is not here; install it, or set false")
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    assert layers, f"no decoder layers in {type(model).__name__}"
    for layer in layers:
        layer.forward = torch.compile(layer.forward, dynamic=True)
