"""Questions that say the same: the clusters of duplicates that `clean` finds."""

import polars as pl

from tasks.records.ids import content_id

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
