"""One self-contained HTML page about a run: funnel, difficulty, quality, training, benchmarks, cost, examples.

Reads the tables and manifests of the stages under `artifacts`; writes `report.html`, and what it draws as CSV for
`dvc plots`. It is what one looks at first: every number in it comes from a stage's own output.
"""

from pathlib import Path

from pydantic import Field

from tasks.core.files import publish
from tasks.core.params import Params
from tasks.core.stage import stage_main
from tasks.reporting.page import csv_tables, render_page


class ReportParams(Params):
    """How the report looks."""

    title: str = Field("LIMO: less is more for reasoning", min_length=1)
    """Heading of the page."""
    longest_text: int = Field(8_000, ge=100)
    """Characters shown of a chain or an answer."""


def run(report: ReportParams, *, artifacts: Path, out: Path) -> None:
    """Write the report of the run in `artifacts`."""
    page, tables = render_page(artifacts, report.title, report.longest_text), csv_tables(artifacts)
    with publish(out) as part:
        (part / "report.html").write_text(page, encoding="utf-8")
        for name, table in tables.items():
            table.write_csv(part / f"{name}.csv")


if __name__ == "__main__":
    stage_main(run)
