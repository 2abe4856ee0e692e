"""Memory and time of training, as tasks.training does it: FSDP2 over all ranks, fp32 master weights, AdamW.

A rank holds for good its share of the weights, their gradients and AdamW's two states, in fp32: 16 bytes a weight, as
in ZeRO stage 3 (Rajbhandari et al., arXiv:1910.02054). To that comes the most of two moments of a pass:

- at the loss: what the layers have kept, some of the logits, and the last layer's gradient;
- in a layer's backward pass: what the layers have kept, one layer's own activations once more where they are
  recomputed, and that layer's weights and gradients, gathered.

What a layer keeps is counted tensor by tensor in the manner of Korthikanti et al. ("Reducing Activation Recomputation
in Large Transformer Models", arXiv:2205.05198), for the layers that are trained here (RMSNorm in fp32, grouped keys,
gated MLP, no dropout). `python -m benchmarks.plan_check` compares all of it with small runs.
"""

from typing import NamedTuple

from tasks.models.hardware import Machine
from tasks.models.shapes import Shape, embedding_parameters, layer_parameters, parameters, train_flops
from tasks.planning.trainer import loss_bytes
from tasks.training.recipe import Recipe

FP32 = 4
GATHERED_LAYERS = 2
"""Layers whose weights are there whole: the one at work, and the next, fetched ahead."""
RECOMPUTED = 4 / 3
"""Work with activation checkpointing: forward twice, backward twice a forward, instead of once (the same paper)."""
SETTLED_GIB = 3.0
"""What CUDA, NCCL and the gaps between tensors take on a GPU beside tensors: assumed, not measured here."""


class TrainMemory(NamedTuple):
    """Bytes on one rank."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    """What all layers keep until their backward pass."""
    logits: float
    gathered: float
    """Weights that are whole for a while, and their gradients on the way to the ranks."""
    layer: float
    """Of one layer's backward pass: what it recomputes, and the gradients within its MLP."""
    settled: float
    host: float
    """In main memory, all ranks together: rank 0 loads and exports the weights there; with cpu_offload, all states."""

    @property
    def peak(self) -> float:
        """The most at once on the device."""
        held = self.weights + self.gradients + self.optimizer + self.activations + self.gathered + self.settled
        return held + max(self.logits, self.layer)


def train_memory(shape: Shape, recipe: Recipe, *, ranks: int, tokens: int, settled: float = 0) -> TrainMemory:
    """Memory of one rank.

    Args:
        ranks: over which the model is sharded.
        tokens: of one pack.
        settled: bytes beside tensors.
    """
    count, width = parameters(shape), compute_width(recipe)
    sharded = 0 if recipe.cpu_offload else FP32 * count / ranks
    layer = layer_bytes(shape, recipe, tokens)
    kept = shape.layers * (width * shape.hidden * tokens if recipe.activation_checkpointing else layer)
    return TrainMemory(
        weights=sharded,
        gradients=sharded,
        optimizer=2 * sharded,
        activations=kept + norm_bytes(shape, recipe, tokens),
        logits=loss_bytes(shape, tokens, width),
        gathered=gathered_bytes(shape, recipe),
        layer=width * 2 * shape.intermediate * tokens + (layer if recipe.activation_checkpointing else 0),
        settled=settled,
        host=FP32 * count * (4 if recipe.cpu_offload else 1),
    )


def compute_width(recipe: Recipe) -> int:
    """Bytes of a number in the forward pass."""
    return 2 if recipe.precision == "bf16" else FP32


def norm_bytes(shape: Shape, recipe: Recipe, tokens: int) -> float:
    """What one RMSNorm keeps: its input in fp32, what it has normalised, and its output for the matrices after it."""
    return (FP32 + 2 * compute_width(recipe)) * shape.hidden * tokens


def layer_bytes(shape: Shape, recipe: Recipe, tokens: int) -> float:
    """What one layer keeps for its backward pass: of both norms; queries, keys, values and the attention's output with
    the fp32 sum of each row; the MLP's gate before and after its activation, up, and their product."""
    width = compute_width(recipe)
    attention = width * (2 * shape.query + 2 * shape.key) + FP32 * shape.heads
    return tokens * (attention + width * 4 * shape.intermediate) + 2 * norm_bytes(shape, recipe, tokens)


def gathered_bytes(shape: Shape, recipe: Recipe) -> float:
    """Weights that a rank holds whole for a while: the output matrix from the end of the forward pass on, the layer at
    work and the next; and a layer's gradients, with the fp32 copies that are summed over the ranks."""
    width, layer = compute_width(recipe), layer_parameters(shape)
    tail = embedding_parameters(shape)
    return width * tail + GATHERED_LAYERS * width * layer + (width + FP32) * layer


def tokens_a_second(shape: Shape, recipe: Recipe, machine: Machine, *, length: float, mfu: float) -> float:
    """Over all ranks.

    Args:
        mfu: model FLOPs utilisation (PaLM, arXiv:2204.02311), reached without recomputing.
    """
    work = train_flops(shape, length) * (RECOMPUTED if recipe.activation_checkpointing else 1)
    return machine.gpu.flops * machine.number * mfu / work
