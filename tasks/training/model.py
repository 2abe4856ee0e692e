"""What is changed in a model to train it on packs: its attention, its last layer with the loss, and compiled layers."""

import os
import shutil
from typing import Any, NamedTuple

import torch

from tasks.core.errors import LimoError
from tasks.training.data import Pack

PACKED = "limo_packed"
"""The name under which transformers knows `packed_attention`."""


class PackLengths:
    """Tokens of each sample of a pack, as an object: torch.compile would make a program for each tuple that it sees."""

    def __init__(self, each: tuple[int, ...]) -> None:
        self.each = each


def register_attention() -> None:
    """Make `packed_attention` known to transformers."""
    from transformers import AttentionInterface

    # Its loop over samples would be compiled again for each number of them.
    AttentionInterface.register(PACKED, torch.compiler.disable(packed_attention))  # type: ignore[no-untyped-call]


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    lengths: PackLengths,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention within each sample of a pack: no sample sees another.

    flash-attention does that by itself, of the lengths that it is given. Elsewhere each sample is a call of its own to
    PyTorch's causal attention: no mask of T by T tokens is made, and no work is done between samples.

    Args:
        module: the attention layer.
        query: 1 by heads by T by size; `key` and `value` may have fewer heads.
        attention_mask: none is made for an attention of our own.
        lengths: tokens of each sample; they sum to T.

    Returns:
        1 by T by heads by size, and no weights.

    Raises:
        LimoError: a sample is longer than the layer's window, which this does not know.
    """
    import torch.nn.functional as F  # noqa: N812

    assert attention_mask is None, "a mask for packed samples"
    if sliding_window and max(lengths.each) > sliding_window:
        seen = f"sees {sliding_window} tokens back, and a sample has {max(lengths.each)}"
        raise LimoError(f"train.attention: the model {seen}; set flash_attention_2, or lower train.max_length")
    grouped = query.shape[1] != key.shape[1]
    parts = [
        F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling, enable_gqa=grouped)
        for q, k, v in zip(*(torch.split(each, list(lengths.each), dim=2) for each in (query, key, value)), strict=True)
    ]
    return torch.cat(parts, dim=2).transpose(1, 2).contiguous(), None


def attention_arguments(pack: Pack, attention: str) -> dict[str, Any]:
    """Arguments of the model's forward pass that keep samples apart."""
    if attention == PACKED:
        return {"lengths": PackLengths(pack.lengths)}
    ends = torch.tensor([0, *pack.lengths], dtype=torch.int32, device=pack.ids.device).cumsum(0, dtype=torch.int32)
    longest = max(pack.lengths)
    return {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}


LOGITS = 2**26
"""Logits held at once, in fp32: 256 MiB."""


class FusedLoss(torch.autograd.Function):
    """The last layer and the loss in one, without ever holding all logits; see `token_losses`.

    At 152k words and 16k tokens the logits alone are 10 GB in fp32, and as much again for their gradient. They are made
    and used up here a few hundred tokens at a time, with their gradients in the same pass (as in Hsu et al., "Liger
    Kernel: Efficient Triton Kernels for LLM Training", arXiv 2410.10989, section 3.2), in plain PyTorch, so also on a
    CPU.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, share: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss and losses, and on the way the gradients for a loss whose own gradient is 1."""
        losses = torch.empty(len(hidden), device=hidden.device)
        to_hidden, to_weight = torch.empty_like(hidden), torch.zeros_like(weight, dtype=torch.float32)
        size = max(1, LOGITS // len(weight))
        for start in range(0, len(hidden), size):
            part = slice(start, start + size)
            # In one place, as it is the largest there is: log-probabilities, probabilities, and the gradient of
            # cross-entropy, which is the probabilities, less one at the target.
            slope = torch.log_softmax(hidden[part] @ weight.t(), dim=-1, dtype=torch.float32)
            place = torch.arange(len(slope), device=slope.device), target[part]
            losses[part] = -slope[place]
            slope.exp_()[place] -= 1
            slope = slope.mul_(share[part, None]).to(hidden.dtype)
            to_hidden[part] = slope @ weight
            to_weight += slope.t() @ hidden[part]
        ctx.save_for_backward(to_hidden, to_weight.to(weight.dtype))
        ctx.mark_non_differentiable(losses)
        return (losses * share).sum(), losses

    @staticmethod
    def backward(ctx: Any, upstream: torch.Tensor, _: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients, times the loss's own."""
        to_hidden, to_weight = ctx.saved_tensors
        return to_hidden * upstream.to(to_hidden.dtype), to_weight * upstream.to(to_weight.dtype), None, None


def token_losses(
    hidden: torch.Tensor, weight: torch.Tensor, target: torch.Tensor, share: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted loss, and the cross-entropy of each token.

    Args:
        hidden: tokens by size, of the tokens that predict.
        weight: words by size, the last layer's.
        target: the word that follows each.
        share: what each weighs in the loss.

    Returns:
        The sum of losses times `share`, to go backward from; and the losses in fp32, without a gradient.
    """
    return FusedLoss.apply(hidden, weight, target, share)  # type: ignore[no-any-return, no-untyped-call]


SCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Settings of models that change logits after the last layer."""


class LossTargets(NamedTuple):
    """What the last layer computes the loss of in the next pass."""

    target: torch.Tensor
    share: torch.Tensor


class FusedHead:
    """Makes a model's last layer return `token_losses` of `targets`, in place of logits."""

    def __init__(self, model: Any) -> None:
        """Replace the layer's forward: what FSDP gathers for it is there when this runs.

        Raises:
            LimoError: the model does more to its logits than this knows.
        """
        self._head = model.get_output_embeddings()
        odd = [name for name in SCALED if getattr(model.config, name, None) not in (None, 1, 1.0)]
        if odd or self._head.bias is not None:
            name = type(model).__name__
            raise LimoError(f"train: {name}: its last layer has {odd[0] if odd else 'a bias'}, which is not supported")
        self.targets: LossTargets | None = None
        self._head.forward = self._forward

    def _forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.targets is not None, "a pass without targets"
        return token_losses(hidden[0], self._head.weight, *self.targets)


def compile_layers(model: Any) -> None:
    """Have each decoder layer compiled when it first runs: one program for all of them, and for packs of any length.

    `packed_attention` is not compiled: a layer is compiled in two parts, around it. Only the computation within a layer
    is replaced: FSDP's gathering, recomputation and the names of weights are outside.

    Raises:
        LimoError: there is no compiler for what torch writes for CPUs.
    """
    from transformers.modeling_layers import GradientCheckpointingLayer

    compiler = os.environ.get("CXX", "g++")
    if model.device.type == "cpu" and shutil.which(compiler) is None:
        raise LimoError(f"train.compile needs the C++ compiler {compiler}, which is missing; install it, or set false")
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    assert layers, f"no decoder layers in {type(model).__name__}"
    for layer in layers:
        layer.forward = torch.compile(layer.forward, dynamic=True)
