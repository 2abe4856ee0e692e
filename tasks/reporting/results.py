"""The benchmark tables: base and trained model with their intervals, the paper's numbers, pass@k and maj@k."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

from markupsafe import Markup

from tasks.core.files import read_json, read_table
from tasks.core.stage import has_run, read_manifest
from tasks.records.benchmark import SCORE
from tasks.reporting.figures import Interval, intervals

PAPER = "paper.json"
METRIC = "pass@1"
AVERAGE = "average"
BASE, V1, V3 = "Qwen2.5-32B-Instruct", "LIMO v1", "LIMO v3"


class Result(NamedTuple):
    """A benchmark's line; scores are rows of SCORE, the comparison is the paired test of `grade`."""

    benchmark: str
    base: dict[str, Any] | None
    trained: dict[str, Any] | None
    comparison: dict[str, Any] | None
    paper: dict[str, float]
    """By column of the paper's table; empty for a benchmark that is not the paper's, and for the average of others than
    its ten."""
    rejected: dict[str, int]
    """Rows of its source that are no items of it, by reason."""

    def items(self) -> str:
        """How many items were answered; `76 of 79` where its source has more rows."""
        answered = next(score["items"] for score in (self.trained, self.base) if score is not None)
        return f"{answered} of {answered + sum(self.rejected.values())}" if self.rejected else str(answered)

    def drawing(self) -> Markup:
        """Both intervals on a scale from 0 to 100."""
        arms = {"base": self.base, "trained": self.trained}
        marks = {arm: [100 * score[key] for key in ("value", "low", "high")] for arm, score in arms.items() if score}
        return intervals(Interval(arm, *values) for arm, values in marks.items())


class PaperMeans(NamedTuple):
    """Means over those benchmarks that the paper has too, in per cent: what may be compared."""

    benchmarks: int
    base: float | None
    trained: float | None
    paper: dict[str, float]


class ScoresAtK(NamedTuple):
    """The scores of several samples, which are by k."""

    pass_at: list[str]
    """Metrics, in the order of k; empty where no benchmark was sampled more than once."""
    maj_at: list[str]
    rows: list[tuple[str, str, dict[str, dict[str, Any]]]]
    """Benchmark, arm, and the rows of SCORE by metric."""


def read_paper() -> dict[str, Any]:
    """The paper's table of results."""
    table: dict[str, Any] = json.loads(Path(__file__).with_name(PAPER).read_text(encoding="utf-8"))
    return table


def results(artifacts: Path) -> list[Result]:
    """One line a benchmark, in the order of scores.parquet."""
    scores = [row for row in all_scores(artifacts) if row["metric"] == METRIC]
    compared = read_json(artifacts / "grade" / "comparisons.json")
    names = list(dict.fromkeys(row["benchmark"] for row in scores))
    paper, rejected = _paper_rows(names), _rejected(artifacts)
    lines = []
    for name in names:
        arms = {row["arm"]: row for row in scores if row["benchmark"] == name}
        others = (compared.get(name), paper.get(name, {}), rejected.get(name, {}))
        lines.append(Result(name, arms.get("base"), arms.get("trained"), *others))
    return lines


def paper_means(lines: list[Result]) -> PaperMeans | None:
    """None where no benchmark is the paper's, and where its ten are all there are: then the average has its numbers."""
    both = [line for line in lines if line.paper]
    if not both or any(line.benchmark == AVERAGE for line in both):
        return None
    paper = {name: round(mean(line.paper[name] for line in both), 1) for name in both[0].paper}
    return PaperMeans(len(both), _mean(line.base for line in both), _mean(line.trained for line in both), paper)


def scores_at_k(artifacts: Path) -> ScoresAtK:
    """pass@k and maj@k of the benchmarks that were sampled more than once."""
    rows: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for row in all_scores(artifacts):
        if row["benchmark"] != AVERAGE and row["samples"] > 1:
            rows.setdefault((row["benchmark"], row["arm"]), {})[row["metric"]] = row
    metrics = sorted({name for found in rows.values() for name in found}, key=lambda name: int(name.partition("@")[2]))
    pass_at, maj_at = ([name for name in metrics if name.startswith(kind)] for kind in ("pass@", "maj@"))
    return ScoresAtK(pass_at, maj_at, [(*key, found) for key, found in rows.items()])


def all_scores(artifacts: Path) -> list[dict[str, Any]]:
    """The rows of scores.parquet, those of a benchmark together."""
    rows = read_table(artifacts / "grade" / "scores.parquet", SCORE).to_dicts()
    places = {name: place for place, name in enumerate(dict.fromkeys(row["benchmark"] for row in rows))}
    return sorted(rows, key=lambda row: places[row["benchmark"]])


def paper_average() -> dict[str, float]:
    """The paper's average over its ten benchmarks, by column of its table."""
    paper = read_paper()
    return dict(zip(paper["columns"], paper["rows"][AVERAGE], strict=True))


def _mean(scores: Iterable[dict[str, Any] | None]) -> float | None:
    values = [100 * score["value"] for score in scores if score is not None]
    return mean(values) if values else None


def _rejected(artifacts: Path) -> dict[str, dict[str, int]]:
    """What `benchmarks` rejected of each benchmark; empty where the stage's manifest is not here."""
    if not has_run(artifacts, "benchmarks"):
        return {}
    facts = read_manifest(artifacts, "benchmarks").facts.get("benchmarks", {})
    return {name: each["rejected"] for name, each in facts.items()}


def _paper_rows(benchmarks: Sequence[str]) -> dict[str, dict[str, float]]:
    """The paper's numbers for these benchmarks of ours; for their average only where they are the paper's ten."""
    paper = read_paper()
    known = {_plain(name): dict(zip(paper["columns"], row, strict=True)) for name, row in paper["rows"].items()}
    if {_plain(name) for name in benchmarks} - {AVERAGE} != known.keys() - {AVERAGE}:
        del known[AVERAGE]
    return {name: known[_plain(name)] for name in benchmarks if _plain(name) in known}


def _plain(name: str) -> str:
    return "".join(char for char in name.lower() if char.isalnum())
