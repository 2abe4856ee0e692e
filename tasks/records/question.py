"""A question of the pool, from `pull` to `select`."""

import polars as pl
from pydantic import BaseModel, ConfigDict

from tasks.records.ids import content_id


class Question(BaseModel):
    """One pool question; `question_id` hashes source and text, so it survives reordering and re-pulling."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    question_id: str
    source: str
    """Name of the source in params.yaml."""
    question: str
    answer: str | None
    """The final answer as the source states it, taken out of its solution text; None when it has none."""
    domain: str | None = None
    """The source's own subject, such as `Algebra`."""
    level: str | None = None
    """The source's own difficulty, as text."""
    origin: str = ""
    """Where it stood: `file:row` or the generator's call."""


QUESTION = pl.Schema(
    {
        "question_id": pl.String,
        "source": pl.String,
        "question": pl.String,
        "answer": pl.String,
        "domain": pl.String,
        "level": pl.String,
        "origin": pl.String,
    }
)
"""Rejected tables have these columns, and `reason` and `evidence`."""

CLEANED = pl.Schema({**QUESTION, "language": pl.String()})
"""From `clean` on: the ISO 639-1 code of the question's language, `und` where its words are too few to tell."""

BANDED = pl.Schema({**QUESTION, "solved": pl.Int64(), "sampled": pl.Int64()})
"""What `band` keeps: the question, with how many of the drawn samples were right."""


def question_id(source: str, question: str) -> str:
    """The id of a question: `q_` and the hash of its source's name and its text."""
    return content_id("q", source, question)


# Questions that say the same: the clusters of duplicates that `clean` finds.

CLUSTER = pl.Schema(
    {
        "cluster_id": pl.String,
        "question_id": pl.String,
        "representative": pl.String,
        "form": pl.String,
        "similarity": pl.Float64,
        "answer": pl.String,
        "agrees": pl.Boolean,
    }
)
"""One row for each member of a cluster of two or more, the representative too. `representative` is the question id of
the first, which is kept; `form` is `representative`, `exact` or `near`; `similarity`, in [0, 1], is that to the
representative; `agrees` tells whether the answer equals the representative's."""


def cluster_id(representative: str) -> str:
    """The id of a cluster: `k_` and the hash of its representative's id."""
    return content_id("k", representative)


# What a text has in common with a benchmark item: found for pool questions, and for training chains.

HIT = pl.Schema(
    {
        "question_id": pl.String,
        "rule": pl.String,
        "benchmark": pl.String,
        "item_id": pl.String,
        "match": pl.String,
        "share": pl.Float64,
        "drops": pl.Boolean,
    }
)
"""What `decontaminate` finds, one row for each question, rule and item. `match` is the text in common as it stands in
the question; `share`, in [0, 1], is what the rule measured; `drops` tells a rule that rejects from one that reports."""

LEAK = pl.Schema(
    {
        "chain_id": pl.String,
        "question_id": pl.String,
        "rule": pl.String,
        "benchmark": pl.String,
        "item_id": pl.String,
        "match": pl.String,
        "share": pl.Float64,
        "drops": pl.Boolean,
    }
)
"""The other way: benchmark items that stand in a training chain. `match` is as it stands in the chain."""
