"""The funnel by source: how many questions of each every filter kept and rejected, as its manifest states it."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tasks.core.stage import Manifest, pool_path


class Counts(NamedTuple):
    """What a filter did with the questions of one source."""

    kept: int
    rejected: dict[str, int]
    """By reason; a reason with none is left out."""

    @property
    def taken(self) -> int:
        """Kept and rejected together."""
        return self.kept + sum(self.rejected.values())


NO_QUESTIONS = Counts(0, {})


class FilterCounts(NamedTuple):
    """A filter that has run, with its counts by source."""

    stage: str
    sources: dict[str, Counts]

    def of(self, source: str) -> Counts:
        """Those of one source."""
        return self.sources.get(source, NO_QUESTIONS)

    def total(self) -> Counts:
        """All sources together."""
        rejected: dict[str, int] = {}
        for counts in self.sources.values():
            for reason, count in counts.rejected.items():
                rejected[reason] = rejected.get(reason, 0) + count
        return Counts(sum(counts.kept for counts in self.sources.values()), rejected)


class SourceFunnel(NamedTuple):
    """The filters in their order, and for each source, and for all together, what each of them did."""

    stages: list[str]
    rows: dict[str, list[Counts]]
    all: list[Counts]


def question_filters(artifacts: Path) -> list[Manifest]:
    """The filters of questions that have run, in order."""
    return [each for each in pool_path(artifacts) if each.unit == "questions"]


def manifest_counts(artifacts: Path) -> list[FilterCounts]:
    """The filters that have run, as their manifests state them; one whose manifest has no counts by source is left out.

    Raises:
        LimoError: a manifest cannot be read.
    """
    found = [(each.stage, each.facts.get("sources")) for each in question_filters(artifacts)]
    return [
        FilterCounts(stage, {name: _counts(facts) for name, facts in sources.items()})
        for stage, sources in found
        if sources
    ]


def source_funnel(artifacts: Path) -> SourceFunnel | None:
    """What every filter did with each source; None where no manifest has counts by source."""
    filters = manifest_counts(artifacts)
    if not filters:
        return None
    names = source_names(filters)
    rows = {name: [each.of(name) for each in filters] for name in names}
    return SourceFunnel([each.stage for each in filters], rows, [each.total() for each in filters])


def source_names(filters: Iterable[FilterCounts]) -> list[str]:
    """The sources that any of the filters took questions of, in order."""
    return list(dict.fromkeys(name for each in filters for name in each.sources))


def _counts(facts: Mapping[str, Any]) -> Counts:
    """A source's entry of a manifest: `kept` and its reasons side by side, or its `rejected` as a table (`pull`)."""
    rejected = facts.get("rejected", {reason: count for reason, count in facts.items() if reason != "kept"})
    return Counts(facts.get("kept", 0), {reason: count for reason, count in rejected.items() if count})
