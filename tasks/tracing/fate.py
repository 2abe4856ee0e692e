"""What happened to one question at every stage: kept, or rejected with the reason and the evidence."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.errors import LimoError
from tasks.tracing.reasons import in_short, in_words
from tasks.tracing.rows import Rows, fetch
from tasks.tracing.text import number

FILTERS = ("pull", "clean", "decontaminate", "screen", "band")
LATER = ("reason", "score", "select", "train")
KEPT, REJECTED, NOT_RUN, UNSEEN = "kept", "rejected", "not run", "not seen"


class Step(NamedTuple):
    """What one stage did with the question."""

    stage: str
    outcome: str
    """`kept`, `rejected`, `not run` (the stage has not run yet), or `not seen` (it ran on other questions)."""
    why: str


def question_row(rows: Rows, question_id: str) -> dict[str, Any]:
    """The question as `pull` wrote it, kept or rejected.

    Raises:
        LimoError: `pull` never saw it.
    """
    for name in ("kept", "rejected"):
        found = rows.of("pull", name, question_id)
        if not found.is_empty():
            return found.row(0, named=True)
    pull = rows.artifacts / "pull"
    raise LimoError(f"{question_id}: not in {pull}; ids of another run have gone with its artifacts")


def require_pulled(artifacts: Path) -> Path:
    """The folder of `pull`.

    Raises:
        LimoError: it has not run.
    """
    if not Rows(artifacts, []).has_run("pull"):
        raise LimoError(f"{artifacts / 'pull'}: nothing there yet; `dvc repro pull` reads the sources")
    return artifacts / "pull"


def resolve(rows: Rows, prefix: str) -> str:
    """The one question id in `pull` that begins with `prefix`.

    Raises:
        LimoError: no id begins so, or several do; `pull` has not run.
    """
    pull = require_pulled(rows.artifacts)
    found = _begin_so(pull / "kept.parquet", prefix) | _begin_so(pull / "rejected.parquet", prefix)
    if prefix in found:
        return prefix
    if len(found) > 1:
        shown = ", ".join(sorted(found))
        raise LimoError(f"{prefix!r}: several questions have an id that begins so, such as {shown}; give more of it")
    if not found:
        other = "" if prefix.startswith("q_") else "; `limo trace` explains chains, scores and other records"
        raise LimoError(f"{prefix!r}: no question in {pull} has an id that begins so{other}")
    return found.pop()


def _begin_so(path: Path, prefix: str) -> set[str]:
    """The first and the last id that begins with `prefix`: one when only one does, none when none does."""
    if not path.exists():
        return set()
    identifier = pl.col("question_id")
    found = pl.scan_parquet(path).filter(identifier.str.starts_with(prefix))
    ends = fetch(path, found.select(first=identifier.min(), last=identifier.max())).row(0)
    return {end for end in ends if end is not None}


def question_fate(rows: Rows, question_id: str) -> list[Step]:
    """The stages in order, up to the one that rejected the question; those that have not run are there as such."""
    steps: list[Step] = []
    for stage in FILTERS:
        steps.append(_filtered(rows, stage, question_id))
        if steps[-1].outcome == NOT_RUN:
            return [*steps[:-1], *_not_run(rows, (*FILTERS, *LATER))]
        if steps[-1].outcome != KEPT:
            return steps
    return steps + _taught(rows, question_id)


def _filtered(rows: Rows, stage: str, question_id: str) -> Step:
    if not rows.has_run(stage):
        return Step(stage, NOT_RUN, "")
    attempts = _attempts(rows, stage, question_id)
    rejected = rows.of(stage, "rejected", question_id)
    if not rows.of(stage, "kept", question_id).is_empty():
        notes = (attempts, _repeated(rejected), _disagreeing(rows, stage, question_id))
        return Step(stage, KEPT, "; ".join(note for note in notes if note))
    if rejected.is_empty():
        return _unseen(stage)
    row = rejected.row(0, named=True)
    parts = (in_words(row["reason"]), in_short(row["evidence"]), attempts)
    return Step(stage, REJECTED, "; ".join(part for part in parts if part))


def _repeated(rejected: pl.DataFrame) -> str:
    """Only in `pull` can an id be kept and rejected: the source has the same text twice."""
    return f"{number(rejected.height, 'further row')} of the same text rejected" if rejected.height else ""


def _disagreeing(rows: Rows, stage: str, question_id: str) -> str:
    """A near duplicate that was kept, and whose answer is not that of the question it resembles."""
    clusters = rows.of(stage, "clusters", question_id)
    if clusters.is_empty() or clusters["agrees"][0]:
        return ""
    return f"flagged: {clusters['representative'][0]} says nearly the same and has another answer"


def _attempts(rows: Rows, stage: str, question_id: str) -> str:
    """How many of a filter's responses were right; empty for a stage that samples no model."""
    tried = rows.of(stage, "attempts", question_id)
    if tried.is_empty():
        return ""
    right = tried.filter(pl.col("verdict") == "correct").height
    return f"{right} of {number(tried.height, 'response')} right"


def _taught(rows: Rows, question_id: str) -> list[Step]:
    """From the teachers' chains to the training run."""
    steps: list[Step] = []
    for decide in (_reasoned, _scored, _selected, _trained):
        steps.append(decide(rows, question_id))
        if steps[-1].outcome == NOT_RUN:
            return [*steps[:-1], *_not_run(rows, LATER)]
        if steps[-1].outcome != KEPT:
            break
    return steps


def _reasoned(rows: Rows, question_id: str) -> Step:
    if not rows.has_run("reason"):
        return Step("reason", NOT_RUN, "")
    right, wrong = rows.of("reason", "kept", question_id).height, rows.of("reason", "rejected", question_id).height
    if not right + wrong:
        return _unseen("reason")
    return Step("reason", KEPT if right else REJECTED, f"{right} right chains of {right + wrong} responses")


def _scored(rows: Rows, question_id: str) -> Step:
    if not rows.has_run("score"):
        return Step("score", NOT_RUN, "")
    chains = rows.of("score", "chains", question_id)
    if chains.is_empty():
        return _unseen("score")
    best = chains.sort(["quality", "chain_id"], descending=[True, False]).row(0, named=True)
    return Step("score", KEPT, f"best {best['chain_id']} with quality {best['quality']:.3f}")


def _selected(rows: Rows, question_id: str) -> Step:
    if not rows.has_run("select"):
        return Step("select", NOT_RUN, "")
    selected = rows.of("select", "kept", question_id)
    if not selected.is_empty():
        chosen = selected.row(0, named=True)
        return Step("select", KEPT, f"rank {chosen['rank']}, {chosen['chain_id']}, quality {chosen['quality']:.3f}")
    rejected = rows.of("select", "rejected", question_id)
    if rejected.is_empty():
        return _unseen("select")
    # The reason of the best chain is the question's; that the others are not the best says nothing.
    last = rejected.sort(pl.col("reason") == "not_best_of_question", maintain_order=True).row(0, named=True)
    return Step("select", REJECTED, f"{in_words(last['reason'])}; {in_short(last['evidence'])}")


def _trained(rows: Rows, question_id: str) -> Step:
    if not rows.has_run("train"):
        return Step("train", NOT_RUN, "")
    left_out = rows.of("train", "rejected", question_id)
    if left_out.is_empty():
        return Step("train", KEPT, f"chain of {rows.of('select', 'kept', question_id)['teacher'][0]}")
    row = left_out.row(0, named=True)
    return Step("train", REJECTED, f"{in_words(row['reason'])}; {in_short(row['evidence'])}")


def _unseen(stage: str) -> Step:
    return Step(stage, UNSEEN, f"it ran on other questions; `dvc repro {stage}` brings it up to date")


def _not_run(rows: Rows, stages: Sequence[str]) -> list[Step]:
    return [Step(stage, NOT_RUN, "") for stage in stages if not rows.has_run(stage)]
