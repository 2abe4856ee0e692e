"""The outcome of a run, in a terminal: the result table, the funnel, and what to do next."""

from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

from flows.dag import ARTIFACTS
from tasks.core.stage import read_manifests
from tasks.reporting.results import BASE, V3, Result, paper_means, results

REPORT = ARTIFACTS / "report" / "report.html"


def score_rows(artifacts: Path = ARTIFACTS) -> list[dict[str, Any]]:
    """One row a benchmark: pass@1 in per cent with its interval and what may hide in it, for each arm, the difference
    with its p-value, and the paper's numbers where a benchmark is the paper's."""
    found = results(artifacts)
    shown = any(each.paper for each in found)
    rows: list[dict[str, Any]] = []
    for each in found:
        arms = {"base": each.base, "trained": each.trained}
        there = {arm: score for arm, score in arms.items() if score is not None}
        row: dict[str, Any] = {
            "benchmark": "mean of benchmarks" if each.benchmark == "average" else each.benchmark,
            "items": each.items(),
        }
        row |= {arm: _interval(score) + _unsure(score) for arm, score in there.items()}
        row |= _difference(each.comparison)
        row |= {f"paper: {name}": each.paper.get(name, "") for name in (BASE, V3)} if shown else {}
        rows.append(row | {"score id (trained)": each.trained["score_id"] if each.trained else ""})
    return [*rows, *_shared_row(found, rows[0])]


def stage_rows(artifacts: Path = ARTIFACTS) -> list[dict[str, Any]]:
    """One row a stage that has run: rows taken in, kept, and rejected by reason."""
    rows = []
    for name, each in read_manifests(artifacts).items():
        dropped = ", ".join(f"{count} {reason}" for reason, count in each.rejected.items())
        rows.append({"stage": name, "taken": each.taken, "kept": each.kept, "rejected": dropped})
    return rows


def table(rows: list[dict[str, Any]], title: str) -> Table:
    """Rows with the same keys as a table for the terminal."""
    drawn = Table(title=title, title_justify="left")
    for key in rows[0]:
        drawn.add_column(key, overflow="fold", justify="right" if isinstance(rows[0][key], int) else "left")
    for row in rows:
        drawn.add_row(*(str(value) for value in row.values()))
    return drawn


def closing(artifacts: Path = ARTIFACTS) -> str:
    """The result table, where the report is, and the next three commands."""
    rows = score_rows(artifacts)
    score = rows[0]["score id (trained)"]
    following = [
        f"limo trace {score}   # which samples made this score, back to the pool",
        "limo status                     # what each stage kept and dropped, and what is out of date",
        "mlflow ui --backend-store-uri sqlite:///artifacts/mlflow/mlflow.db",
    ]
    report = f"Report: {artifacts / 'report' / 'report.html'}"
    return render(table(rows, "pass@1, % [95% interval]")) + "\n".join(
        [report, "Next:", *(f"  {line}" for line in following)]
    )


def render(*pieces: RenderableType) -> str:
    """Rich renderables as the text a terminal would show, as wide as they need."""
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for piece in pieces:
        console.print(piece)
    return console.export_text()


def _interval(score: dict[str, Any]) -> str:
    value, low, high = (100 * score[key] for key in ("value", "low", "high"))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _unsure(score: dict[str, Any]) -> str:
    """How many responses were cut off, or ungraded and what the score were if they were right."""
    notes = [f"{score['truncated']} cut off"] if score["truncated"] else []
    if score["ungraded"]:
        notes.append(f"{score['ungraded']} ungraded")
        if score["benchmark"] != "average":
            most = score["value"] + score["ungraded"] / (score["items"] * score["samples"])
            notes[-1] += f", {100 * most:.1f} if right"
    return f" ({'; '.join(notes)})" if notes else ""


def _shared_row(found: list[Result], like: dict[str, Any]) -> list[dict[str, Any]]:
    """The means over the benchmarks that the paper has too, where these are some."""
    both = paper_means(found)
    if both is None:
        return []
    values = {"base": both.base, "trained": both.trained}
    row = {"benchmark": f"mean of the {both.benchmarks} that the paper has"}
    row |= {arm: f"{value:.1f}" for arm, value in values.items() if value is not None}
    row |= {f"paper: {name}": str(both.paper[name]) for name in (BASE, V3)}
    return [dict.fromkeys(like, "") | row]


def _difference(compared: dict[str, Any] | None) -> dict[str, str]:
    if compared is None:
        return {"difference": "", "p": ""}
    return {"difference": f"{100 * compared['difference']:+.1f}", "p": f"{compared['p_value']:.2g}"}
