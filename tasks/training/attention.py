"""Attention over a pack in which no sample sees another.

Flash-attention does that by itself, of the lengths that it is given. Elsewhere each sample is a call of its own to
PyTorch's causal attention: no mask of T by T tokens is made, and no work is done between samples.
"""

from typing import TYPE_CHECKING, Any

from tasks.errors import LimoError
from tasks.training.data import Pack

if TYPE_CHECKING:
    import torch

PACKED = "limo_packed"
"""The name under which transformers knows `packed_attention`."""


class Lengths:
    """Tokens of each sample of a pack, as an object: torch.compile would make a program for each tuple that it sees."""

    def __init__(self, each: tuple[int, ...]) -> None:
        """Hold them."""
        self.each = each


def register() -> None:
    """Make `packed_attention` known to transformers."""
    import torch
    from transformers import AttentionInterface

    # Its loop over samples would be compiled anew for each number of them.
    AttentionInterface.register(PACKED, torch.compiler.disable(packed_attention))  # type: ignore[no-untyped-call]


def packed_attention(
    module: Any,
    query: "torch.Tensor",
    key: "torch.Tensor",
    value: "torch.Tensor",
    attention_mask: "torch.Tensor | None",
    *,
    lengths: Lengths,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple["torch.Tensor", None]:
    """Causal attention within each sample.

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
    import torch
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


def pack_arguments(pack: Pack, attention: str) -> dict[str, Any]:
    """What the model is called with, beside the tokens, so that samples stay apart."""
    import torch

    if attention == PACKED:
        return {"lengths": Lengths(pack.lengths)}
    ends = torch.tensor([0, *pack.lengths], dtype=torch.int32, device=pack.ids.device).cumsum(0, dtype=torch.int32)
    longest = max(pack.lengths)
    return {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": longest, "max_length_k": longest}
