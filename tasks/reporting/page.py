"""The report as one HTML page: everything it needs is in it, and all text of models is escaped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from tasks.core.files import read_table
from tasks.records.model import load_models
from tasks.reporting.figures import Series, curve, even_edges, histogram
from tasks.reporting.leakage import leakage
from tasks.reporting.numbers import (
    DIMENSIONS,
    answer_statistics,
    best_sample,
    costs,
    difficulty,
    example_pair,
    funnel,
    hardest_samples,
    histogram_table,
    length_summary,
    lengths,
    quality,
)
from tasks.reporting.results import all_scores, paper_average, paper_means, read_paper, results, scores_at_k
from tasks.reporting.text import cut, fill, shorten

TEMPLATE = "page.html.j2"
CURVES = {
    "loss": "loss",
    "lr": "learning rate",
    "grad_norm": "gradient norm",
    "tokens_per_second": "tokens a second",
    "memory_mib": "MiB of memory",
    "mfu": "model FLOPs utilisation",
}
BINS = 25
UNIT_EDGES = [step / BINS for step in range(BINS + 1)]
TITLE = 120
"""Characters of a question where it is one line of a table."""


def render_page(artifacts: Path, title: str, longest_text: int) -> str:
    """The whole page."""
    filters = {"cut": lambda text: cut(text, longest_text), "shorten": lambda text: shorten(text, TITLE)}
    return fill(Path(__file__).parent / TEMPLATE, _content(artifacts) | {"title": title}, filters)


def csv_tables(artifacts: Path) -> dict[str, pl.DataFrame]:
    """What the page draws, as tables for `dvc plots`, by file name without its ending."""
    scored, answers = quality(artifacts), lengths(artifacts)
    shares = pl.concat([histogram_table(_by_selection(scored, name), UNIT_EDGES, name) for name in DIMENSIONS])
    filters = [(line.stage, line.kept, line.taken - line.kept) for line in funnel(artifacts)]
    return {
        "funnel": pl.DataFrame(filters, ["stage", "kept", "dropped"], orient="row"),
        "difficulty": pl.DataFrame([line._asdict() for line in difficulty(artifacts)]),
        "quality": shares,
        "lengths": histogram_table(_by_arm(answers), _length_edges(answers), "tokens"),
        "scores": pl.DataFrame(_score_rows(artifacts)),
    }


def _score_rows(artifacts: Path) -> list[dict[str, Any]]:
    rows = []
    for line in answer_statistics(artifacts):
        per_cent = {name: 100 * line.score[name] for name in ("value", "low", "high")} | {"at_most": 100 * line.at_most}
        counts = {name: getattr(line, name) for name in ("ungraded", "truncated", "no_answer", "median", "p90")}
        rows.append({name: line.score[name] for name in ("benchmark", "arm")} | per_cent | counts)
    return rows


def _content(artifacts: Path) -> dict[str, Any]:
    scored, answers = quality(artifacts), lengths(artifacts)
    filters = {line.stage: line for line in funnel(artifacts)}
    models = load_models(artifacts / "base" / "models.json") | load_models(artifacts / "train" / "model.json")
    lines = results(artifacts)
    return {
        "results": lines,
        "paper_means": paper_means(lines),
        "answer_statistics": answer_statistics(artifacts),
        "scores_at_k": scores_at_k(artifacts),
        "scores": all_scores(artifacts),
        "paper": read_paper(),
        "paper_average": paper_average(),
        "funnel": list(filters.values()),
        "leakage": leakage(artifacts),
        "filters": filters,
        "difficulty": difficulty(artifacts),
        "quality": [_histogram(_by_selection(scored, name), name, UNIT_EDGES) for name in DIMENSIONS],
        "selected": int(scored["selected"].sum()),
        "chains": scored.height,
        "curves": _curves(artifacts / "train" / "steps.parquet"),
        "hardest_samples": hardest_samples(artifacts),
        "lengths": _histogram(_by_arm(answers), "tokens an answer", _length_edges(answers)),
        "length_summary": length_summary(answers),
        "costs": costs(artifacts),
        "models": list(models.values()),
        "sample": best_sample(artifacts),
        "pair": example_pair(artifacts),
    }


def _histogram(groups: dict[str, Sequence[float]], label: str, edges: Sequence[float]) -> Markup:
    return histogram([Series(name, name, values) for name, values in groups.items()], label, edges)


def _by_selection(scored: pl.DataFrame, name: str) -> dict[str, Sequence[float]]:
    return {
        "others": scored.filter(~pl.col("selected"))[name].to_list(),
        "selected": scored.filter(pl.col("selected"))[name].to_list(),
    }


def _length_edges(answers: pl.DataFrame) -> list[float]:
    return even_edges(answers["n_tokens"].to_list(), BINS)


def _by_arm(answers: pl.DataFrame) -> dict[str, Sequence[float]]:
    arms = answers["arm"].unique().sort().to_list()
    return {arm: answers.filter(pl.col("arm") == arm)["n_tokens"].to_list() for arm in arms}


def _curves(path: Path) -> list[Markup]:
    """A drawing for each of the curves that training wrote."""
    steps = read_table(path, pl.read_parquet_schema(path)) if path.exists() else pl.DataFrame()
    drawn = []
    for name, label in CURVES.items():
        known = steps.drop_nulls(name) if name in steps.columns else pl.DataFrame()
        if not known.is_empty():
            drawn.append(curve(known["step"].to_list(), known[name].to_list(), f"{label}, by step"))
    return drawn
