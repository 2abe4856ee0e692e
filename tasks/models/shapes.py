"""A model's shape, from its config.json, and what follows from it alone: parameters, bytes, cache, FLOPs of a token.

Covers decoders with RMSNorm, a gated MLP and rotary positions (Llama, Qwen2, Qwen3, Mistral), and DeepSeek-V3 with its
latent attention and experts. Counts are of the formulas below; tests compare them with real models.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from tasks.core.errors import LimoError

BIASED = ("qwen2",)
"""Kinds whose projections of queries, keys and values have a bias."""
NORMED = ("qwen3",)
"""Kinds that normalise queries and keys, head by head."""
DENSE = ("llama", "mistral", *BIASED, *NORMED)
LATENT = ("deepseek_v3",)


class Latent(NamedTuple):
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434): keys and values as one short vector a token."""

    query_rank: int
    kv_rank: int
    plain: int
    """Size of a head's part without positions."""
    rotary: int
    """Size of a head's part with positions; the keys' is shared by all heads."""
    value: int


class Experts(NamedTuple):
    """A mixture of experts in all layers but the first few."""

    total: int
    shared: int
    chosen: int
    """Experts of `total` that a token goes through."""
    size: int
    """Width of one."""
    dense_layers: int
    """Layers at the start with one MLP of `intermediate` instead."""


class Shape(NamedTuple):
    """All of a model that its costs depend on."""

    kind: str
    """`model_type` of its config."""
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    tied: bool
    """Whether the output matrix is the embedding's."""
    context: int
    width: float = 2
    """Bytes a weight of the linear layers has in the checkpoint."""
    latent: Latent | None = None
    experts: Experts | None = None

    @property
    def query(self) -> int:
        """Width of all heads' queries together."""
        return self.heads * self.head_size

    @property
    def key(self) -> int:
        """Width of all heads' keys together; values have the same."""
        return self.kv_heads * self.head_size


def read_shape(config: Mapping[str, Any], where: str) -> Shape:
    """The shape that a config.json states.

    Raises:
        LimoError: it is of an unsupported kind, or lacks a number.
    """
    config = config.get("text_config") or config
    kind = str(config.get("model_type"))
    if kind not in DENSE + LATENT:
        raise LimoError(f"{where}: model_type `{kind}` cannot be planned for; known are {', '.join(DENSE + LATENT)}")
    try:
        heads, hidden = int(config["num_attention_heads"]), int(config["hidden_size"])
        latent = _latent(config) if kind in LATENT else None
        head_size = latent.plain + latent.rotary if latent else int(config.get("head_dim") or hidden // heads)
        return Shape(
            kind=kind,
            hidden=hidden,
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_size=head_size,
            intermediate=int(config["intermediate_size"]),
            vocabulary=int(config["vocab_size"]),
            tied=bool(config.get("tie_word_embeddings", False)),
            context=int(config["max_position_embeddings"]),
            width=_width(config),
            latent=latent,
            experts=_experts(config) if kind in LATENT else None,
        )
    except KeyError as error:
        raise LimoError(f"{where}: lacks {error.args[0]}") from None


def _latent(config: Mapping[str, Any]) -> Latent:
    names = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
    return Latent(*(int(config[name]) for name in names))


def _experts(config: Mapping[str, Any]) -> Experts:
    names = ("n_routed_experts", "n_shared_experts", "num_experts_per_tok")
    return Experts(
        *(int(config[name]) for name in (*names, "moe_intermediate_size", "first_k_dense_replace")),
    )


def _width(config: Mapping[str, Any]) -> float:
    method = (config.get("quantization_config") or {}).get("quant_method")
    if method == "fp8":
        return 1
    kind = str(config.get("dtype") or config.get("torch_dtype") or "bfloat16")
    return 4 if kind == "float32" else 2


def layer_parameters(shape: Shape) -> int:
    """Weights of one layer; of a mixture's, one with all its experts."""
    return attention_parameters(shape) + mlp_parameters(shape) + 2 * shape.hidden


def attention_parameters(shape: Shape) -> int:
    """Weights of one layer's attention."""
    if shape.latent:
        query, kv, plain, rotary, value = shape.latent
        down = shape.hidden * (query + kv + rotary) + query + kv
        up = shape.heads * (query * (plain + rotary) + kv * (plain + value))
        return down + up + shape.heads * value * shape.hidden
    bias = shape.query + 2 * shape.key if shape.kind in BIASED else 0
    norms = 2 * shape.head_size if shape.kind in NORMED else 0
    return 2 * shape.hidden * (shape.query + shape.key) + bias + norms


def mlp_parameters(shape: Shape, *, active: bool = False) -> int:
    """Weights of one layer's gated MLP: gate, up and down; of a mixture, its router, shared and chosen experts too.

    Args:
        active: only those that one token goes through.
    """
    if shape.experts is None:
        return 3 * shape.hidden * shape.intermediate
    used = shape.experts.chosen if active else shape.experts.total
    # The router has its matrix, and a correction for each expert.
    router = shape.experts.total * (shape.hidden + 1)
    return router + 3 * shape.hidden * shape.experts.size * (used + shape.experts.shared)


def parameters(shape: Shape, *, active: bool = False) -> int:
    """All weights; with `active`, those that one token goes through, as papers count them for mixtures."""
    dense = shape.experts.dense_layers if shape.experts else 0
    layers = shape.layers * (attention_parameters(shape) + 2 * shape.hidden)
    layers += (shape.layers - dense) * mlp_parameters(shape, active=active)
    layers += dense * 3 * shape.hidden * shape.intermediate
    return layers + embedding_parameters(shape) * (1 if shape.tied else 2) + shape.hidden


def embedding_parameters(shape: Shape) -> int:
    """Weights of the embedding; the output matrix, where it is another, has as many."""
    return shape.vocabulary * shape.hidden


def multiplied(shape: Shape) -> int:
    """Weights that a token is multiplied with: not the embedding, which is looked up, but the output matrix."""
    untied = 0 if shape.tied else embedding_parameters(shape)
    return parameters(shape, active=True) - untied


def weight_bytes(shape: Shape, width: float | None = None) -> float:
    """Bytes of the weights as they are served; embeddings are never below 2 bytes a weight.

    Args:
        width: bytes a weight, where the engine casts them; None leaves the checkpoint's.
    """
    each = shape.width if width is None else width
    ends = embedding_parameters(shape) * (1 if shape.tied else 2)
    return each * (parameters(shape) - ends) + max(each, 2) * ends


def cache_bytes(shape: Shape, tensor_parallel: int = 1) -> int:
    """Bytes that one token's keys and values take on each of the GPUs that share the model, in 16 bits.

    Key heads are split over GPUs and repeated where there are more GPUs than heads; a latent is stored whole on each.
    """
    if shape.latent:
        return 2 * shape.layers * (shape.latent.kv_rank + shape.latent.rotary)
    heads = -(-shape.kv_heads // tensor_parallel)
    return 2 * 2 * shape.layers * heads * shape.head_size


def forward_flops(shape: Shape, before: float) -> float:
    """FLOPs of one token's forward pass: 2 a weight (Kaplan et al., arXiv:2001.08361), and attention to the tokens
    before it, 4 a layer, head, and entry of a head (PaLM, arXiv:2204.02311, appendix B)."""
    size = shape.query if shape.latent is None else shape.heads * (shape.head_size + shape.latent.value) / 2
    return 2 * multiplied(shape) + 4 * shape.layers * size * before


def train_flops(shape: Shape, length: float) -> float:
    """FLOPs of training on one token of a sample of `length` tokens: three forward passes (Kaplan et al.: 6 a weight);
    a token sees half of its sample on average."""
    return 3 * forward_flops(shape, length / 2)


class Gpu(NamedTuple):
    """What one GPU can do."""

    name: str
    flops: float
    """Peak bf16 FLOP/s, dense."""
    bandwidth: float
    """Of its memory, bytes/s."""
    gib: float
    fp8: bool
    """Whether it multiplies in fp8."""


KINDS = {
    gpu.name: gpu
    for gpu in (
        Gpu("A100", 312e12, 2.039e12, 79.1, False),
        Gpu("H100", 989e12, 3.35e12, 79.1, True),
        Gpu("H200", 989e12, 4.8e12, 139.8, True),
        Gpu("B200", 2250e12, 8.0e12, 178.3, True),
        Gpu("L40S", 362e12, 0.864e12, 44.5, True),
    )
}
"""GPUs whose peaks are known: NVIDIA's data sheets for dense bf16 (half of what they print with sparsity) of the SXM
variants; memory is what torch reports as the device's total, a few per cent below the name's. A100 and H100 are those
of 80 GB."""
NODE = 8
"""GPUs of one machine: beyond them a model is not split, as its parts talk in every layer."""


def gpu_kind(name: str) -> Gpu | None:
    """The GPU that a driver calls `name`, such as `NVIDIA H100 80GB HBM3`; None where it is not known, or is of another
    build, whose peak is lower."""
    words = name.replace("-", " ").upper().split()
    if {"PCIE", "NVL"} & set(words):
        return None
    return next((gpu for kind, gpu in KINDS.items() if kind in words), None)


class Machine(NamedTuple):
    """So many GPUs of one kind."""

    gpu: Gpu
    number: int

    def __str__(self) -> str:
        """As `--gpus` takes it."""
        return f"{self.number}x{self.gpu.name}"


def read_machine(text: str) -> Machine:
    """The machine that `text` names, such as `8xH200`.

    Raises:
        LimoError: it is not of that form, or of no known kind.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})x([A-Za-z]\w*)", text.strip())
    if not found:
        raise LimoError(f"--gpus {text}: give a number, an x and a kind, such as 8xH200; kinds: {', '.join(KINDS)}")
    kind = found[2].upper()
    if kind not in KINDS:
        raise LimoError(f"--gpus {text}: no kind `{found[2]}`; there are {', '.join(KINDS)}")
    return Machine(KINDS[kind], int(found[1]))
