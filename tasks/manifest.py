"""What a stage did, in numbers: the manifest it writes last, and the kept and rejected tables of a filter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tasks.errors import LimoError
from tasks.files import MANIFEST, write_json


def write_manifest(
    folder: Path,
    stage: str,
    *,
    taken: int,
    kept: int,
    rejected: Mapping[str, int],
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write `manifest.json`: rows taken in, kept, and rejected per reason, with any further facts of the stage.

    The numbers must add up: every row taken in is kept or rejected.
    """
    assert kept + sum(rejected.values()) == taken, f"{stage}: {kept} kept + {dict(rejected)} rejected != {taken} taken"
    counts = {"stage": stage, "taken": taken, "kept": kept, "rejected": dict(sorted(rejected.items()))}
    write_json(folder / MANIFEST, counts | {"facts": dict(facts or {})})


def write_filter(folder: Path, stage: str, decided: pl.DataFrame, facts: Mapping[str, Any] | None = None) -> None:
    """Write `kept.parquet`, `rejected.parquet` and the manifest of a filter.

    Args:
        decided: every row taken in, with the columns `reason` (null: kept) and `evidence` (what the reason rests on).
            Where it has a column `source`, the facts get the counts of each source as `sources`.
        facts: further facts of the stage; `sources` among them is left as it is.

    Raises:
        LimoError: no row is kept; names the stage and how many each reason dropped.
    """
    kept = decided.filter(pl.col("reason").is_null()).drop("reason", "evidence")
    rejected = decided.filter(pl.col("reason").is_not_null())
    reasons = count_reasons(rejected)
    if kept.is_empty():
        dropped = ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "it was given none"
        raise LimoError(
            f"{stage}: no row is left of {decided.height} ({dropped}); loosen the section `{stage}` of params.yaml"
        )
    if "source" in decided.columns:
        facts = {"sources": count_sources(decided)} | dict(facts or {})
    kept.write_parquet(folder / "kept.parquet")
    rejected.write_parquet(folder / "rejected.parquet")
    write_manifest(folder, stage, taken=decided.height, kept=kept.height, rejected=reasons, facts=facts)


def count_reasons(rejected: pl.DataFrame) -> dict[str, int]:
    """Rows per `reason`, most frequent first."""
    counts = rejected.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    return dict(counts.iter_rows())


def count_sources(decided: pl.DataFrame) -> dict[str, dict[str, int]]:
    """How many rows of each source are `kept`, and rejected for each reason; sources in their order."""
    counts = decided.group_by("source", pl.col("reason").fill_null("kept"), maintain_order=True).len()
    sources: dict[str, dict[str, int]] = {}
    for source, reason, count in counts.iter_rows():
        sources.setdefault(source, {})[reason] = count
    return sources
