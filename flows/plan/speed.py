"""Memory and speed of a stage that samples, as vLLM serves a model: weights and KV cache, decoding and prompts.

Speed is a roofline (Williams et al., 2009): a step of decoding takes as long as its bytes at the memory's bandwidth or
its FLOPs at peak, whichever is longer, each at the assumed share of the peak. It leaves out the time
that GPUs talk to each other, the engine's own work, and the end of a stage, when few responses are left.
"""

from typing import NamedTuple

from tasks.engines.params import EngineParams
from tasks.models.shapes import (
    NODE,
    Machine,
    Shape,
    cache_bytes,
    forward_flops,
    mlp_parameters,
    parameters,
    weight_bytes,
)

GIB = 2**30
RUNTIME_GIB = 4.0
"""What vLLM takes of its share in addition to weights and cache: activations, CUDA graphs, work space. Assumed."""
MOST_GPUS = 64
WIDTHS = {"bfloat16": 2.0, "float16": 2.0, "float32": 4.0}


class Rates(NamedTuple):
    """Shares of the peaks that are reached."""

    mfu: float
    """Of FLOP/s."""
    mbu: float
    """Of the memory's bandwidth."""


class Replica(NamedTuple):
    """A model on the GPUs of one replica, bytes on each of them."""

    weights: float
    cache: float
    """Room for keys and values."""
    cache_tokens: int
    """Tokens that have room."""
    context: int
    """The longest prompt plus response."""
    gpus: int
    """Those of one replica."""


def serve(shape: Shape, engine: EngineParams, machine: Machine) -> Replica:
    """How the model lies on the machine; a negative cache says that it does not fit."""
    parts = engine.tensor_parallel
    weights = weight_bytes(shape, WIDTHS.get(engine.dtype) if shape.width > 1 else None) / parts
    room = engine.gpu_memory_utilization * machine.gpu.gib * GIB - weights - RUNTIME_GIB * GIB
    if engine.kv_cache_gib is not None:
        room = min(room, engine.kv_cache_gib * GIB / parts)
    tokens = max(0, int(room // cache_bytes(shape, parts)))
    context = engine.max_model_len or shape.context
    return Replica(weights, room, tokens, context, parts)


def misfits(shape: Shape, engine: EngineParams, machine: Machine) -> list[str]:
    """Why the model cannot be served so, one line each; empty when it can."""
    parts, replica = engine.tensor_parallel, serve(shape, engine, machine)
    found = []
    if parts * engine.data_parallel > machine.number:
        found.append(
            f"tensor_parallel {parts} x data_parallel {engine.data_parallel} takes {parts * engine.data_parallel} GPUs,"
            f" {machine.number} are there"
        )
    if shape.heads % parts:
        found.append(f"tensor_parallel {parts} does not divide its {shape.heads} heads")
    if replica.cache <= 0:
        need = replica.weights / GIB + RUNTIME_GIB
        have = engine.gpu_memory_utilization * machine.gpu.gib
        found.append(f"weights and work space take {need:.1f} GiB of each GPU, vLLM has {have:.1f}")
    elif replica.cache_tokens < replica.context:
        found.append(f"the KV cache holds {replica.cache_tokens:,} tokens, one response may take {replica.context:,}")
    return found


def ways_to_fit(shape: Shape, engine: EngineParams, machine: Machine) -> list[str]:
    """Single changes after which it could be served, the least first."""
    found = []
    for parts in range(1, min(NODE, machine.number) + 1):
        replicas = machine.number // parts
        other = engine.model_copy(update={"tensor_parallel": parts, "data_parallel": replicas})
        if not misfits(shape, other, machine):
            found.append(f"tensor_parallel {parts} with data_parallel {replicas}")
            break
    tokens = serve(shape, engine, machine).cache_tokens // 1024 * 1024
    if tokens and not misfits(shape, engine.model_copy(update={"max_model_len": tokens}), machine):
        found.append(f"max_model_len {tokens}")
    if shape.width > 1 and machine.gpu.fp8 and not misfits(shape._replace(width=1), engine, machine):
        found.append("a checkpoint in fp8")
    least = next((count for count in range(1, MOST_GPUS + 1) if _fits_split(shape, engine, machine, count)), None)
    if not found and least:
        found.append(f"{least}x{machine.gpu.name} with tensor_parallel {least}, over {-(-least // NODE)} machines")
    return found


def _fits_split(shape: Shape, engine: EngineParams, machine: Machine, count: int) -> bool:
    split = engine.model_copy(update={"tensor_parallel": count, "data_parallel": 1})
    return not misfits(shape, split, machine._replace(number=count))


def batch_size(replica: Replica, engine: EngineParams, context: float) -> float:
    """Responses decoded at once in a replica, each with `context` tokens on average."""
    return max(1.0, min(engine.max_num_seqs, replica.cache_tokens / context))


def read_bytes(shape: Shape, weights: float, batch: float) -> float:
    """Bytes of weights that a step reads: of a mixture, the experts that one token of the batch or another goes to."""
    if shape.experts is None:
        return weights
    layers = shape.layers - shape.experts.dense_layers
    idle = layers * (mlp_parameters(shape) - mlp_parameters(shape, active=True))
    missed = float((1 - shape.experts.chosen / shape.experts.total) ** (batch - 1))
    return weights * (1 - idle / parameters(shape) * missed)


def decoded_a_second(
    shape: Shape, engine: EngineParams, machine: Machine, rates: Rates, *, prompt: float, tokens: float
) -> float:
    """Tokens a second that all replicas write together, for responses of `tokens` to prompts of `prompt` tokens."""
    replica = serve(shape, engine, machine)
    context = prompt + tokens / 2
    batch = batch_size(replica, engine, context)
    moved = read_bytes(shape, replica.weights, batch) + batch * context * cache_bytes(shape, replica.gpus)
    worked = batch * forward_flops(shape, context) / replica.gpus
    step = max(moved / (machine.gpu.bandwidth * rates.mbu), worked / (machine.gpu.flops * rates.mfu))
    return batch * engine.data_parallel / step


def prompt_seconds(
    shape: Shape, engine: EngineParams, machine: Machine, rates: Rates, *, prompts: float, prompt: float
) -> float:
    """Time for the prompts, each computed once however many samples it has."""
    work = prompts * prompt * forward_flops(shape, prompt / 2)
    return work / (machine.gpu.flops * rates.mfu * engine.tensor_parallel * engine.data_parallel)
