"""How many questions of each source every filter took, kept and rejected, and whether it adds up.

Nothing may be lost: at every filter kept + rejected = taken, and what a filter takes of a source is what the one before
kept of it. Read from the manifests and from the columns `source` and `reason` alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.core.errors import LimoError
from tasks.core.stage import SOURCE, Manifest, has_run, pool_path, read_manifest

# The rows of a run's tables about a few questions, each table read at most once and never held as a whole.
#
# A pool may have ten million rows: a table is scanned for the ids asked for, and only their rows are brought into
# memory.


class Rows:
    """What the tables under an artifacts folder say about a few questions."""

    def __init__(self, artifacts: Path, question_ids: Sequence[str]) -> None:
        """Nothing is read yet; `question_ids` are those that may be asked about."""
        self.artifacts = artifacts
        self._ids = list(question_ids)
        self._read: dict[Path, pl.DataFrame] = {}

    def of(self, stage: str, name: str, question_id: str) -> pl.DataFrame:
        """The rows of `stage/name.parquet` about one question; no row and no column where there is no such table.

        Raises:
            LimoError: the table is torn or has no column `question_id`.
        """
        path = self.artifacts / stage / f"{name}.parquet"
        if path not in self._read:
            self._read[path] = where(path, "question_id", self._ids)
        found = self._read[path]
        return found if found.is_empty() else found.filter(pl.col("question_id") == question_id)

    def has_run(self, stage: str) -> bool:
        """Whether the stage has written its manifest."""
        return has_run(self.artifacts, stage)


def where(path: Path, column: str, values: Sequence[str]) -> pl.DataFrame:
    """The rows of a table whose `column` is one of `values`; no row and no column where there is no such table."""
    if not path.exists() or not values:
        return pl.DataFrame()
    return fetch(path, pl.scan_parquet(path).filter(pl.col(column).is_in(list(values))))


def fetch(path: Path, query: pl.LazyFrame) -> pl.DataFrame:
    """The result of a query over the table at `path`, batch by batch.

    Raises:
        LimoError: the file cannot be read, or lacks a column of the query.
    """
    try:
        return query.collect(engine="streaming")
    except (pl.exceptions.PolarsError, OSError) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise LimoError(f"{path}: cannot be searched ({what}); delete it and rerun the stage that writes it") from None


def check_columns(path: Path, names: Iterable[str]) -> None:
    """Refuse a table without the columns `names`; only its footer is read.

    Raises:
        LimoError: a column is missing, or the file cannot be read.
    """
    missing = sorted(set(names) - set(fetch(path, pl.scan_parquet(path).head(0)).columns))
    if missing:
        raise LimoError(f"{path}: lacks {', '.join(missing)}; rerun the stage that writes it")


class Counts(NamedTuple):
    """What a filter did with the questions of one source."""

    kept: int
    rejected: dict[str, int]
    """By reason; a reason with none is left out."""

    @property
    def taken(self) -> int:
        """Kept and rejected together."""
        return self.kept + sum(self.rejected.values())


NONE = Counts(0, {})


class Filter(NamedTuple):
    """A filter that has run, with its counts by source."""

    stage: str
    sources: dict[str, Counts]


def stated(artifacts: Path) -> list[Filter]:
    """The filters that have run, as their manifests state them; one whose manifest has no counts by source is left out.

    Raises:
        LimoError: a manifest cannot be read.
    """
    found = [(each.stage, each.facts.get("sources")) for each in _question_filters(artifacts)]
    return [Filter(stage, {name: _told(told) for name, told in sources.items()}) for stage, sources in found if sources]


def counted(artifacts: Path) -> list[Filter]:
    """The filters that have run, as their tables are on disk.

    Raises:
        LimoError: no filter has run; a table is missing or cannot be read.
    """
    names = [each.stage for each in _question_filters(artifacts)]
    if not names:
        raise LimoError(f"{artifacts}: no filter has run yet; `dvc repro {SOURCE}` is the first")
    return [Filter(stage, _on_disk(artifacts / stage)) for stage in names]


def faults(artifacts: Path, filters: Sequence[Filter]) -> list[str]:
    """Where the counted `filters` do not add up: a line each, which names stage and source; none when all is well."""
    told = {each.stage: each.sources for each in stated(artifacts)}
    found = [line for each in filters for line in _inside(artifacts, each, told.get(each.stage, {}))]
    for before, after in pairwise(filters):
        found += _between(before, after)
    return found


def _inside(artifacts: Path, counted: Filter, told: Mapping[str, Counts]) -> list[str]:
    """A filter's tables against its own manifest, by source and as a whole."""
    manifest = read_manifest(artifacts, counted.stage)
    lines = [
        f"{counted.stage}, source {name}: its manifest states {_shown(told.get(name, NONE))}, but its tables have"
        f" {_shown(counted.sources.get(name, NONE))}"
        for name in _names(told, counted.sources)
        if told and told.get(name, NONE) != counted.sources.get(name, NONE)
    ]
    whole = total(counted)
    stated = Counts(manifest.kept, {reason: count for reason, count in manifest.rejected.items() if count})
    if not lines and stated != whole:
        lines.append(f"{counted.stage}: its manifest states {_shown(stated)}, but its tables have {_shown(whole)}")
    if manifest.taken != stated.taken:
        lines.append(f"{counted.stage}: {_shown(stated)} of {manifest.taken:,} taken")
    return lines


def _between(before: Filter, after: Filter) -> list[str]:
    """What a filter took of each source against what the one before kept."""
    return [
        f"{after.stage}, source {name}: took {after.sources.get(name, NONE).taken:,}, but {before.stage} kept"
        f" {before.sources.get(name, NONE).kept:,}; `dvc repro` brings {after.stage} up to date"
        for name in _names(before.sources, after.sources)
        if after.sources.get(name, NONE).taken != before.sources.get(name, NONE).kept
    ]


def total(filtered: Filter) -> Counts:
    """All sources together."""
    rejected: dict[str, int] = {}
    for counts in filtered.sources.values():
        for reason, count in counts.rejected.items():
            rejected[reason] = rejected.get(reason, 0) + count
    return Counts(sum(counts.kept for counts in filtered.sources.values()), rejected)


def _question_filters(artifacts: Path) -> list[Manifest]:
    """The filters of questions that have run, in order."""
    return [each for each in pool_path(artifacts) if each.unit == "questions"]


def _told(told: Mapping[str, Any]) -> Counts:
    """A source's entry of a manifest: `kept` and its reasons side by side, or `taken` with its `rejected` (`pull`)."""
    nested = isinstance(told.get("rejected"), Mapping)
    rejected = told["rejected"] if nested else {name: count for name, count in told.items() if name != "kept"}
    reasons = {reason: count for reason, count in rejected.items() if isinstance(count, int) and count}
    kept = told.get("kept", told.get("taken", 0) - sum(reasons.values()) if nested else 0)
    return Counts(kept, reasons)


def _on_disk(folder: Path) -> dict[str, Counts]:
    for name in ("kept", "rejected"):
        if not (folder / f"{name}.parquet").exists():
            raise LimoError(f"{folder / name}.parquet: no such file; run the stage that writes it with `dvc repro`")
    kept, rejected = folder / "kept.parquet", folder / "rejected.parquet"
    counts = {name: Counts(count, {}) for name, count in _count(kept, "source").iter_rows()}
    for name, reason, count in _count(rejected, "source", "reason").iter_rows():
        counts.setdefault(name, Counts(0, {})).rejected[reason] = count
    return dict(sorted(counts.items()))


def _count(path: Path, *columns: str) -> pl.DataFrame:
    return fetch(path, pl.scan_parquet(path).group_by(*columns).len()).sort(*columns)


def _names(*sources: Mapping[str, Counts]) -> list[str]:
    return list(dict.fromkeys(name for each in sources for name in each))


def _shown(counts: Counts) -> str:
    reasons = "".join(f" + {count:,} {reason}" for reason, count in sorted(counts.rejected.items()))
    return f"{counts.kept:,} kept{reasons}"
