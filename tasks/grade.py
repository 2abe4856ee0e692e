"""Grade every answer to the benchmarks, and score each arm on each of them.

Reads the benchmark items and the answers of both arms. Writes

- verdicts.parquet: one row an answer: correct, incorrect or ungraded, the extracted answer, the rule that decided;
- judgements.parquet: the responses of a judge to answers that the rules left open; empty where `grade.judge` is null;
- scores.parquet: pass@1 (pass@k and maj@k too) per benchmark and arm, and the macro average, each with its interval;
- comparisons.json: base against trained on the same items, with a paired test;
- metrics.json: the scores again, for `dvc metrics`;
- a manifest.

An ungraded or truncated answer counts as not correct, and is counted next to the score, never hidden in it.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from tasks.core.errors import LimoError
from tasks.core.files import publish, read_table, write_json
from tasks.core.params import ChatParams, Params
from tasks.core.stage import Stage, stage_main, write_manifest
from tasks.engines.params import EngineParams
from tasks.grading.grader import GRADER, Pair, Verdict, VerdictCache, answer_key, grade_many, verdict_cache
from tasks.grading.judge import judge_version
from tasks.grading.options import replace_by_letters
from tasks.grading.symbolic import Limits
from tasks.records.benchmark import ANSWER, ITEM, JUDGEMENT, VERDICT, verdict_id
from tasks.records.response import CUT_OFF, TOO_LONG
from tasks.sampling.judge import Judgements, JudgeParams, judge_open, settle
from tasks.sampling.sampler import Sampler
from tasks.scoring.scores import Resampling, metrics, score

STAGE = Stage("grade", "verdicts")


class GradeParams(Params):
    """How answers are graded and scores are made."""

    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Coverage of every interval. The paper gives none."""
    resamples: int = Field(default=10_000, ge=100)
    """Bootstrap and permutation resamples."""
    seed: int = 0
    """Of the resamples."""
    seconds: float = Field(default=3.0, gt=0)
    """CPU seconds of one symbolic check (2.5 more by the clock); then it is killed and the answer is ungraded."""
    memory_mb: int = Field(default=1_000, ge=300)
    """Address space of one worker, in megabytes."""
    workers: int = Field(default=0, ge=0)
    """Worker processes for symbolic checks; 0: one a core, at most 8."""
    judge: JudgeParams | None = None
    """The model that judges what rules and symbols leave open; null: that stays ungraded."""


def verdicts_of(items: pl.DataFrame, answers: pl.DataFrame, params: GradeParams, cache: VerdictCache) -> pl.DataFrame:
    """One verdict an answer by rules and symbols, in the order of the answers.

    Args:
        cache: symbolic verdicts of earlier runs.

    Raises:
        LimoError: an answer belongs to no item.
    """
    columns = items.select("item_id", "gold", "kind", "question")
    joined = answers.join(columns, on="item_id", how="left", maintain_order="left")
    orphans = joined.filter(pl.col("gold").is_null())
    if orphans.height:
        first = orphans["item_id"][0]
        raise LimoError(
            f"grade: {orphans.height} answers are to no known item, such as {first}; rerun `dvc repro answer`"
        )
    limits = Limits(params.seconds, params.memory_mb, params.workers)
    cut_off = joined.select(bare=pl.lit(value=False), cut_off=pl.col("finish_reason").is_in(CUT_OFF))
    pairs = [Pair(*row) for row in joined.select("gold", "text", "kind").hstack(cut_off).iter_rows()]
    pairs = replace_by_letters(pairs, joined["question"].to_list(), limits, cache)
    unsent = Verdict("ungraded", None, "none", "prompt_too_long")
    verdicts = [
        unsent if finish == TOO_LONG else verdict
        for finish, verdict in zip(joined["finish_reason"], grade_many(pairs, limits, cache), strict=True)
    ]
    keys = [
        None if verdict.extracted is None else answer_key(verdict.extracted, kind)
        for verdict, kind in zip(verdicts, joined["kind"], strict=True)
    ]
    graded = joined.with_columns(
        pl.Series("verdict", [v.verdict for v in verdicts], pl.String),
        pl.Series("extracted", [v.extracted for v in verdicts], pl.String),
        pl.Series("rule", [v.rule for v in verdicts], pl.String),
        pl.Series("verdict_reason", [v.reason for v in verdicts], pl.String),
        pl.lit(GRADER).alias("grader"),
        pl.Series("answer_key", keys, pl.String),
        pl.lit(None, pl.String).alias("judge_response_id"),
        pl.lit("").alias("verdict_id"),
    )
    return with_ids(graded.select(list(VERDICT)))


def with_ids(verdicts: pl.DataFrame) -> pl.DataFrame:
    """The verdicts with the ids that follow from response, item and grader."""
    ids = [verdict_id(*row) for row in verdicts.select("response_id", "item_id", "grader").iter_rows()]
    return verdicts.with_columns(verdict_id=pl.Series(ids, dtype=pl.String))


def facts(verdicts: pl.DataFrame, judged: Judgements) -> dict[str, Any]:
    """Counts for the report: which rules decided, what stayed ungraded, what was truncated."""
    ungraded = verdicts.filter(pl.col("verdict") == "ungraded")
    no_answer = verdicts.filter((pl.col("verdict") == "incorrect") & pl.col("extracted").is_null())
    return {
        "grader": verdicts["grader"].max(),
        "verdicts": tally(verdicts["verdict"]),
        "rules": tally(verdicts["rule"]),
        "ungraded": tally(ungraded["verdict_reason"]),
        "no_answer": tally(no_answer["verdict_reason"]),
        "truncated": int(verdicts["finish_reason"].is_in(CUT_OFF).sum()),
        "judge": judged.facts,
    }


def tally(values: pl.Series) -> dict[str, int]:
    """How often each value occurs, most frequent first."""
    return dict(Counter(values.to_list()).most_common())


def run(
    grade: GradeParams,
    engine: EngineParams,
    chat: ChatParams,
    *,
    items: Path,
    answers: Path,
    models: Path,
    ledger: Path,
    out: Path,
) -> None:
    """Write verdicts, scores and comparisons of the answers at `answers`."""
    item_table, answer_table = read_table(items, ITEM), read_table(answers, ANSWER)
    if answer_table.is_empty():
        raise LimoError(f"{answers}: holds no answers; rerun `dvc repro answer`")
    verdicts = verdicts_of(item_table, answer_table, grade, verdict_cache(ledger))
    judged = Judgements(pl.DataFrame(schema=JUDGEMENT), {})
    if grade.judge:
        # The judge has an instruction of its own: the system message for solving would have it solve.
        own = chat.model_copy(update={"system": None})
        name, sampling = grade.judge.model, grade.judge.sampling
        judge = Sampler.of(models, name, "grade.judge.model", engine, own, ledger, stage="grade (judge)")
        judged = judge_open(verdicts, item_table, judge, sampling)
        version = judge_version(judge.model.model_id, sampling.model_dump_json())
        verdicts = with_ids(settle(verdicts, judged.table, version))
    tables = score(verdicts, Resampling(grade.confidence, grade.resamples, grade.seed))
    with publish(out) as part:
        verdicts.write_parquet(part / "verdicts.parquet")
        judged.table.write_parquet(part / "judgements.parquet")
        tables.scores.write_parquet(part / "scores.parquet")
        write_json(part / "comparisons.json", tables.comparisons)
        write_json(part / "metrics.json", metrics(tables.scores))
        counts = facts(verdicts, judged)
        write_manifest(part, STAGE, takes=answers, taken=answer_table.height, kept=verdicts.height, facts=counts)


if __name__ == "__main__":
    stage_main(run)
