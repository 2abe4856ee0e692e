"""Grade every answer to the benchmarks, and score each arm on each of them.

Reads the benchmark items and the answers of both arms. Writes

- verdicts.parquet: one row an answer: correct, incorrect or ungraded, what was extracted, the rule that decided;
- scores.parquet: pass@1 (pass@k and maj@k too) per benchmark and arm, and the macro average, each with its interval;
- comparisons.json: base against trained on the same items, with a paired test;
- metrics.json: the scores again, for `dvc metrics`;
- manifest.json.

An ungraded or truncated answer counts as not correct, and is counted beside the score, never hidden in it.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from pydantic import Field

from tasks.errors import LimoError
from tasks.files import publish, read_table, write_json
from tasks.grading.grader import GRADER, Pair, Verdict, answer_key, grade_many
from tasks.grading.majority import majority_at_k
from tasks.grading.statistics import Comparison, Estimate, Matrix, compare, macro, mean, rate
from tasks.grading.symbolic import Limits
from tasks.manifest import write_manifest
from tasks.params import Params
from tasks.records.benchmark import ANSWER, ITEM, SCORE, VERDICT, score_id, verdict_id
from tasks.records.response import CUT_OFF, TOO_LONG
from tasks.stage import stage_main

AVERAGE = "average"
ARMS = ("base", "trained")


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


class Outcomes(NamedTuple):
    """The verdicts of one arm on one benchmark, as items by samples: 1 where the answer is correct."""

    item_ids: list[str]
    matrix: Matrix
    keys: list[list[str | None]]
    """The answers of each item, equal for equal ones."""


class Graded(NamedTuple):
    """What `score` makes of the verdicts."""

    scores: pl.DataFrame
    comparisons: dict[str, dict[str, Any]]


def judge(items: pl.DataFrame, answers: pl.DataFrame, params: GradeParams) -> pl.DataFrame:
    """One verdict an answer, in the order of the answers.

    Raises:
        LimoError: an answer belongs to no item.
    """
    joined = answers.join(items.select("item_id", "gold", "kind"), on="item_id", how="left", maintain_order="left")
    orphans = joined.filter(pl.col("gold").is_null())
    if orphans.height:
        first = orphans["item_id"][0]
        raise LimoError(
            f"grade: {orphans.height} answers are to no known item, such as {first}; rerun `dvc repro answer`"
        )
    limits = Limits(params.seconds, params.memory_mb, params.workers)
    pairs = [Pair(*row) for row in joined.select("gold", "text", "kind").iter_rows()]
    unsent = Verdict("ungraded", None, "none", "prompt_too_long")
    verdicts = [
        unsent if finish == TOO_LONG else verdict
        for finish, verdict in zip(joined["finish_reason"], grade_many(pairs, limits), strict=True)
    ]
    ids = joined.select("response_id", "item_id").iter_rows()
    graded = joined.with_columns(
        pl.Series("verdict_id", [verdict_id(response, item, GRADER) for response, item in ids], pl.String),
        pl.Series("verdict", [v.verdict for v in verdicts], pl.String),
        pl.Series("extracted", [v.extracted for v in verdicts], pl.String),
        pl.Series("rule", [v.rule for v in verdicts], pl.String),
        pl.Series("verdict_reason", [v.reason for v in verdicts], pl.String),
        pl.lit(GRADER).alias("grader"),
        pl.Series("answer_key", _keys(verdicts, joined["kind"]), pl.String),
    )
    return graded.select(list(VERDICT))


def _keys(verdicts: list[Verdict], rules: pl.Series) -> list[str | None]:
    return [
        None if verdict.extracted is None else answer_key(verdict.extracted, kind)
        for verdict, kind in zip(verdicts, rules, strict=True)
    ]


def score(verdicts: pl.DataFrame, params: GradeParams) -> Graded:
    """Scores per benchmark and arm, the macro average of each arm, and the paired comparisons."""
    groups = {
        (str(key[0]), str(key[1])): group for key, group in verdicts.group_by(["benchmark", "arm"], maintain_order=True)
    }
    outcomes = {key: outcomes_of(group) for key, group in groups.items()}
    rows = [row for key, group in groups.items() for row in benchmark_rows(*key, group, outcomes[key], params)]
    for arm in dict.fromkeys(arm for _, arm in groups):
        matrices = [outcome.matrix for key, outcome in outcomes.items() if key[1] == arm]
        estimate = macro(matrices, confidence=params.confidence, resamples=params.resamples, seed=params.seed)
        rows.append(score_row(AVERAGE, arm, "pass@1", estimate, verdicts.filter(pl.col("arm") == arm)))
    comparisons = {
        benchmark: paired(benchmark, outcomes[benchmark, "base"], outcomes[benchmark, "trained"], params)._asdict()
        for benchmark in dict.fromkeys(benchmark for benchmark, _ in groups)
        if all((benchmark, arm) in outcomes for arm in ARMS)
    }
    return Graded(pl.DataFrame(rows, schema=SCORE), comparisons)


def outcomes_of(group: pl.DataFrame) -> Outcomes:
    """The outcomes of one arm on one benchmark, items in the order of their ids.

    Raises:
        LimoError: some item has fewer answers than the others.
    """
    verdict = (pl.col("verdict") == "correct").cast(pl.Int64)
    by_item = group.group_by("item_id").agg(verdict, "answer_key").sort("item_id")
    counts = by_item["verdict"].list.len()
    if counts.n_unique() != 1:
        spread = ", ".join(str(count) for count in sorted(set(counts.to_list())))
        name = f"{group.item(0, 'benchmark')}/{group.item(0, 'arm')}"
        raise LimoError(f"grade: {name}: items have unequal numbers of answers ({spread}); rerun `dvc repro answer`")
    matrix = np.array(by_item["verdict"].to_list(), dtype=np.int64)
    return Outcomes(by_item["item_id"].to_list(), matrix, by_item["answer_key"].to_list())


def benchmark_rows(
    benchmark: str, arm: str, group: pl.DataFrame, outcomes: Outcomes, params: GradeParams
) -> Iterator[dict[str, Any]]:
    """A row for pass@1, and for each further k that the number of samples allows; maj@k from 3 samples on."""
    matrix = outcomes.matrix
    how: dict[str, Any] = {"confidence": params.confidence, "resamples": params.resamples, "seed": params.seed}
    for k in ks(matrix.shape[1]):
        yield score_row(benchmark, arm, f"pass@{k}", rate(matrix, k, **how), group)
    for k in ks(matrix.shape[1]):
        if k > 2:
            # A vote of two is agreement or a tie.
            items = zip(matrix.tolist(), outcomes.keys, strict=True)
            voted = np.array([majority_at_k(correct, keys, k, params.seed) for correct, keys in items])
            yield score_row(benchmark, arm, f"maj@{k}", mean(voted, **how), group)


def ks(samples: int) -> Iterator[int]:
    """The k of the pass@k reported: the powers of two below the number of samples, and that number."""
    k = 1
    while k < samples:
        yield k
        k *= 2
    yield samples


def score_row(benchmark: str, arm: str, metric: str, estimate: Estimate, group: pl.DataFrame) -> dict[str, Any]:
    """One row of scores.parquet; `group` holds the verdicts that went into it."""
    model_id, items = group["model_id"][0], group["item_id"].n_unique()
    return {
        "score_id": score_id(benchmark, model_id, metric, GRADER, group["verdict_id"].to_list()),
        "benchmark": benchmark,
        "arm": arm,
        "model_id": model_id,
        "metric": metric,
        **estimate._asdict(),
        "items": items,
        "samples": group.height // items,
        "ungraded": int((group["verdict"] == "ungraded").sum()),
        "truncated": int(group["finish_reason"].is_in(CUT_OFF).sum()),
        "mean_tokens": float(group["n_tokens"].to_numpy().mean()),
        "grader": GRADER,
    }


def paired(benchmark: str, base: Outcomes, trained: Outcomes, params: GradeParams) -> Comparison:
    """Base against trained on the items of one benchmark.

    Raises:
        LimoError: the arms answered different items.
    """
    if base.item_ids != trained.item_ids:
        odd = len(set(base.item_ids) ^ set(trained.item_ids))
        raise LimoError(f"grade: {benchmark}: {odd} items were answered by one arm only; rerun `dvc repro answer`")
    return compare(
        base.matrix, trained.matrix, confidence=params.confidence, resamples=params.resamples, seed=params.seed
    )


def metrics(scores: pl.DataFrame) -> dict[str, dict[str, float]]:
    """pass@1 per benchmark and arm, as `dvc metrics` shows it."""
    table: dict[str, dict[str, float]] = {}
    for row in scores.filter(pl.col("metric") == "pass@1").iter_rows(named=True):
        table.setdefault(row["benchmark"], {})[row["arm"]] = row["value"]
    return table


def facts(verdicts: pl.DataFrame) -> dict[str, Any]:
    """What the report tells of the grading: which rules decided, what stayed ungraded, what was cut off."""
    ungraded = verdicts.filter(pl.col("verdict") == "ungraded")
    no_answer = verdicts.filter((pl.col("verdict") == "incorrect") & pl.col("extracted").is_null())
    return {
        "grader": GRADER,
        "verdicts": tally(verdicts["verdict"]),
        "rules": tally(verdicts["rule"]),
        "ungraded": tally(ungraded["verdict_reason"]),
        "no_answer": tally(no_answer["verdict_reason"]),
        "truncated": int(verdicts["finish_reason"].is_in(CUT_OFF).sum()),
    }


def tally(values: pl.Series) -> dict[str, int]:
    """How often each value occurs, most frequent first."""
    return dict(Counter(values.to_list()).most_common())


def run(grade: GradeParams, *, items: Path, answers: Path, out: Path) -> None:
    """Write verdicts, scores and comparisons of the answers at `answers`."""
    table = read_table(answers, ANSWER)
    if table.is_empty():
        raise LimoError(f"{answers}: holds no answers; rerun `dvc repro answer`")
    verdicts = judge(read_table(items, ITEM), table, grade)
    graded = score(verdicts, grade)
    with publish(out) as part:
        verdicts.write_parquet(part / "verdicts.parquet")
        graded.scores.write_parquet(part / "scores.parquet")
        write_json(part / "comparisons.json", graded.comparisons)
        write_json(part / "metrics.json", metrics(graded.scores))
        write_manifest(part, "grade", taken=table.height, kept=verdicts.height, rejected={}, facts=facts(verdicts))


if __name__ == "__main__":
    stage_main(run)
