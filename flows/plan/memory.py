"""Memory and time of training, as tasks.training does it: FSDP2 over all ranks, fp32 master weights, AdamW.

A rank holds for good its share of the weights, their gradients and AdamW's two states, in fp32: 16 bytes a weight, as
in ZeRO stage 3 (Rajbhandari et al., arXiv:1910.02054). To that comes the most of two moments of a pass:

- at the loss: what the layers have kept, some of the logits, and the last layer's gradient;
- in a layer's backward pass: what the layers have kept, one layer's own activations once more where they are
  recomputed, and that layer's weights and gradients, gathered.

What a layer keeps is counted tensor by tensor in the manner of Korthikanti et al. ("Reducing Activation Recomputation
in Large Transformer Models", arXiv:2205.05198), for the layers that are trained here (RMSNorm in fp32, grouped keys,
gated MLP, no dropout). `python -m benchmarks.plan_check` compares all of it with small runs. Where it does not fit,
`ways_to_fit` has the changes after which it would.
"""

from typing import NamedTuple

from tasks.models.shapes import (
    KINDS,
    NODE,
    Machine,
    Shape,
    embedding_parameters,
    layer_parameters,
    parameters,
    train_flops,
)
from tasks.training.recipe import Recipe

GIB = 2**30
MOST_RANKS = 1024
FP32 = 4
LOGITS_AT_ONCE = 2**26
"""`tasks.training.model.LOGITS`, which is not imported since it needs torch; a test compares."""
LOGIT_BYTES = 8
"""Of a logit held: its log-probability in fp32, which becomes its gradient, and what it is made of."""
GATHERED_LAYERS = 2
"""Layers whose weights are there whole: the one at work, and the next, fetched ahead."""
RECOMPUTED = 4 / 3
"""Work with activation checkpointing: forward twice, backward twice a forward, instead of once (the same paper)."""
SETTLED_GIB = 3.0
"""What CUDA, NCCL and the gaps between tensors take on a GPU in addition to tensors: assumed, not measured here."""


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


def pass_tokens(recipe: Recipe) -> int:
    """Tokens of the longest forward pass there can be: a full pack, or one longer sample."""
    return max(recipe.pack_tokens or 0, recipe.max_length)


def loss_bytes(shape: Shape, tokens: float, width: int) -> float:
    """What the loss of a pass takes: some logits at a time, and the gradient of the last layer in fp32 and once more.

    Args:
        width: bytes of a number in the forward pass.
    """
    at_once = min(tokens, max(1, LOGITS_AT_ONCE // shape.vocabulary))
    return LOGIT_BYTES * shape.vocabulary * at_once + (4 + width) * shape.vocabulary * shape.hidden


def smaller_passes(recipe: Recipe) -> list[tuple[str, Recipe]]:
    """Changes that make a pass shorter, the least first, each in words."""
    if (recipe.pack_tokens or 0) <= recipe.max_length:
        return []
    return [("pack_tokens null", recipe.model_copy(update={"pack_tokens": None}))]


def train_memory(shape: Shape, recipe: Recipe, *, ranks: int, tokens: int, settled: float = 0) -> TrainMemory:
    """Memory of one rank.

    Args:
        ranks: over which the model is sharded.
        tokens: of one pack.
        settled: bytes that are not in tensors.
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


class Way(NamedTuple):
    """A change, and what a rank would then take at its peak."""

    change: str
    gib: float

    def __str__(self) -> str:
        return f"{self.change} ({self.gib:.1f} GiB)"


def on_gpu(shape: Shape, recipe: Recipe) -> TrainMemory:
    """Memory of a rank on a GPU, with the longest pass there can be."""
    settled = SETTLED_GIB * GIB
    return train_memory(shape, recipe, ranks=recipe.processes, tokens=pass_tokens(recipe), settled=settled)


def peak_gib(shape: Shape, recipe: Recipe) -> float:
    """The most that a rank takes on a GPU."""
    return on_gpu(shape, recipe).peak / GIB


def misfits(shape: Shape, recipe: Recipe, machine: Machine) -> list[str]:
    """Why training cannot run so, one line each; empty when it can."""
    found = []
    if recipe.processes > machine.number:
        found.append(f"processes {recipe.processes} takes {recipe.processes} GPUs, {machine.number} are there")
    need = peak_gib(shape, recipe)
    if need > machine.gpu.gib:
        found.append(f"a rank takes {need:.1f} GiB, {machine.gpu.name} has {machine.gpu.gib}")
    return found


def ways_to_fit(shape: Shape, recipe: Recipe, machine: Machine) -> list[Way]:
    """Single changes with which it fits, the cheapest first; where none does, settings changed one after another."""
    here = recipe.model_copy(update={"processes": min(recipe.processes, machine.number)})
    fewer = "" if here.processes == recipe.processes else f"processes {here.processes} and "
    found = [Way(words, peak_gib(shape, changed)) for words, changed in _settings(shape, here, machine)]
    if fewer:
        found = [Way(f"processes {here.processes}", peak_gib(shape, here)), *_after(fewer, found)]
    found = [way for way in found if way.gib <= machine.gpu.gib]
    found = found or _after(fewer, _together(shape, here, machine))
    shorter = _after(fewer, _length(shape, here, machine)) if peak_gib(shape, here) > machine.gpu.gib else []
    return found + _ranks(shape, recipe, machine) + shorter + _kinds(shape, recipe, machine)


def _after(first: str, ways: list[Way]) -> list[Way]:
    return [Way(first + way.change, way.gib) for way in ways]


def _settings(shape: Shape, recipe: Recipe, machine: Machine) -> list[tuple[str, Recipe]]:
    """Single changes of the recipe that save memory on this machine."""
    found = []
    if machine.number > recipe.processes:
        found.append((f"processes {machine.number}", recipe.model_copy(update={"processes": machine.number})))
    found += smaller_passes(recipe)
    for name, now, better in (
        ("precision", recipe.precision, "bf16"),
        ("activation_checkpointing", recipe.activation_checkpointing, True),
    ):
        if now != better:
            found.append((f"{name} {str(better).lower()}", recipe.model_copy(update={name: better})))
    if not recipe.cpu_offload:
        other = recipe.model_copy(update={"cpu_offload": True})
        found.append((f"cpu_offload true, with {on_gpu(shape, other).host / GIB:.0f} GiB of main memory", other))
    return found


def _together(shape: Shape, recipe: Recipe, machine: Machine) -> list[Way]:
    applied: list[str] = []
    while changes := _settings(shape, recipe, machine):
        words, recipe = changes[0]
        applied.append(words)
        if (need := peak_gib(shape, recipe)) <= machine.gpu.gib:
            return [Way(" and ".join(applied), need)]
    return []


def _ranks(shape: Shape, recipe: Recipe, machine: Machine) -> list[Way]:
    """The fewest GPUs of this kind on which the recipe fits as it is."""
    count = max(machine.number, recipe.processes) + 1
    while count <= MOST_RANKS:
        # Past one machine, whole ones.
        count = count if count <= NODE else -(-count // NODE) * NODE
        need = peak_gib(shape, recipe.model_copy(update={"processes": count}))
        if need <= machine.gpu.gib:
            nodes = f" and nodes {-(-count // NODE)}" if count > NODE else ""
            return [Way(f"processes {count}{nodes}: {count}x{machine.gpu.name}", need)]
        count += 1
    return []


def _length(shape: Shape, recipe: Recipe, machine: Machine) -> list[Way]:
    """The longest samples, in steps of 1,024 tokens, with which the recipe fits; longer ones are rejected."""
    for length in range((recipe.max_length - 1) // 1024 * 1024, 0, -1024):
        need = peak_gib(shape, recipe.model_copy(update={"max_length": length}))
        if need <= machine.gpu.gib:
            return [Way(f"max_length {length}, which rejects longer samples", need)]
    return []


def _kinds(shape: Shape, recipe: Recipe, machine: Machine) -> list[Way]:
    """As many GPUs of the smallest other kind that is large enough."""
    need = peak_gib(shape, recipe)
    if recipe.processes > machine.number:
        return []
    enough = [gpu for gpu in KINDS.values() if need <= gpu.gib and gpu != machine.gpu]
    if not enough:
        return []
    return [Way(f"{recipe.processes}x{min(enough, key=lambda gpu: gpu.gib).name}", need)]
