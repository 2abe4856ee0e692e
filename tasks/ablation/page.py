"""The comparison as one HTML page: everything it needs is in it, and all text is escaped."""

from pathlib import Path
from typing import Any

import polars as pl

from tasks.ablation.answers import Compared
from tasks.ablation.figure import COLOURS, contrast_line, figure
from tasks.ablation.params import AblationParams
from tasks.ablation.table import ARM_COLUMNS, PREDICTOR_COLUMNS, arm_cells, predictor_cells
from tasks.reporting.template import fill

TEMPLATE = "page.html.j2"


def render_page(compared: Compared, ablation: AblationParams) -> str:
    """The whole page."""
    questions = [
        (answer, figure(answer, bare=True), [contrast_line(each) for each in answer.contrasts])
        for answer in compared.answers
    ]
    content = about(compared.arms, ablation) | {
        "questions": questions,
        "colours": COLOURS,
        "predicting": ablation.predictors,
        "smallest": f"{100 * ablation.smallest_effect:g}",
        "confidence": f"{100 * ablation.confidence:g}",
        "predictors": (PREDICTOR_COLUMNS, predictor_cells(compared.predictors)),
        "arms": (ARM_COLUMNS, arm_cells(compared.arms)),
    }
    return fill(Path(__file__).parent / TEMPLATE, content)


def about(arms: pl.DataFrame, ablation: AblationParams) -> dict[str, Any]:
    """What was done, in numbers."""
    trained = arms.filter(pl.col("samples") > 0)
    names = [name.removeprefix("accuracy/") for name in arms.columns if name.startswith("accuracy/")]
    return {
        "trained": trained.height,
        "untrained": arms.height - trained.height,
        "seeds": list(ablation.seeds),
        "items": arms["items"][0],
        "within": list(ablation.accuracy_over),
        "outside": [name for name in names if name not in ablation.accuracy_over],
        "steps": spread(trained["steps"]),
        "tokens": spread(trained["loss_tokens"]),
    }


def spread(values: pl.Series) -> str:
    """Least to most, or the one value."""
    if values.is_empty():
        return "0"
    known = values.to_list()
    least, most = (f"{value:,.0f}" for value in (min(known), max(known)))
    return least if least == most else f"{least} to {most}"
