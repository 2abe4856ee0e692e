"""What happened to one question at every stage: kept, or rejected with the reason and the evidence."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from tasks.errors import LimoError
from tasks.tracing.edges import trained_samples

FILTERS = ("pull", "clean", "decontaminate", "screen", "band")


class Step(NamedTuple):
    """What one stage did with the question."""

    stage: str
    outcome: str
    why: str


def question_row(artifacts: Path, question_id: str) -> dict[str, object]:
    """The question as `pull` wrote it, kept or rejected.

    Raises:
        LimoError: `pull` never saw it.
    """
    for name in ("kept", "rejected"):
        found = _rows(artifacts / "pull" / f"{name}.parquet", question_id)
        if not found.is_empty():
            return found.row(0, named=True)
    raise LimoError(f"{question_id}: not in {artifacts / 'pull'}; ids of another run have gone with its artifacts")


def question_fate(artifacts: Path, question_id: str) -> list[Step]:
    """The stages that saw the question, in order, up to the one that rejected it."""
    steps: list[Step] = []
    for stage in FILTERS:
        step = _filtered(artifacts, stage, question_id)
        if step is not None:
            steps.append(step)
        if step is None or step.outcome != "kept":
            return steps
    return steps + _taught(artifacts, question_id)


def _filtered(artifacts: Path, stage: str, question_id: str) -> Step | None:
    kept = _rows(artifacts / stage / "kept.parquet", question_id)
    if not kept.is_empty():
        return Step(stage, "kept", _attempts(artifacts, stage, question_id))
    rejected = _rows(artifacts / stage / "rejected.parquet", question_id)
    if rejected.is_empty():
        return None
    row = rejected.row(0, named=True)
    attempts = _attempts(artifacts, stage, question_id)
    return Step(stage, "rejected", "; ".join(part for part in (row["reason"], row["evidence"], attempts) if part))


def _attempts(artifacts: Path, stage: str, question_id: str) -> str:
    tried = _rows(artifacts / stage / "attempts.parquet", question_id)
    if tried.is_empty():
        return ""
    right = tried.filter(pl.col("verdict") == "correct").height
    return f"{right} of {tried.height} responses right"


def _taught(artifacts: Path, question_id: str) -> list[Step]:
    """From the teachers' chains to the training run."""
    chains = _rows(artifacts / "score" / "chains.parquet", question_id)
    wrong = _rows(artifacts / "reason" / "rejected.parquet", question_id)
    drawn = f"{chains.height} right chains of {chains.height + wrong.height} responses"
    if chains.is_empty():
        return [Step("reason", "rejected", drawn)]
    steps = [Step("reason", "kept", drawn)]
    best = chains.sort(["quality", "chain_id"], descending=[True, False]).row(0, named=True)
    steps.append(Step("score", "kept", f"best {best['chain_id']} with quality {best['quality']:.3f}"))
    selected = _rows(artifacts / "select" / "kept.parquet", question_id)
    if selected.is_empty():
        rejected = _rows(artifacts / "select" / "rejected.parquet", question_id)
        last = rejected.filter(pl.col("reason") != "not_best_of_question").row(0, named=True)
        return [*steps, Step("select", "rejected", f"{last['reason']}; {last['evidence']}")]
    chosen = selected.row(0, named=True)
    why = f"rank {chosen['rank']}, {chosen['chain_id']}, quality {chosen['quality']:.3f}"
    steps.append(Step("select", "kept", why))
    taken = trained_samples(artifacts).filter(pl.col("question_id") == question_id)
    return [*steps, Step("train", "rejected" if taken.is_empty() else "kept", chosen["teacher"])]


def _rows(path: Path, question_id: str) -> pl.DataFrame:
    """The rows of a table about the question; none where the stage writes no such table."""
    if not path.exists():
        return pl.DataFrame()
    return pl.scan_parquet(path).filter(pl.col("question_id") == question_id).collect()
