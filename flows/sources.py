"""`limo sources`: what every filter kept and rejected of each source, and whether it adds up.

Nothing may be lost: at every filter kept + rejected = taken, and what a filter takes of a source is what the one before
kept of it. Read from the manifests and from the columns `source` and `reason` alone.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl

from tasks.core.errors import LimoError
from tasks.core.stage import SOURCE, read_manifest
from tasks.core.tables import fetch
from tasks.reporting.sources import Counts, FilterCounts, manifest_counts, question_filters, source_names


def table_counts(artifacts: Path) -> list[FilterCounts]:
    """The filters that have run, as their tables are on disk.

    Raises:
        LimoError: no filter has run; a table is missing or cannot be read.
    """
    names = [each.stage for each in question_filters(artifacts)]
    if not names:
        raise LimoError(f"{artifacts}: no filter has run yet; `dvc repro {SOURCE}` is the first")
    return [FilterCounts(stage, _count(artifacts / stage)) for stage in names]


def count_errors(artifacts: Path, filters: Sequence[FilterCounts]) -> list[str]:
    """Where the counts of the tables do not add up, a line each with stage and source; empty when all is well."""
    stated = {each.stage: each for each in manifest_counts(artifacts)}
    errors = []
    for each in filters:
        errors += _errors_within(artifacts, each, stated.get(each.stage, FilterCounts(each.stage, {})))
    for before, after in pairwise(filters):
        errors += _errors_between(before, after)
    return errors


def source_rows(filters: Sequence[FilterCounts]) -> list[dict[str, Any]]:
    """One row a source, and one of them all: taken by the first filter, then what each kept and rejected by reason."""
    rows = [(name, {each.stage: each.of(name) for each in filters}) for name in source_names(filters)]
    rows.append(("all", {each.stage: each.total() for each in filters}))
    return [
        {"source": name, "taken": f"{counts[filters[0].stage].taken:,}"}
        | {stage: _in_lines(found) for stage, found in counts.items()}
        for name, counts in rows
    ]


def adds_up(filters: Sequence[FilterCounts]) -> str:
    """What was checked, in a line."""
    stages, sources = len(filters), len(filters[0].sources)
    return (
        f"Adds up: kept + rejected = taken at {stages} {'filter' if stages == 1 else 'filters'} for each of {sources}"
        f" {'source' if sources == 1 else 'sources'}, and each filter took what the one before kept."
    )


def _count(folder: Path) -> dict[str, Counts]:
    counts: dict[str, Counts] = {}
    for name, columns in (("kept", ["source"]), ("rejected", ["source", "reason"])):
        path = folder / f"{name}.parquet"
        if not path.exists():
            raise LimoError(f"{path}: no such file; run the stage that writes it with `dvc repro`")
        rows = fetch(path, pl.scan_parquet(path).group_by(columns).len()).sort(columns)
        for source, *reason, count in rows.iter_rows():
            if reason:
                counts.setdefault(source, Counts(0, {})).rejected[reason[0]] = count
            else:
                counts[source] = Counts(count, {})
    return dict(sorted(counts.items()))


def _errors_within(artifacts: Path, found: FilterCounts, stated: FilterCounts) -> list[str]:
    """A filter's tables against its own manifest, by source and as a whole."""
    manifest = read_manifest(artifacts, found.stage)
    lines = [
        f"{found.stage}, source {name}: its manifest states {_in_words(stated.of(name))}, but its tables have"
        f" {_in_words(found.of(name))}"
        for name in source_names([stated, found])
        if stated.sources and stated.of(name) != found.of(name)
    ]
    whole = Counts(manifest.kept, {reason: count for reason, count in manifest.rejected.items() if count})
    if not lines and whole != found.total():
        lines.append(
            f"{found.stage}: its manifest states {_in_words(whole)}, but its tables have {_in_words(found.total())}"
        )
    if manifest.taken != whole.taken:
        lines.append(f"{found.stage}: {_in_words(whole)} of {manifest.taken:,} taken")
    return lines


def _errors_between(before: FilterCounts, after: FilterCounts) -> list[str]:
    """What a filter took of each source against what the one before kept."""
    return [
        f"{after.stage}, source {name}: took {after.of(name).taken:,}, but {before.stage} kept"
        f" {before.of(name).kept:,}; `dvc repro` brings {after.stage} up to date"
        for name in source_names([before, after])
        if after.of(name).taken != before.of(name).kept
    ]


def _in_words(counts: Counts) -> str:
    reasons = "".join(f" + {count:,} {reason}" for reason, count in sorted(counts.rejected.items()))
    return f"{counts.kept:,} kept{reasons}"


def _in_lines(counts: Counts) -> str:
    rejected = sorted(counts.rejected.items(), key=lambda entry: (-entry[1], entry[0]))
    return "\n".join([f"{counts.kept:,}", *(f"-{count:,} {reason}" for reason, count in rejected)])
