"""A model's response, as the ledger stores it, the attempt a filter makes of it, and the reasoning chain."""

import polars as pl
from pydantic import BaseModel, ConfigDict

from tasks.records.ids import content_id

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
    """Sum of the log-probabilities of its tokens, natural logarithm, before temperature; null: not requested."""
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


def unsent_questions(attempts: pl.DataFrame) -> pl.Series:
    """The ids of questions whose prompt leaves no room for a response."""
    return attempts.filter(pl.col("finish_reason") == TOO_LONG)["question_id"]


CHAIN = pl.Schema(
    {
        "chain_id": pl.String,
        "question_id": pl.String,
        "response_id": pl.String,
        "model_id": pl.String,
        "teacher": pl.String,
        "sample_index": pl.Int64,
        "question": pl.String,
        "answer": pl.String,
        "domain": pl.String,
        "text": pl.String,
        "n_tokens": pl.Int64,
    }
)
"""A reasoning chain, which `reason` keeps: a teacher's response whose final answer is right. `answer` is the
question's gold; `text` is the whole response."""

SCORED = pl.Schema(
    {
        **CHAIN,
        "elaboration": pl.Float64(),
        "verification": pl.Float64(),
        "exploration": pl.Float64(),
        "granularity": pl.Float64(),
        "quality": pl.Float64(),
    }
)
"""What `score` writes: the four dimensions, each in [0, 1], and their weighted sum."""

SAMPLE = pl.Schema({**SCORED, "rank": pl.Int64()})
"""What `select` keeps, and `train` reads: rank 1 is the best."""


def chain_id(question_id: str, response_id: str) -> str:
    """The id of a chain: `c_` and the hash of its question and its response."""
    return content_id("c", question_id, response_id)
