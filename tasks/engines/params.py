"""Params of sampling: the engine (shared by all stages that sample), the chat prompt, the sampling parameters."""

from typing import Literal, Self

from pydantic import Field, model_validator

from tasks.params import Params

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


class EngineModelParams(Params):
    """What the engine does otherwise for one model; null: as for the others."""

    tensor_parallel: int | None = Field(default=None, ge=1)
    """GPUs that share the model; they must divide its attention heads."""
    max_model_len: int | None = Field(default=None, ge=1)
    """Longest prompt plus response, tokens."""
    max_num_seqs: int | None = Field(default=None, ge=1)
    """Responses decoded together in one step."""


class EngineParams(Params):
    """What generates, and how much of the machine it takes.

    None of these is part of a response's key in the ledger: after a change of `dtype` or `max_model_len`, responses
    that are there are used as they are. Delete the model's folder in artifacts/ledger to draw them anew.
    """

    kind: Literal["vllm", "openai"] = "vllm"
    """`vllm`: vLLM in this process; `openai`: servers at `base_urls` that speak OpenAI's completions protocol."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "bfloat16"
    """Type of weights and activations; `auto` is the checkpoint's own. Paper: bfloat16."""
    max_model_len: int | None = Field(default=None, ge=1)
    """Longest prompt plus response, tokens; null: the model's own limit. Paper: up to 32,768 new tokens."""
    max_num_seqs: int = Field(default=256, ge=1)
    """Responses decoded together in one step. Not stated in the paper."""
    in_flight: int | None = Field(default=None, ge=1)
    """Responses handed to the engine at once; null: a quarter more than `max_num_seqs`, so that it never idles."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that share one copy of the model. A 32B model in bfloat16 takes two of 80 GB, better four."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of each GPU's memory that vLLM takes for weights and KV cache."""
    kv_cache_gib: float | None = Field(default=None, gt=0)
    """KV cache, GiB; null: what `gpu_memory_utilization` leaves. State it on a CPU, whose share is of main memory."""
    models: dict[str, EngineModelParams] = Field(default_factory=dict)
    """What single models need otherwise, by their names under base.models (`trained` for the trained one)."""
    base_urls: tuple[str, ...] = ()
    """For `openai`: one URL a server, such as http://10.0.0.5:8000/v1. Each serves a model under its name in
    params.yaml (`vllm serve PATH --served-model-name NAME`)."""
    timeout_seconds: float = Field(default=3600, gt=0)
    """For `openai`: longest wait for one response."""
    flush_seconds: float = Field(default=30, gt=0)
    """Finished responses are on disk after at most this many seconds."""
    flush_responses: int = Field(default=512, ge=1)
    """... or once this many wait to be written."""

    @model_validator(mode="after")
    def _servers_named(self) -> Self:
        if self.kind == "openai" and not self.base_urls:
            raise ValueError("kind `openai` needs at least one URL in base_urls")
        return self

    def of(self, model: str) -> Self:
        """These params as they are for the model of that name."""
        other = self.models.get(model, EngineModelParams())
        return self.model_copy(update=other.model_dump(exclude_none=True))

    @property
    def places(self) -> int:
        """Responses handed to the engine at once."""
        return self.in_flight or self.max_num_seqs + -(-self.max_num_seqs // 4)


class ChatParams(Params):
    """How a question becomes a prompt: the model's own chat template with this system message."""

    system: str | None = SYSTEM
    """The system message; null: none. Paper: the default."""


class SamplingParams(Params):
    """How tokens are drawn; with the base seed these decide every response."""

    temperature: float = Field(default=0.6, ge=0, le=2)
    """0 is greedy. Paper: 0.6 for its sampled benchmarks, 0 for the others; undisclosed for the filters."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """Share of the probability kept. Not stated in the paper; DeepSeek-R1's own advice is 0.95."""
    top_k: int = Field(default=0, ge=0)
    """Most likely tokens kept; 0: all. Not stated in the paper."""
    max_tokens: int = Field(default=32768, ge=1)
    """Longest response, tokens. Paper: 32,768."""
    stop: tuple[str, ...] = ()
    """Texts that end a response, beside the model's own end token. Paper: none."""
    seed: int = Field(default=0, ge=0)
    """Base seed: each sample's own seed is made of it, the prompt and the sample's index."""


def refuse_greedy_repeats(samples: int, temperature: float) -> None:
    """Raise ValueError for several samples at temperature 0: they would all be the same."""
    if samples > 1 and temperature == 0:
        raise ValueError(f"{samples} samples at temperature 0 are all the same: raise the temperature, or take one")
