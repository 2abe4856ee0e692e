"""A reasoning chain: a teacher's response whose final answer is right."""

import polars as pl

from tasks.records.ids import content_id

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
"""What `reason` keeps. `answer` is the question's gold; `text` is the whole response."""

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
