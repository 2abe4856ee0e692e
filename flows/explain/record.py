"""`limo trace`: a record, its ancestors, and the history of a question."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from flows.explain.question import Rows, history_table, question_row, title
from flows.explain.text import fields, percent, table
from tasks.core.errors import LimoError
from tasks.core.files import read_table
from tasks.core.tables import where
from tasks.provenance.edges import EDGE, ancestors, checkpoint_text, records_of, sample_origins, trained_model
from tasks.records.benchmark import ITEM, JUDGEMENT, SCORE, VERDICT
from tasks.records.model import Model, load_models
from tasks.records.question import QUESTION
from tasks.records.response import SCORED

MOST = 100
"""Samples shown of a trained model."""
RESPONSES = (("attempts",), ("answers",), ("judgements",), ("kept", "rejected"))
"""The tables in which a stage writes its responses: the first of these that it has."""


def describe(artifacts: Path, id_prefix: str) -> str:
    """The record whose id begins with `id_prefix`, as text for a terminal.

    Raises:
        LimoError: no id begins so, or several do.
    """
    edges = read_table(artifacts / "lineage" / "edges.parquet", EDGE)
    identifier, kind = find_record(artifacts, edges, id_prefix)
    return "\n".join(_DESCRIBE[kind](artifacts, edges, identifier)) + "\n"


def find_record(artifacts: Path, edges: pl.DataFrame, id_prefix: str) -> tuple[str, str]:
    """The one id, and its kind, that begins with `id_prefix`."""
    pool = [
        read_table(artifacts / "pull" / f"{name}.parquet", {"question_id": QUESTION["question_id"]})
        for name in ("kept", "rejected")
    ]
    questions = pl.concat(pool).select(id="question_id", kind=pl.lit("question"))
    items = read_table(artifacts / "benchmarks" / "items.parquet", {"item_id": ITEM["item_id"]})
    named = pl.concat([records_of(edges), questions, items.select(id="item_id", kind=pl.lit("item"))])
    found = named.filter(pl.col("id").str.starts_with(id_prefix)).unique("id").sort("id")
    if found.is_empty() or not id_prefix:
        raise LimoError(
            f"{id_prefix!r}: no record in {artifacts} has an id that begins so; `limo results` shows scores, and"
            " `dvc repro` renews the lineage when it is older than they are"
        )
    exact = found.filter(pl.col("id") == id_prefix)
    if exact.is_empty() and found.height > 1:
        shown = ", ".join(found["id"].head(4))
        raise LimoError(f"{id_prefix!r}: {found.height:,} ids begin so, such as {shown}; give more of it")
    identifier, kind = (found if exact.is_empty() else exact).row(0)
    return identifier, kind


def _score(artifacts: Path, edges: pl.DataFrame, identifier: str) -> list[str]:
    score = _row(artifacts / "grade" / "scores.parquet", SCORE, "score_id", identifier)
    verdicts = _parents(edges, identifier, "verdict")
    counts = _verdicts(artifacts).filter(pl.col("verdict_id").is_in(verdicts.implode()))["verdict"].value_counts()
    counts = counts.sort("verdict")
    shown = {
        "score": f"{identifier} · {score['benchmark']} · {score['metric']} · {score['arm']} model",
        "value": f"{percent(score['value'], score['low'], score['high'])} (95% interval)",
        "over": f"{score['items']} items x {score['samples']} responses, {score['mean_tokens']:.0f} tokens on average",
        "verdicts": f"{verdicts.len()}: {', '.join(f'{count} {name}' for name, count in counts.iter_rows())}"
        f"; {score['truncated']} truncated",
        "grader": score["grader"],
    }
    return [*fields(shown), *_model(artifacts, edges, score["model_id"])]


def _model(artifacts: Path, edges: pl.DataFrame, identifier: str) -> list[str]:
    model = _models(artifacts)[identifier]
    samples = _parents(edges, identifier, "chain")
    if samples.is_empty():
        lines = fields(
            {"model": f"{identifier} · {model.name} · {model.parameters:,} parameters", "from": model.origin}
        )
        return [*lines, "It was not trained here, so no sample lies behind it."]
    base = _models(artifacts)[_parents(edges, identifier, "model")[0]]
    questions = ancestors(edges, identifier).filter(pl.col("kind") == "question").height
    shown = {
        "model": f"{identifier} · {model.name} · {model.parameters:,} parameters · {model.path}",
        "trained from": f"{base.model_id} · {base.name} · {base.origin}",
        "trained on": f"{samples.len()} samples of {questions} pool questions",
        "checkpoint": checkpoint_text(artifacts),
    }
    return [*fields(shown), "", *_training_samples(artifacts)]


def _training_samples(artifacts: Path) -> list[str]:
    trails = sample_origins(artifacts)
    rows = [
        {
            "rank": row["rank"],
            "chain": row["chain_id"],
            "quality": f"{row['quality']:.3f}",
            "teacher": row["teacher"],
            "response": row["response_id"],
            "question": row["question_id"],
            "source": row["source"],
            "origin": row["origin"],
            "band": f"{row['solved']}/{row['sampled']}",
            "screen": f"0/{row['screened']}",
            "text": row["question"],
        }
        for row in trails.head(MOST).iter_rows(named=True)
    ]
    rest = trails.height - MOST
    return table(rows) + ([f"... and {rest} more in {artifacts / 'select' / 'kept.parquet'}"] if rest > 0 else [])


def _verdict(artifacts: Path, edges: pl.DataFrame, identifier: str) -> list[str]:
    row = _row(artifacts / "grade" / "verdicts.parquet", VERDICT, "verdict_id", identifier)
    reason = f" ({row['verdict_reason']})" if row["verdict_reason"] else ""
    decided = f"{identifier} · {row['verdict']} by {row['rule']}{reason}"
    shown = {"verdict": decided, "extracted": row["extracted"], "grader": row["grader"]}
    shown |= _judged_by(artifacts, row["judge_response_id"])
    return [*fields(shown), *_item(artifacts, edges, row["item_id"]), *_response(artifacts, edges, row["response_id"])]


def _judged_by(artifacts: Path, identifier: str | None) -> dict[str, str]:
    """The judge of a verdict, where one decided it, and the end of its response."""
    if identifier is None:
        return {}
    row = _row(artifacts / "grade" / "judgements.parquet", JUDGEMENT, "response_id", identifier)
    lines = row["text"].strip().splitlines() or [f"nothing ({row['finish_reason']})"]
    return {"judged in": f"{identifier} · {_models(artifacts)[row['model_id']].name}", "last line": lines[-1]}


def _item(artifacts: Path, edges: pl.DataFrame, identifier: str) -> list[str]:
    row = _row(artifacts / "benchmarks" / "items.parquet", ITEM, "item_id", identifier)
    verdicts = _verdicts(artifacts).filter(pl.col("item_id") == identifier)
    counts = verdicts.group_by("arm", "verdict").len().sort("arm", "verdict")
    shown = {
        "item": f"{identifier} · {row['benchmark']} · {row['origin']}",
        "text": row["question"],
        "gold": row["gold"],
        "gold is": row["gold_kind"],
        "verdicts": ", ".join(f"{arm}: {count} {verdict}" for arm, verdict, count in counts.iter_rows()),
    }
    return fields(shown)


def _response(artifacts: Path, edges: pl.DataFrame, identifier: str) -> list[str]:
    stages = edges.filter(pl.col("child_id") == identifier)["stage"].unique(maintain_order=True).to_list()
    model = _models(artifacts)[_parents(edges, identifier, "model")[0]]
    samples = {stage: _response_row(artifacts, stage, identifier) for stage in stages}
    shown = {
        "response": f"{identifier} · sampled in {', '.join(stages)}",
        "by": f"{model.model_id} · {model.name}",
        "graded": "; ".join(_verdict_on(artifacts, stage, sample) for stage, sample in samples.items()),
        "text": samples[stages[0]]["text"],
    }
    questions = _parents(edges, identifier, "question")
    return fields(shown) + [line for question in questions for line in ["", *_question(artifacts, edges, question)]]


def _chain(artifacts: Path, edges: pl.DataFrame, identifier: str) -> list[str]:
    row = _row(artifacts / "score" / "chains.parquet", SCORED, "chain_id", identifier)
    dimensions = ("elaboration", "verification", "exploration", "granularity")
    shown = {
        "chain": f"{identifier} · quality {row['quality']:.3f}",
        "of which": ", ".join(f"{name} {row[name]:.2f}" for name in dimensions),
        "length": f"{row['n_tokens']} tokens",
    }
    return [*fields(shown), *_response(artifacts, edges, row["response_id"])]


def _question(artifacts: Path, edges: pl.DataFrame, identifier: str) -> list[str]:
    rows = Rows(artifacts, [identifier])
    row = question_row(rows, identifier)
    shown = {
        "question": title(row),
        "text": row["question"],
        "answer": row["answer"],
        "domain": row["domain"],
        "level": row["level"],
    }
    history = history_table(rows, identifier, width=110)
    return [*fields(shown), "", *history, "", f"`limo why {identifier}` shows the evidence in full."]


def _row(path: Path, schema: pl.Schema, column: str, identifier: str) -> dict[str, Any]:
    found = read_table(path, schema).filter(pl.col(column) == identifier)
    if found.is_empty():
        raise LimoError(f"{path}: has no {identifier}; the lineage is of another run, `dvc repro lineage` renews it")
    return found.row(0, named=True)


def _verdicts(artifacts: Path) -> pl.DataFrame:
    columns = ("verdict_id", "item_id", "arm", "verdict")
    return read_table(artifacts / "grade" / "verdicts.parquet", {name: VERDICT[name] for name in columns})


def _parents(edges: pl.DataFrame, identifier: str, kind: str) -> pl.Series:
    return edges.filter((pl.col("child_id") == identifier) & (pl.col("parent_kind") == kind))["parent_id"]


def _models(artifacts: Path) -> dict[str, Model]:
    models = [*load_models(artifacts / "base" / "models.json").values(), trained_model(artifacts)]
    return {model.model_id: model for model in models}


def _response_row(artifacts: Path, stage: str, identifier: str) -> dict[str, Any]:
    """The row of a response in the tables of the stage that sampled it."""
    folder = artifacts / stage
    names = next((names for names in RESPONSES if (folder / f"{names[0]}.parquet").exists()), ())
    tables = (where(folder / f"{name}.parquet", "response_id", [identifier]) for name in names)
    for found in tables:
        if not found.is_empty():
            return found.row(0, named=True)
    raise LimoError(f"{folder}: has no {identifier}; the lineage is of another run, `dvc repro lineage` renews it")


def _verdict_on(artifacts: Path, stage: str, sample: dict[str, Any]) -> str:
    """The verdict on a response in the stage that sampled it."""
    if stage == "grade":
        return f"{stage}: a judgement of {sample['extracted']}: {sample['verdict'] or 'undecided'}"
    if stage == "answer":
        sample = _row(artifacts / "grade" / "verdicts.parquet", VERDICT, "response_id", sample["response_id"])
    if "verdict" not in sample:
        # `reason` writes what it rejects with the verdict; what it keeps is right.
        return f"{stage}: correct"
    return f"{stage}: {sample['verdict']}, extracted {sample['extracted'] or sample['verdict_reason'] or 'nothing'}"


_DESCRIBE: dict[str, Callable[[Path, pl.DataFrame, str], list[str]]] = {
    "score": _score,
    "verdict": _verdict,
    "item": _item,
    "response": _response,
    "chain": _chain,
    "question": _question,
    "model": _model,
}
