"""The last layer and the loss in one: the cross-entropy of each token without ever holding all logits.

At 152k words and 16k tokens the logits alone are 10 GB in fp32, and as much again for their gradient. They are made and
used up here a few hundred tokens at a time, with their gradients in the same go (as in Hsu et al., "Liger Kernel:
Efficient Triton Kernels for LLM Training", arXiv 2410.10989, section 3.2), in plain PyTorch, so also on a CPU.
"""

from typing import Any, NamedTuple

import torch

from tasks.errors import LimoError

LOGITS = 2**26
"""Logits held at once, in fp32: 256 MiB."""


class Losses(torch.autograd.Function):
    """From hidden states to the loss; see `token_losses`."""

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
    return Losses.apply(hidden, weight, target, share)  # type: ignore[no-any-return, no-untyped-call]


SCALED = ("final_logit_softcapping", "logit_scale", "logits_scaling")
"""Settings of models that change logits after the last layer."""


class Asked(NamedTuple):
    """What the last layer is to compute in the next pass."""

    target: torch.Tensor
    share: torch.Tensor


class FusedHead:
    """Has a model's last layer return `token_losses` of what was asked of it, in place of logits."""

    def __init__(self, model: Any) -> None:
        """Take the place of the layer's forward: what FSDP gathers for it is there when this runs.

        Raises:
            LimoError: the model does more to its logits than this knows.
        """
        self._head = model.get_output_embeddings()
        odd = [name for name in SCALED if getattr(model.config, name, None) not in (None, 1, 1.0)]
        if odd or self._head.bias is not None:
            name = type(model).__name__
            raise LimoError(f"train: {name}: its last layer has {odd[0] if odd else 'a bias'}, which is not known here")
        self.asked: Asked | None = None
        self._head.forward = self._forward

    def _forward(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.asked is not None, "a pass without targets"
        return token_losses(hidden[0], self._head.weight, *self.asked)
