"""The report as one HTML page: everything it needs is in it, and all text of models is escaped."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
from markupsafe import Markup

from tasks.core.files import read_table
from tasks.records.model import load_models
from tasks.reporting.figures import Series, curve, even_edges, fill, histogram
from tasks.reporting.leakage import overlap_content
from tasks.reporting.numbers import (
    DIMENSIONS,
    answered_pair,
    behind_scores,
    best_sample,
    binned,
    costs,
    difficulty,
    funnel,
    least_learnt,
    length_summary,
    lengths,
    quality,
)
from tasks.reporting.results import all_scores, paper_average, read_paper, results, sampled, shared
from tasks.reporting.text import clean

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
TITLE = 120
"""Characters of a question where it is one line of a table."""


def render_page(artifacts: Path, title: str, longest_text: int) -> str:
    """The whole page."""
    filters = {"cut": lambda text: cut(text, longest_text), "shorten": lambda text: clean(text, TITLE)}
    return fill(Path(__file__).parent / TEMPLATE, _content(artifacts) | {"title": title}, filters)


def csv_tables(artifacts: Path) -> dict[str, pl.DataFrame]:
    """What the page draws, as tables for `dvc plots`, by file name without its ending."""
    scored, answers = quality(artifacts), lengths(artifacts)
    shares = pl.concat([binned(_chosen(scored, name), _unit_edges(), name) for name in DIMENSIONS])
    arms = _by_arm(answers)
    dropped = [(line.stage, line.kept, line.taken - line.kept) for line in funnel(artifacts)]
    return {
        "funnel": pl.DataFrame(dropped, ["stage", "kept", "dropped"], orient="row"),
        "difficulty": pl.DataFrame([line._asdict() for line in difficulty(artifacts)]),
        "quality": shares,
        "lengths": binned(arms, even_edges(answers["n_tokens"].to_list(), BINS), "tokens"),
        "scores": pl.DataFrame(_score_rows(artifacts)),
    }


def _score_rows(artifacts: Path) -> list[dict[str, Any]]:
    rows = []
    for line in behind_scores(artifacts):
        per_cent = {name: 100 * line.score[name] for name in ("value", "low", "high")} | {"at_most": 100 * line.at_most}
        counts = {name: getattr(line, name) for name in ("ungraded", "truncated", "no_answer", "median", "p90")}
        rows.append({name: line.score[name] for name in ("benchmark", "arm")} | per_cent | counts)
    return rows


def cut(text: str | None, longest: int) -> str:
    """The beginning of a text, with how much of it is left out."""
    text = text or ""
    return text if len(text) <= longest else f"{text[:longest]}\n… {len(text) - longest:,} more characters"


def _content(artifacts: Path) -> dict[str, Any]:
    scored, answers = quality(artifacts), lengths(artifacts)
    filters = {line.stage: line for line in funnel(artifacts)}
    models = load_models(artifacts / "base" / "models.json") | load_models(artifacts / "train" / "model.json")
    lines = results(artifacts)
    return {
        "results": lines,
        "shared": shared(lines),
        "behind": behind_scores(artifacts),
        "sampled": sampled(artifacts),
        "scores": all_scores(artifacts),
        "paper": read_paper(),
        "paper_average": paper_average(),
        "funnel": list(filters.values()),
        "overlap": overlap_content(artifacts),
        "filters": filters,
        "difficulty": difficulty(artifacts),
        "quality": [_quality_drawing(scored, name) for name in DIMENSIONS],
        "selected": int(scored["selected"].sum()),
        "chains": scored.height,
        "curves": _curves(artifacts / "train" / "steps.parquet"),
        "least_learnt": least_learnt(artifacts),
        "lengths": _length_drawing(answers),
        "length_summary": length_summary(answers),
        "costs": costs(artifacts),
        "models": list(models.values()),
        "sample": best_sample(artifacts),
        "pair": answered_pair(artifacts),
    }


def _quality_drawing(scored: pl.DataFrame, name: str) -> Markup:
    series = [Series(group, group, values) for group, values in _chosen(scored, name).items()]
    return histogram(series, name, _unit_edges())


def _chosen(scored: pl.DataFrame, name: str) -> dict[str, Sequence[float]]:
    return {
        "others": scored.filter(~pl.col("selected"))[name].to_list(),
        "selected": scored.filter(pl.col("selected"))[name].to_list(),
    }


def _unit_edges() -> list[float]:
    return [step / BINS for step in range(BINS + 1)]


def _length_drawing(answers: pl.DataFrame) -> Markup:
    series = [Series(arm, arm, values) for arm, values in _by_arm(answers).items()]
    return histogram(series, "tokens an answer", even_edges(answers["n_tokens"].to_list(), BINS))


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
