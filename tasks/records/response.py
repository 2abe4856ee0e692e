"""A model's response, as the ledger keeps it, and the attempt a filter makes of it."""

import polars as pl
from pydantic import BaseModel, ConfigDict

TOO_LONG = "too_long"
"""The finish reason of a prompt that does not fit the context: nothing was generated."""


class Response(BaseModel):
    """One finished generation; `response_id` hashes what decides it: model, prompt, sampling, seed, sample index."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    response_id: str
    model_id: str
    prompt: str
    sampling: str
    """The sampling parameters as canonical JSON."""
    seed: int
    sample_index: int
    text: str
    finish_reason: str
    """`stop`; `length` when it ran into max_tokens or the context; `loop` when it was stopped for repeating itself."""
    n_prompt_tokens: int
    n_tokens: int
    seconds: float
    """From submission to the last token, queueing included."""
    logprob_sum: float | None = None
    """Sum of the log-probabilities of its tokens, natural logarithm, before temperature; null: not asked for."""
    engine: str = ""
    """What generated it: library, version, device, type, such as `vllm 0.32.0 cpu bfloat16`."""
    finished_at: float = 0.0
    """When it finished, Unix seconds."""


RESPONSE = pl.Schema(
    {
        "response_id": pl.String,
        "model_id": pl.String,
        "prompt": pl.String,
        "sampling": pl.String,
        "seed": pl.Int64,
        "sample_index": pl.Int64,
        "text": pl.String,
        "finish_reason": pl.String,
        "n_prompt_tokens": pl.Int64,
        "n_tokens": pl.Int64,
        "seconds": pl.Float64,
        "logprob_sum": pl.Float64,
        "engine": pl.String,
        "finished_at": pl.Float64,
    }
)

LOOP = "loop"
"""The finish reason of a response that was stopped for repeating itself."""

CUT_OFF = ("length", LOOP)
"""Finish reasons of responses that did not come to their end."""

ATTEMPT = pl.Schema(
    {
        "question_id": pl.String,
        "response_id": pl.String,
        "model_id": pl.String,
        "sample_index": pl.Int64,
        "verdict": pl.String,
        "extracted": pl.String,
        "rule": pl.String,
        "verdict_reason": pl.String,
        "finish_reason": pl.String,
        "n_tokens": pl.Int64,
        "text": pl.String,
    }
)
"""A response to a pool question with its verdict: the evidence of `screen`, `band` and `reason`."""
