"""What a text has in common with a benchmark item: found for pool questions, and for training chains."""

import polars as pl

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
