"""The edges of lineage: every record with the records it was made from, by the ids in the tables; and its ancestors."""

from pathlib import Path
from typing import NamedTuple

import polars as pl

from tasks.core.errors import LimoError
from tasks.core.files import manifest_path, read_table
from tasks.core.stage import read_manifest
from tasks.records.benchmark import ANSWER, ITEM, JUDGEMENT, SCORE, VERDICT
from tasks.records.model import Model, load_models
from tasks.records.question import BANDED, QUESTION
from tasks.records.response import ATTEMPT, CHAIN, SAMPLE

EDGE = pl.Schema(
    {
        "child_id": pl.String,
        "child_kind": pl.String,
        "parent_id": pl.String,
        "parent_kind": pl.String,
        "stage": pl.String,
    }
)
"""A child record and one it was made from. Kinds: question, response, chain, model, item, verdict, score. `stage` made
the child."""

PARENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "response": (("model",), ("question", "item")),
    "chain": (("response",), ("question",)),
    "verdict": (("response",), ("item",)),
    "score": (("verdict",), ("model",)),
}
"""What each kind of record must have been made from: one of each group."""

AVERAGE = "average"
"""The benchmark that an arm's average over all benchmarks is written under."""

ROOTS = ("question", "item", "model")


class IdColumn(NamedTuple):
    """A column of ids, and the kind of record they name."""

    column: str
    kind: str


RESPONSE = IdColumn("response_id", "response")
QUESTIONS = IdColumn("question_id", "question")
MODELS = IdColumn("model_id", "model")
ITEMS = IdColumn("item_id", "item")


def build_edges(artifacts: Path) -> pl.DataFrame:
    """All edges (EDGE) of a run, from the tables of its stages; each pair of child and parent once."""
    tables = [*_sampled(artifacts), _chains(artifacts), _trained(artifacts), *_answered(artifacts), *_graded(artifacts)]
    return pl.concat(tables).unique(["child_id", "parent_id"], keep="first", maintain_order=True)


def trained_samples(artifacts: Path) -> pl.DataFrame:
    """The selected samples (SAMPLE) that were trained on, the best first."""
    samples = read_table(artifacts / "select" / "kept.parquet", SAMPLE).sort("rank")
    left_out = artifacts / "train" / "rejected.parquet"
    if not left_out.exists():
        return samples
    return samples.join(_ids(left_out, SAMPLE, "chain_id"), on="chain_id", how="anti", maintain_order="left")


def trained_model(artifacts: Path) -> Model:
    """The model that `train` made."""
    return next(iter(load_models(artifacts / "train" / "model.json").values()))


def base_model_id(artifacts: Path) -> str:
    """The id of the model that training started from."""
    facts = read_manifest(artifacts, "train").facts
    if "base_model_id" not in facts:
        raise LimoError(f"{manifest_path(artifacts, 'train')}: no fact base_model_id; run `dvc repro -f -s train`")
    return str(facts["base_model_id"])


def checkpoint_text(artifacts: Path) -> str:
    """Which of its checkpoints the trained model is, and by what rule, in words."""
    return str(read_manifest(artifacts, "train").facts["checkpoint"]["text"])


def training_job(artifacts: Path) -> str:
    """The key of the training job, which names its checkpoints and its live curves."""
    return str(read_manifest(artifacts, "train").facts.get("run", ""))


def require_connected(edges: pl.DataFrame, artifacts: Path) -> None:
    """Raise a LimoError naming the first record that was made from nothing, or from something no table has."""
    for kind, groups in PARENTS.items():
        for group in groups:
            _require_parent(edges, kind, group)
    trained = edges.filter(pl.col("stage") == "train")
    _require_parent(trained, "model", ("chain",))
    known = {
        "question": read_table(artifacts / "pull" / "kept.parquet", {"question_id": QUESTION["question_id"]}),
        "item": read_table(artifacts / "benchmarks" / "items.parquet", {"item_id": ITEM["item_id"]}),
        "model": pl.DataFrame({"model_id": [*_model_ids(artifacts)]}),
    }
    for kind in ROOTS:
        _require_known(edges, kind, known[kind].to_series())


def _sampled(artifacts: Path) -> list[pl.DataFrame]:
    """Responses of the filters and the teachers, from question and model."""
    edges = []
    for stage, name in (("screen", "attempts"), ("band", "attempts"), ("reason", "kept"), ("reason", "rejected")):
        attempts = _ids(artifacts / stage / f"{name}.parquet", ATTEMPT, "response_id", "question_id", "model_id")
        edges += [_edges(attempts, RESPONSE, parent, stage) for parent in (QUESTIONS, MODELS)]
    return edges


def _chains(artifacts: Path) -> pl.DataFrame:
    chains = _ids(artifacts / "reason" / "kept.parquet", CHAIN, "chain_id", "response_id", "question_id")
    chain = IdColumn("chain_id", "chain")
    return pl.concat([_edges(chains, chain, parent, "reason") for parent in (RESPONSE, QUESTIONS)])


def _trained(artifacts: Path) -> pl.DataFrame:
    """The trained model, from its samples and its base."""
    child, base = trained_model(artifacts).model_id, base_model_id(artifacts)
    samples = trained_samples(artifacts).select(pl.lit(child).alias("model_id"), "chain_id")
    from_base = pl.DataFrame({"model_id": [child], "base": [base]})
    chains = _edges(samples, MODELS, IdColumn("chain_id", "chain"), "train")
    return pl.concat([chains, _edges(from_base, MODELS, IdColumn("base", "model"), "train")])


def _answered(artifacts: Path) -> list[pl.DataFrame]:
    answers = _ids(artifacts / "answer" / "answers.parquet", ANSWER, "response_id", "item_id", "model_id")
    return [_edges(answers, RESPONSE, parent, "answer") for parent in (ITEMS, MODELS)]


def _graded(artifacts: Path) -> list[pl.DataFrame]:
    """Verdicts from responses and items; scores from all their verdicts and their model."""
    of = ["benchmark", "arm", "model_id"]
    verdicts = _ids(artifacts / "grade" / "verdicts.parquet", VERDICT, "verdict_id", "response_id", "item_id", *of)
    scores = _ids(artifacts / "grade" / "scores.parquet", SCORE, "score_id", *of)
    verdict, score = IdColumn("verdict_id", "verdict"), IdColumn("score_id", "score")
    averages = pl.col("benchmark") == AVERAGE
    single = scores.filter(~averages).join(verdicts, on=of, maintain_order="left_right")
    average = scores.filter(averages).join(verdicts, on=of[1:], maintain_order="left_right")
    made = pl.concat([single.select("score_id", "verdict_id"), average.select("score_id", "verdict_id")])
    edges = [_edges(verdicts, verdict, parent, "grade") for parent in (RESPONSE, ITEMS)]
    return [*edges, *_judged(artifacts), _edges(made, score, verdict, "grade"), _edges(scores, score, MODELS, "grade")]


def _judged(artifacts: Path) -> list[pl.DataFrame]:
    """Judgements from item and model; verdicts from the judgement that decided them."""
    said = _ids(artifacts / "grade" / "judgements.parquet", JUDGEMENT, "response_id", "item_id", "model_id")
    verdicts = _ids(artifacts / "grade" / "verdicts.parquet", VERDICT, "verdict_id", "judge_response_id").drop_nulls()
    by_judge = _edges(verdicts, IdColumn("verdict_id", "verdict"), IdColumn("judge_response_id", "response"), "grade")
    return [by_judge, *(_edges(said, RESPONSE, parent, "grade") for parent in (ITEMS, MODELS))]


def _ids(path: Path, schema: pl.Schema, *columns: str) -> pl.DataFrame:
    """Some columns of a table; texts, which are nearly all of it, are not read."""
    return read_table(path, {column: schema[column] for column in columns})


def _edges(table: pl.DataFrame, child: IdColumn, parent: IdColumn, stage: str) -> pl.DataFrame:
    return table.select(
        child_id=pl.col(child.column),
        child_kind=pl.lit(child.kind),
        parent_id=pl.col(parent.column),
        parent_kind=pl.lit(parent.kind),
        stage=pl.lit(stage),
    ).cast(EDGE)


def _model_ids(artifacts: Path) -> list[str]:
    models = load_models(artifacts / "base" / "models.json").values()
    return [*(model.model_id for model in models), trained_model(artifacts).model_id]


def _require_parent(edges: pl.DataFrame, kind: str, group: tuple[str, ...]) -> None:
    """Every record of the kind, as a child or a parent, has a parent of one of the group's kinds."""
    children = edges.filter(pl.col("child_kind") == kind)["child_id"]
    parents = edges.filter(pl.col("parent_kind") == kind)["parent_id"] if kind in PARENTS else children.clear()
    connected = edges.filter(pl.col("parent_kind").is_in(group))["child_id"]
    lost = pl.concat([children, parents]).unique(maintain_order=True)
    lost = lost.filter(~lost.is_in(connected.implode()))
    if not lost.is_empty():
        others = f" (and {lost.len() - 1:,} more)" if lost.len() > 1 else ""
        missing = " or ".join(group)
        raise LimoError(f"lineage: {kind} {lost[0]}{others} was made from no {missing}; run `dvc repro --force`")


def _require_known(edges: pl.DataFrame, kind: str, known: pl.Series) -> None:
    named = edges.filter(pl.col("parent_kind") == kind).select("parent_id", "stage").unique(maintain_order=True)
    lost = named.filter(~pl.col("parent_id").is_in(known.implode()))
    if not lost.is_empty():
        identifier, stage = lost.row(0)
        raise LimoError(f"lineage: {stage} used {kind} {identifier}, which no table has; run `dvc repro -f {stage}`")


def sample_origins(artifacts: Path) -> pl.DataFrame:
    """The samples that were trained on, the best first, each with its question's source and difficulty.

    Returns:
        The columns of SAMPLE, and the question's `source`, `origin`, `level`, `solved` of `sampled` in `band`, and
        `screened`, the attempts that `screen` made on it.
    """
    columns = ("question_id", "source", "origin", "level", "solved", "sampled")
    banded = read_table(artifacts / "band" / "kept.parquet", {name: BANDED[name] for name in columns})
    attempts = read_table(artifacts / "screen" / "attempts.parquet", {"question_id": ATTEMPT["question_id"]})
    screened = attempts.group_by("question_id").agg(screened=pl.len().cast(pl.Int64))
    origins = trained_samples(artifacts).join(banded, on="question_id", how="left", maintain_order="left")
    origins = origins.join(screened, on="question_id", how="left", maintain_order="left")
    return origins.with_columns(pl.col("screened").fill_null(0))


def ancestors(edges: pl.DataFrame, identifier: str) -> pl.DataFrame:
    """Every record that `identifier` was made from, directly or not, each once.

    Args:
        edges: all edges of a run (EDGE).

    Returns:
        Columns `id`, `kind`, and `depth`: the fewest steps from `identifier` to it.
    """
    found = pl.DataFrame(schema={"id": pl.String, "kind": pl.String, "depth": pl.Int64})
    frontier = pl.DataFrame({"id": [identifier]})
    depth = 0
    while not frontier.is_empty():
        depth += 1
        parents = edges.join(frontier, left_on="child_id", right_on="id", how="semi", maintain_order="left")
        parents = parents.select(id="parent_id", kind="parent_kind", depth=pl.lit(depth, pl.Int64))
        parents = parents.unique("id", maintain_order=True)
        # What was found before is not visited again, so that a cycle, which would be a bug, still ends.
        frontier = parents.join(found, on="id", how="anti", maintain_order="left")
        found = pl.concat([found, frontier])
    return found


def require_questions(edges: pl.DataFrame, model_id: str) -> int:
    """How many pool questions a trained model's scores come from.

    Raises:
        LimoError: a score of that model reaches no question, or there is no score of it.
    """
    scored = edges.filter((pl.col("child_kind") == "score") & (pl.col("parent_id") == model_id))
    if scored.is_empty():
        raise LimoError(f"lineage: no score was made of the trained model {model_id}; run `dvc repro -f -s grade`")
    # Every score has an edge to its model, so what the model reaches is what each of its scores reaches.
    questions = ancestors(edges, model_id).filter(pl.col("kind") == "question").height
    if questions == 0:
        score = scored["child_id"][0]
        raise LimoError(f"lineage: score {score} of {model_id} reaches no question; run `dvc repro --force`")
    return questions


def records_of(edges: pl.DataFrame) -> pl.DataFrame:
    """Every record named by the edges, with its kind, each once: columns `id` and `kind`."""
    assert set(EDGE) <= set(edges.columns)
    children = edges.select(id="child_id", kind="child_kind")
    parents = edges.select(id="parent_id", kind="parent_kind")
    return pl.concat([children, parents]).unique("id", maintain_order=True)
