"""Have a model judge the answers that rules and symbols left open."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.core.params import ChatParams, Params
from tasks.engines.launch import open_engine
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.prompts import prompt_renderer
from tasks.engines.protocol import Engine
from tasks.grading.grader import Kept, Pair, Verdict, grade_many, kept_beside
from tasks.grading.judge import Case, may_be_asked, prompt, read_verdict
from tasks.ledger.ledger import Ledger
from tasks.records.benchmark import JUDGEMENT
from tasks.records.model import Model
from tasks.records.response import ATTEMPT, CUT_OFF, TOO_LONG
from tasks.sampling.sampler import Drawn, Group, Judge, Rule, Sampled, never, sample, with_texts, write_with_texts

# Draw samples of a model as params say: what every stage that samples calls.


def draw(
    groups: Sequence[Group],
    *,
    name: str,
    model: Model,
    engine: EngineParams,
    ledger: Path,
    rule: Rule = never,
    judge: Judge | None = None,
    start: Callable[[], Engine] | None = None,
) -> Sampled:
    """The samples of `groups` that count, with the model's name and id among the facts.

    Args:
        name: the stage, for progress.
        ledger: folder of the ledgers of all models; vLLM's log goes there, progress beside it.
        start: starts the engine, where it is not the one of params.
    """
    mine = engine.of(model.name)
    table, facts, book = sample(
        groups,
        name=name,
        model_id=model.model_id,
        ledger=Ledger(ledger, model.model_id, engine.flush_responses, engine.flush_seconds),
        open_engine=start or (lambda: open_engine(engine, model, ledger / model.model_id / "vllm.log")),
        places=mine.places,
        rule=rule,
        judge=judge,
        context=mine.max_model_len,
        progress=ledger.parent / "progress",
    )
    return Sampled(table, {"model": model.name, "model_id": model.model_id, **facts}, book)


# Graded samples of pool questions: what `screen`, `band` and `reason` decide on.

TOO_LONG_REASON = "prompt_too_long"
VERDICT = {"verdict": pl.String, "extracted": pl.String, "rule": pl.String, "verdict_reason": pl.String}

ROWS_A_FRAME = 50_000


class Attempts(NamedTuple):
    """The attempts by question and sample index, and the facts of the run."""

    table: pl.DataFrame
    """ATTEMPT without the text, and what finds it in the ledger."""
    facts: dict[str, Any]
    ledger: Ledger

    def whole(self) -> pl.DataFrame:
        """The attempts with their texts (ATTEMPT), in memory."""
        return with_texts(self.table, self.ledger).select(ATTEMPT.names())

    def write(self, path: Path) -> None:
        """Write the attempts with their texts (ATTEMPT) as Parquet, in bounded memory."""
        write_with_texts(self.table, self.ledger, path, ATTEMPT.names())


def attempt(
    questions: pl.DataFrame,
    *,
    name: str,
    model: Model,
    samples: int,
    sampling: SamplingParams,
    rule: Rule,
    engine: EngineParams,
    chat: ChatParams,
    ledger: Path,
    start: Callable[[], Engine] | None = None,
) -> Attempts:
    """Draw and grade up to `samples` responses of `model` to each question, until `rule` is certain.

    Args:
        start: starts the engine, where it is not the one of params.
    """
    render = prompt_renderer(Path(model.path), chat)
    groups = [
        Group(
            row["question_id"], render(row["question"]), row["answer"] or "", "auto", samples, sampling, render.opened
        )
        for row in questions.iter_rows(named=True)
    ]
    book = _Verdicts(kept_beside(ledger))
    table, facts, drawn_from = draw(
        groups, name=name, model=model, engine=engine, ledger=ledger, rule=rule, judge=book.judge, start=start
    )
    graded = table.rename({"key": "question_id"}).join(book.table(), on="place", how="left", maintain_order="left")
    unsent = pl.col("finish_reason") == TOO_LONG
    filled = {"verdict": "ungraded", "rule": "none", "verdict_reason": TOO_LONG_REASON}
    graded = graded.with_columns(
        pl.lit(model.model_id).alias("model_id"),
        *(pl.when(unsent).then(pl.lit(value)).otherwise(column).alias(column) for column, value in filled.items()),
    )
    ungraded = graded.filter(pl.col("verdict") == "ungraded").height
    return Attempts(graded, {**facts, "ungraded": ungraded}, drawn_from)


class _Verdicts:
    """The verdict of each sample by its place, in columns, so that millions fit in memory."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._rows: list[tuple[int, Verdict]] = []
        self._frames = [pl.DataFrame(schema={"place": pl.Int64, **VERDICT})]

    def judge(self, drawn: Sequence[Drawn]) -> list[bool]:
        graded = [one for one in drawn if one.finish_reason != TOO_LONG]
        verdicts = grade_many(
            [Pair(one.group.gold, one.text, one.group.kind, cut_off=one.finish_reason in CUT_OFF) for one in graded],
            kept=self._kept,
        )
        places = [one.place for one in graded]
        self._rows += zip(places, verdicts, strict=True)
        if len(self._rows) >= ROWS_A_FRAME:
            self._pack()
        right = {place for place, verdict in zip(places, verdicts, strict=True) if verdict.verdict == "correct"}
        return [one.place in right for one in drawn]

    def _pack(self) -> None:
        rows = [(place, *verdict[: len(VERDICT)]) for place, verdict in self._rows]
        self._frames.append(pl.DataFrame(rows, schema=self._frames[0].schema, orient="row"))
        self._rows.clear()

    def table(self) -> pl.DataFrame:
        self._pack()
        return pl.concat(self._frames)


def too_long(attempts: pl.DataFrame) -> pl.Series:
    """The ids of questions whose prompt leaves no room for a response."""
    return attempts.filter(pl.col("finish_reason") == TOO_LONG)["question_id"]


class JudgeParams(Params):
    """Which model judges, and how its judgements are drawn."""

    model: str
    """By its name under base.models. Paper: Qwen2.5-32B-Instruct, for answers that rules cannot compare."""
    sampling: SamplingParams = SamplingParams(temperature=0, max_tokens=1024)
    """How a judgement is drawn, one a different answer to an item. Paper: not stated."""


class Judged(NamedTuple):
    """The judgements (JUDGEMENT), one a different answer to an item, and the facts of drawing them."""

    table: pl.DataFrame
    facts: dict[str, Any]


def judge_open(
    verdicts: pl.DataFrame,
    items: pl.DataFrame,
    params: JudgeParams,
    model: Model,
    *,
    engine: EngineParams,
    chat: ChatParams,
    ledger: Path,
) -> Judged:
    """Judge each different answer to an item among the open `verdicts` (VERDICT) that a judge can decide.

    Args:
        items: the items (ITEM), with question and gold.
        ledger: folder of the ledgers of all models, where judgements are kept as all responses are.
    """
    cases = open_cases(verdicts, items)
    # The judge has an instruction of its own: the system message for solving would have it solve.
    render = prompt_renderer(Path(model.path), chat.model_copy(update={"system": None}))
    groups = [
        Group(
            str(place), render(prompt(Case(*map(render.disarmed, row)))), "", "auto", 1, params.sampling, render.opened
        )
        for place, row in enumerate(cases.select("question", "gold", "extracted").iter_rows())
    ]
    sampled = draw(groups, name="grade (judge)", model=model, engine=engine, ledger=ledger)
    drawn = with_texts(sampled.table, sampled.ledger).with_columns(pl.col("key").cast(pl.UInt32).alias("place"))
    said = cases.with_row_index("place").join(drawn, on="place", how="left", maintain_order="left")
    words = [read_verdict(text, finish) for text, finish in said.select("text", "finish_reason").iter_rows()]
    table = said.with_columns(verdict=pl.Series(words, dtype=pl.String), model_id=pl.lit(model.model_id))
    return Judged(table.select(JUDGEMENT.names()).cast(JUDGEMENT), sampled.facts)


def open_cases(verdicts: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """The different answers to judge: columns item_id, extracted, question, gold."""
    columns = verdicts.select("verdict", "extracted", "verdict_reason").iter_rows()
    asked = verdicts.filter(pl.Series([may_be_asked(*row) for row in columns], dtype=pl.Boolean))
    cases = asked.select("item_id", "extracted").unique(maintain_order=True)
    return cases.join(items.select("item_id", "question", "gold"), on="item_id", how="left", maintain_order="left")


def settle(verdicts: pl.DataFrame, judgements: pl.DataFrame, grader: str) -> pl.DataFrame:
    """The verdicts with what the judge decided; what it left open stays `ungraded`, by `judge_undecided`.

    Args:
        grader: version of the grader with this judge.
    """
    found = judgements.select("item_id", "extracted", judged="verdict", judged_by="response_id")
    joined = verdicts.join(found, on=["item_id", "extracted"], how="left", maintain_order="left")
    asked = (pl.col("verdict") == "ungraded") & pl.col("judged_by").is_not_null()
    decided = asked & pl.col("judged").is_not_null()
    return joined.with_columns(
        verdict=pl.when(decided).then("judged").otherwise("verdict"),
        rule=pl.when(decided).then(pl.lit("judge")).otherwise("rule"),
        verdict_reason=pl.when(asked)
        .then(pl.when(~decided).then(pl.lit("judge_undecided")))
        .otherwise("verdict_reason"),
        grader=pl.when(asked).then(pl.lit(grader)).otherwise("grader"),
        judge_response_id=pl.when(asked).then("judged_by").otherwise("judge_response_id"),
    ).select(verdicts.columns)
