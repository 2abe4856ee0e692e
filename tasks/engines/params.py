"""Params of the engine, shared by all stages that sample, and of sampling."""

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from tasks.core.params import AnyModelName, Params


def _is_server(url: str) -> str:
    """Raise ValueError where no server can be at this URL."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, (parts.hostname or "").encode("idna").decode()
    except ValueError:
        raise ValueError("not a URL: its host or its port (1 to 65535) cannot be") from None
    if parts.scheme not in {"http", "https"} or not host or any(char.isspace() for char in url):
        raise ValueError("must be a URL such as http://10.0.0.5:8000/v1")
    if port == 0:
        raise ValueError("ports go from 1 to 65535")
    return url


ServerUrl = Annotated[str, AfterValidator(_is_server)]


class EngineModelParams(Params):
    """What the engine does otherwise for one model; null: as for the others."""

    kind: Literal["vllm", "openai", "ray"] | None = None
    """What generates."""
    base_urls: tuple[ServerUrl, ...] | None = None
    """For `openai`: the servers of this model."""
    data_parallel: int | None = Field(default=None, ge=1)
    """Replicas of the model."""
    tensor_parallel: int | None = Field(default=None, ge=1)
    """GPUs that share the model; they must divide its attention heads."""
    max_model_len: int | None = Field(default=None, ge=1)
    """Longest prompt plus response, tokens."""
    max_num_seqs: int | None = Field(default=None, ge=1)
    """Responses decoded together in one step."""


class EngineParams(Params):
    """What generates, and how much of the machine it takes.

    None of these is part of a response's key in the ledger: after a change of `dtype`, responses that are there are
    reused as they are (`limo ledger prune --engine TEXT` removes them). What a shorter `max_model_len` once cut off is
    generated again where a longer one is stated.
    """

    kind: Literal["vllm", "openai", "ray"] = "vllm"
    """`vllm`: vLLM on this machine; `ray`: vLLM on Ray actors, on one machine or many; `openai`: servers at
    `base_urls` that speak OpenAI's completions protocol."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "bfloat16"
    """Type of weights and activations; `auto` is the checkpoint's own. Paper: bfloat16."""
    max_model_len: int | None = Field(default=None, ge=1)
    """Longest prompt plus response, tokens; null: the model's own limit, or what the KV cache holds if that is less.
    Paper: up to 32,768 new tokens."""
    max_num_seqs: int = Field(default=256, ge=1)
    """Responses decoded together in one step, in each replica. Halved where memory runs out. Not stated in
    the paper."""
    in_flight: int | None = Field(default=None, ge=1)
    """Responses in flight at once; null: for each replica a quarter more than `max_num_seqs`, so that none idles."""
    data_parallel: int = Field(default=1, ge=1)
    """Replicas of the model, each on `tensor_parallel` GPUs (on a CPU: on its share of the cores). The samples of one
    prompt go to the same replica, which computes the prompt once."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that share one replica. A 32B model in bfloat16 takes two of 80 GB, better four."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0, le=1)
    """Share of each GPU's memory that vLLM takes for weights and KV cache."""
    kv_cache_gib: float | None = Field(default=None, gt=0)
    """KV cache of each replica, GiB; null: on a GPU what `gpu_memory_utilization` leaves, on a CPU what
    `max_num_seqs` responses need, up to a share of the free memory."""
    logprobs: bool = True
    """Keep the sum of each response's log-probabilities in the ledger."""
    ray_address: str | None = None
    """For `ray`: HOST:PORT of the cluster's head; null starts Ray on this machine."""
    models: dict[AnyModelName, EngineModelParams] = Field(default_factory=dict)
    """What single models need otherwise, by their names under base.models (`trained` for the trained one)."""
    base_urls: tuple[ServerUrl, ...] = ()
    """For `openai`: one URL a server, such as http://10.0.0.5:8000/v1. Each serves a model under its name in
    params.yaml (`vllm serve PATH --served-model-name NAME`). Where the environment variable OPENAI_API_KEY is set, each
    gets it as a Bearer token."""
    timeout_seconds: float = Field(default=3600, gt=0)
    """For `openai`: longest wait for one response."""
    patience_seconds: float = Field(default=600, gt=0)
    """For `openai`: the stage gives up after no server has answered for so long."""
    flush_seconds: float = Field(default=30, gt=0)
    """Finished responses are in a synced segment of the ledger after at most this many seconds; in its journal, which
    outlives the process but not a power cut, they are at once."""
    flush_responses: int = Field(default=512, ge=1)
    """... or once this many wait to be written."""

    @model_validator(mode="after")
    def _servers_named(self) -> Self:
        for name in ["", *self.models]:
            mine = self.of(name)
            if mine.kind == "openai" and not mine.base_urls:
                where = f" for the model `{name}`" if name else ""
                raise ValueError(f"kind `openai` needs at least one URL in base_urls{where}")
        return self

    def of(self, model: str) -> Self:
        """These params as they are for the model of that name."""
        other = self.models.get(model, EngineModelParams())
        return self.model_copy(update=other.model_dump(exclude_none=True))

    @property
    def concurrency(self) -> int:
        """Responses in flight at once."""
        each = self.max_num_seqs + -(-self.max_num_seqs // 4)
        return self.in_flight or each * max(self.data_parallel, len(self.base_urls) if self.kind == "openai" else 1)


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
    """Texts that end a response, as the model's own end token does. Paper: none."""
    loop_tokens: int = Field(default=0, ge=0)
    """Stop a response whose last tokens repeat one pattern of up to this many tokens; 0: never. Paper: never.

    A response so stopped is recorded as `loop`. Looking for it takes about 0.3 microseconds a token for each token of
    this length, on one core."""
    loop_repeats: int = Field(default=8, ge=2)
    """How often in a row the pattern must repeat."""
    seed: int = Field(default=0, ge=0)
    """Base seed: each sample's own seed is made of it, the prompt and the sample's index."""


def refuse_greedy_repeats(samples: int, temperature: float) -> None:
    """Raise ValueError for several samples at temperature 0: they would all be the same."""
    if samples > 1 and temperature == 0:
        raise ValueError(f"{samples} samples at temperature 0 are all the same: raise the temperature, or take one")
