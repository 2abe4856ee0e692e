"""Coarse difficulty filter: what the weak model solves within a few attempts is too easy, and goes out.

Reads the decontaminated questions, the models and the response ledger; writes kept and rejected questions, every
attempt that counted with its verdict, and the manifest. Sampling of a question ends at its first right attempt.
"""

from pathlib import Path
from typing import Self

import polars as pl
from pydantic import Field, model_validator

from tasks.core.files import publish, read_table
from tasks.core.filter import write_filter
from tasks.core.params import ChatParams, ModelName, Params
from tasks.core.stage import Stage, stage_main
from tasks.engines.params import EngineParams, SamplingParams, refuse_greedy_repeats
from tasks.records.question import QUESTION
from tasks.records.response import ATTEMPT, unsent_questions
from tasks.sampling.sampler import TOO_LONG_REASON, TOO_LONG_WORDS, Sampler

SOLVED = "solved_by_weak_model"
STAGE = Stage("screen", "questions", {**TOO_LONG_WORDS, SOLVED: "too easy: the weak model solves it"})


class ScreenParams(Params):
    """Which model tries each question, how often and how."""

    model: ModelName = "weak"
    """The weak model, by its name under base.models. Paper: Qwen2.5-Math-7B-Instruct."""
    attempts: int = Field(default=4, ge=1)
    """Attempts a question; one right answer rejects it. Paper: 4."""
    sampling: SamplingParams = SamplingParams(temperature=0.7, max_tokens=4096)
    """How attempts are drawn. Not stated in the paper; the model's context is 4,096 tokens."""

    @model_validator(mode="after")
    def _attempts_differ(self) -> Self:
        refuse_greedy_repeats(self.attempts, self.sampling.temperature)
        return self


def certain(correct: int, _drawn: int) -> bool:
    """One right attempt decides."""
    return correct >= 1


def decide(questions: pl.DataFrame, attempts: pl.DataFrame) -> pl.DataFrame:
    """The questions with `reason` and `evidence`: the response that solved it."""
    solved = (
        attempts.filter(pl.col("verdict") == "correct")
        .group_by("question_id")
        .agg(pl.col("response_id").sort_by("sample_index").first().alias("evidence"))
    )
    unsent = pl.col("question_id").is_in(unsent_questions(attempts).implode())
    reason = pl.when(unsent).then(pl.lit(TOO_LONG_REASON)).when(pl.col("evidence").is_not_null()).then(pl.lit(SOLVED))
    return questions.join(solved, on="question_id", how="left", maintain_order="left").select(
        *QUESTION.names(), reason.alias("reason"), "evidence"
    )


def run(
    screen: ScreenParams,
    engine: EngineParams,
    chat: ChatParams,
    *,
    questions: Path,
    models: Path,
    ledger: Path,
    out: Path,
) -> None:
    """Let the weak model try every question, and keep what it does not solve."""
    pool = read_table(questions, QUESTION)
    sampler = Sampler.of(models, screen.model, "screen.model", engine, chat, ledger, stage="screen")
    tried = sampler.attempts(pool, samples=screen.attempts, sampling=screen.sampling, rule=certain)
    with publish(out) as part:
        tried.write(part / "attempts.parquet", ATTEMPT.names())
        write_filter(part, STAGE, decide(pool, tried.table), questions, tried.facts)


if __name__ == "__main__":
    stage_main(run)
