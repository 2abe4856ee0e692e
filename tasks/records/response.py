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
    """`stop`, or `length` when it ran into max_tokens or the context."""
    n_prompt_tokens: int
    n_tokens: int
    seconds: float
    """From submission to the last token, queueing included."""


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
    }
)

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
