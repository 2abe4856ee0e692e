"""Walking the edges of lineage from a record to all it was made from."""

import polars as pl

from tasks.errors import LimoError
from tasks.records.edge import EDGE


def trace(edges: pl.DataFrame, identifier: str) -> pl.DataFrame:
    """Every record that `identifier` was made from, directly or not, each once.

    Args:
        edges: all edges of a run (EDGE).

    Returns:
        Columns `id`, `kind`, and `depth`: the fewest steps from `identifier` to it.
    """
    found = pl.DataFrame(schema={"id": pl.String, "kind": pl.String, "depth": pl.Int64})
    frontier = pl.DataFrame({"id": [identifier]})
    depth = 0
    while not frontier.is_empty():
        depth += 1
        parents = edges.join(frontier, left_on="child_id", right_on="id", how="semi", maintain_order="left")
        parents = parents.select(id="parent_id", kind="parent_kind", depth=pl.lit(depth, pl.Int64))
        parents = parents.unique("id", maintain_order=True)
        # What was met before is not walked again, so that a cycle, which would be a bug, still ends.
        frontier = parents.join(found, on="id", how="anti", maintain_order="left")
        found = pl.concat([found, frontier])
    return found


def require_reached(edges: pl.DataFrame, model_id: str) -> int:
    """How many pool questions a trained model's scores come from.

    Raises:
        LimoError: a score of that model reaches no question, or there is no score of it.
    """
    scored = edges.filter((pl.col("child_kind") == "score") & (pl.col("parent_id") == model_id))
    if scored.is_empty():
        raise LimoError(f"lineage: no score was made of the trained model {model_id}; run `dvc repro -f -s grade`")
    # Every score has an edge to its model, so what the model reaches is what each of its scores reaches.
    questions = trace(edges, model_id).filter(pl.col("kind") == "question").height
    if questions == 0:
        score = scored["child_id"][0]
        raise LimoError(f"lineage: score {score} of {model_id} reaches no question; run `dvc repro --force`")
    return questions


def ids(edges: pl.DataFrame) -> pl.DataFrame:
    """Every record named by the edges, with its kind, each once: columns `id` and `kind`."""
    assert set(EDGE) <= set(edges.columns)
    children = edges.select(id="child_id", kind="child_kind")
    parents = edges.select(id="parent_id", kind="parent_kind")
    return pl.concat([children, parents]).unique("id", maintain_order=True)
