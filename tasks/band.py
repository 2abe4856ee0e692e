"""Fine difficulty filter: what the strong model solves seldom, but not never, is worth learning from.

Reads the screened questions, the models and the response ledger; writes kept questions with how often they were solved,
rejected questions, every attempt that counted with its verdict, and the manifest. Sampling of a question ends when its
outcome is certain: solved too often already, or too few samples left to be solved often enough.
"""

from functools import partial
from pathlib import Path
from typing import Self

import polars as pl
from pydantic import Field, model_validator

from tasks.core.files import publish, read_table
from tasks.core.filter import write_filter
from tasks.core.params import ChatParams, ModelName, Params
from tasks.core.stage import Stage, stage_main
from tasks.engines.params import EngineParams, SamplingParams, refuse_greedy_repeats
from tasks.records.question import BANDED, QUESTION
from tasks.records.response import ATTEMPT, unsent_questions
from tasks.sampling.sampler import TOO_LONG_REASON, TOO_LONG_WORDS, Sampler

NEVER, TOO_SELDOM, TOO_OFTEN = "never_solved", "solved_too_seldom", "solved_too_often"
STAGE = Stage(
    "band",
    "questions",
    {
        **TOO_LONG_WORDS,
        NEVER: "too hard: the strong model never solves it",
        TOO_SELDOM: "too hard: the strong model solves it too seldom",
        TOO_OFTEN: "too easy: the strong model solves it too often",
    },
)


class BandParams(Params):
    """Which model samples each question, how, and which share of right samples keeps it."""

    model: ModelName = "strong"
    """The strong model, by its name under base.models. Paper: DeepSeek-R1-Distill-Qwen-32B."""
    samples: int = Field(default=32, ge=1)
    """Samples a question. Paper: 32."""
    min_solved: int = Field(default=1, ge=0)
    """Fewest right samples of a kept question. Paper: 1."""
    max_solved: int = Field(default=3, ge=0)
    """Most right samples of a kept question. Paper: 3."""
    adaptive: bool = True
    """Stop sampling a question once its outcome is certain; the outcome is the same without."""
    sampling: SamplingParams = SamplingParams(temperature=0.6, top_p=0.95)
    """How samples are drawn. Not stated in the paper; these are the model's own recommendation."""

    @model_validator(mode="after")
    def _band_is_possible(self) -> Self:
        refuse_greedy_repeats(self.samples, self.sampling.temperature)
        if not self.min_solved <= self.max_solved <= self.samples:
            raise ValueError("needs min_solved <= max_solved <= samples")
        return self


def certain(correct: int, drawn: int, *, band: BandParams) -> bool:
    """Whether a question is out whatever the samples not yet drawn may say."""
    if not band.adaptive:
        return False
    return correct > band.max_solved or correct + band.samples - drawn < band.min_solved


def decide(questions: pl.DataFrame, attempts: pl.DataFrame, band: BandParams) -> pl.DataFrame:
    """The questions with `solved`, `sampled`, `reason` and `evidence`: both counts as JSON."""
    counts = attempts.group_by("question_id").agg(
        solved=(pl.col("verdict") == "correct").sum().cast(pl.Int64), sampled=pl.len().cast(pl.Int64)
    )
    solved, unsent = pl.col("solved"), pl.col("question_id").is_in(unsent_questions(attempts).implode())
    reason = (
        pl.when(unsent)
        .then(pl.lit(TOO_LONG_REASON))
        .when(solved > band.max_solved)
        .then(pl.lit(TOO_OFTEN))
        .when(solved >= band.min_solved)
        .then(pl.lit(None, pl.String))
        .when(solved == 0)
        .then(pl.lit(NEVER))
        .otherwise(pl.lit(TOO_SELDOM))
    )
    return questions.join(counts, on="question_id", how="left", maintain_order="left").select(
        *BANDED.names(), reason.alias("reason"), pl.struct("solved", "sampled").struct.json_encode().alias("evidence")
    )


def run(
    band: BandParams,
    engine: EngineParams,
    chat: ChatParams,
    *,
    questions: Path,
    models: Path,
    ledger: Path,
    out: Path,
) -> None:
    """Sample the strong model on every question, and keep what it solves within the band."""
    pool = read_table(questions, QUESTION)
    sampler = Sampler.of(models, band.model, "band.model", engine, chat, ledger, stage="band")
    tried = sampler.attempts(pool, samples=band.samples, sampling=band.sampling, rule=partial(certain, band=band))
    with publish(out) as part:
        tried.write(part / "attempts.parquet", ATTEMPT.names())
        write_filter(part, STAGE, decide(pool, tried.table, band), questions, tried.facts)


if __name__ == "__main__":
    stage_main(run)
