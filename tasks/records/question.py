"""A question of the pool, from `pull` to `select`: its tables, clusters of duplicates, overlap with benchmarks."""

import polars as pl

from tasks.records.ids import content_id

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
"""One pool question a row; rejected tables have these columns, and `reason` and `evidence`.

`question_id` hashes source and text, so it survives reordering and re-pulling; `source` is its name in params.yaml;
`answer` is the final answer as the source states it, taken out of its solution text, null when it has none; `domain` is
the source's own subject, such as `Algebra`; `level` its own difficulty, as text; `origin` is `file:row` or the
generator's call."""

CLEANED = pl.Schema({**QUESTION, "language": pl.String()})
"""From `clean` on: the ISO 639-1 code of the question's language, `und` where its words are too few to tell."""

BANDED = pl.Schema({**QUESTION, "solved": pl.Int64(), "sampled": pl.Int64()})
"""What `band` keeps: the question, with how many of the drawn samples were right."""


def question_id(source: str, question: str) -> str:
    """The id of a question: `q_` and the hash of its source's name and its text."""
    return content_id("q", source, question)


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
"""The duplicates that `clean` finds: a row for each member of a cluster of two or more, the representative too.
`representative` is the question id of the first, which is kept; `form` is `representative`, `exact` or `near`;
`similarity`, in [0, 1], is that to the representative; `agrees` is whether the answer equals the representative's."""


def cluster_id(representative: str) -> str:
    """The id of a cluster: `k_` and the hash of its representative's id."""
    return content_id("k", representative)


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
"""Overlap with benchmark items that `decontaminate` finds, one row for each question, rule and item. `match` is the
overlapping text as it is in the question; `share`, in [0, 1], is what the rule measured; `drops` is whether the rule
rejects, or only reports."""

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
"""The other way: benchmark items in a training chain. `match` is as it is in the chain."""
