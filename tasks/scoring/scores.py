"""Scores out of verdicts: per benchmark and arm with their intervals, the average, and base against trained."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tasks.core.errors import LimoError
from tasks.records.benchmark import SCORE, score_id
from tasks.records.response import CUT_OFF
from tasks.scoring.statistics import Comparison, Estimate, Matrix, compare, macro, mean, rate

MOST_SUBSETS = 5_000
"""Subsets of k samples that are all counted; where there are more, this many are drawn."""


def majority_at_k(correct: Sequence[bool], keys: Sequence[str | None], k: int, seed: Sequence[int]) -> float:
    """maj@k: the chance that the most frequent answer of `k` of an item's samples is right, over all subsets of k.

    Wang et al., "Self-Consistency Improves Chain of Thought Reasoning in Language Models" (arXiv 2203.11171), whose
    vote is unweighted. All correct answers are one answer, wrong ones are distinguished by their key, and a response
    without an answer has no vote. Answers that tie share the vote, as drawing one at random would on average.

    Args:
        correct: whether each sample is right.
        keys: the answer of each, equal for equal answers; None where there is none.
        seed: of the subsets drawn where there are too many to count; each item needs its own.
    """
    samples = len(correct)
    assert len(keys) == samples, "a key for every sample"
    assert 1 <= k <= samples, f"maj@{k} of {samples} samples"
    if not any(correct):
        return 0.0
    labels = _labels(correct, keys)
    votes = labels[_subsets(samples, k, seed)]
    counts = np.stack([(votes == answer).sum(axis=1) for answer in range(labels.max() + 1)], axis=1)
    most = counts.max(axis=1)
    won = (counts[:, 0] == most) & (most > 0)
    return float(np.mean(won / (counts == most[:, None]).sum(axis=1)))


def _labels(correct: Sequence[bool], keys: Sequence[str | None]) -> NDArray[np.int64]:
    """0 for a right answer, a number from 1 for each wrong one, -1 for none."""
    numbers: dict[str, int] = {}
    return np.array(
        [
            0 if right else -1 if key is None else numbers.setdefault(key, len(numbers) + 1)
            for right, key in zip(correct, keys, strict=True)
        ]
    )


def _subsets(samples: int, k: int, seed: Sequence[int]) -> NDArray[np.int64]:
    """Indices, one row a subset."""
    if math.comb(samples, k) <= MOST_SUBSETS:
        return np.array(list(itertools.combinations(range(samples), k)))
    order = np.random.default_rng(seed).random((MOST_SUBSETS, samples))
    return np.argsort(order, axis=1)[:, :k]


AVERAGE = "average"
ARMS = ("base", "trained")


class Resampling(NamedTuple):
    """How intervals are made: coverage, bootstrap and permutation resamples, and their seed."""

    confidence: float
    resamples: int
    seed: int


class Outcomes(NamedTuple):
    """The verdicts of one arm on one benchmark, as items by samples: 1 where the answer is correct."""

    item_ids: list[str]
    matrix: Matrix
    keys: list[list[str | None]]
    """The answers of each item, equal for equal ones."""


class ScoreTables(NamedTuple):
    """All scores of some verdicts, and the comparisons of the arms."""

    scores: pl.DataFrame
    comparisons: dict[str, dict[str, Any]]


def score(verdicts: pl.DataFrame, how: Resampling) -> ScoreTables:
    """Scores per benchmark and arm, the macro average of each arm, and the paired comparisons."""
    groups = {
        (str(key[0]), str(key[1])): group for key, group in verdicts.group_by(["benchmark", "arm"], maintain_order=True)
    }
    outcomes = {key: outcomes_of(group) for key, group in groups.items()}
    rows = [row for key, group in groups.items() for row in benchmark_rows(*key, group, outcomes[key], how)]
    for arm in dict.fromkeys(arm for _, arm in groups):
        matrices = [outcome.matrix for key, outcome in outcomes.items() if key[1] == arm]
        estimate = macro(matrices, **how._asdict())
        rows.append(score_row(AVERAGE, arm, "pass@1", estimate, verdicts.filter(pl.col("arm") == arm)))
    comparisons = {
        benchmark: paired(benchmark, outcomes[benchmark, "base"], outcomes[benchmark, "trained"], how)._asdict()
        for benchmark in dict.fromkeys(benchmark for benchmark, _ in groups)
        if all((benchmark, arm) in outcomes for arm in ARMS)
    }
    return ScoreTables(pl.DataFrame(rows, schema=SCORE), comparisons)


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
    benchmark: str, arm: str, group: pl.DataFrame, outcomes: Outcomes, how: Resampling
) -> Iterator[dict[str, Any]]:
    """A row for pass@1, and for each further k that the number of samples allows; maj@k from 3 samples on."""
    matrix = outcomes.matrix
    for k in ks(matrix.shape[1]):
        yield score_row(benchmark, arm, f"pass@{k}", rate(matrix, k, **how._asdict()), group)
    for k in ks(matrix.shape[1]):
        if k > 2:
            # A vote of two is agreement or a tie.
            items = enumerate(zip(matrix.tolist(), outcomes.keys, strict=True))
            voted = np.array([majority_at_k(correct, keys, k, [how.seed, place]) for place, (correct, keys) in items])
            yield score_row(benchmark, arm, f"maj@{k}", mean(voted, **how._asdict()), group)


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
    # Where a judge decided some, its version is the grader's with the judge's added, which sorts after it.
    grader = str(group["grader"].max())
    return {
        "score_id": score_id(benchmark, model_id, metric, grader, group["verdict_id"].to_list()),
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
        "grader": grader,
    }


def paired(benchmark: str, base: Outcomes, trained: Outcomes, how: Resampling) -> Comparison:
    """Base against trained on the items of one benchmark.

    Raises:
        LimoError: the arms answered different items.
    """
    if base.item_ids != trained.item_ids:
        odd = len(set(base.item_ids) ^ set(trained.item_ids))
        raise LimoError(f"grade: {benchmark}: {odd} items were answered by one arm only; rerun `dvc repro answer`")
    return compare(base.matrix, trained.matrix, **how._asdict())


def metrics(scores: pl.DataFrame) -> dict[str, dict[str, float]]:
    """pass@1 per benchmark and arm, as `dvc metrics` shows it."""
    table: dict[str, dict[str, float]] = {}
    for row in scores.filter(pl.col("metric") == "pass@1").iter_rows(named=True):
        table.setdefault(row["benchmark"], {})[row["arm"]] = row["value"]
    return table
