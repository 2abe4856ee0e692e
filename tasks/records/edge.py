"""One step of lineage: a child record and one it was made from."""

import polars as pl

EDGE = pl.Schema(
    {
        "child_id": pl.String,
        "child_kind": pl.String,
        "parent_id": pl.String,
        "parent_kind": pl.String,
        "stage": pl.String,
    }
)
"""Kinds: question, response, chain, model, item, verdict, score. `stage` made the child."""
