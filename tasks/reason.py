"""Reasoning chains: every teacher answers every question several times, and only right answers are kept.

Reads the questions of the band, the models and the response ledger; writes the chains (kept), the responses that are
wrong, ungraded, cut off, or stopped for repeating themselves (rejected), the questions that no chain solves (unsolved),
and the manifest, which counts responses. Every response is drawn: which chain is best is not known before all are
there.
"""

from pathlib import Path
from typing import NamedTuple, Self

import polars as pl
from pydantic import Field, model_validator

from tasks.core.errors import LimoError
from tasks.core.files import publish, read_table
from tasks.core.params import ChatParams, ModelName, Params
from tasks.core.stage import Stage, count_reasons, stage_main, write_manifest
from tasks.engines.params import EngineParams, SamplingParams, refuse_greedy_repeats
from tasks.records.model import load_models, require_model
from tasks.records.question import BANDED
from tasks.records.response import ATTEMPT, CHAIN, LOOP, TOO_LONG, chain_id
from tasks.sampling.sampler import TOO_LONG_REASON, TOO_LONG_WORDS, Sampler
from tasks.sampling.schedule import never

WRONG, UNGRADED, UNSOLVED = "wrong_answer", "ungraded_answer", "no_right_chain"
TRUNCATED, LOOPED = "truncated", "looped"
STAGE = Stage(
    "reason",
    "responses",
    {
        **TOO_LONG_WORDS,
        LOOPED: "was stopped for repeating itself",
        TRUNCATED: "was cut off before its end",
        UNGRADED: "its answer could not be graded",
        WRONG: "its answer is wrong",
    },
)


class TeacherParams(Params):
    """One teacher: how many chains it writes for each question, and how."""

    model: ModelName
    """Its name under base.models. Paper: DeepSeek-R1, DeepSeek-R1-Distill-Qwen-32B, QwQ-32B."""
    samples: int = Field(default=4, ge=1)
    """Chains a question. Paper: several, number not stated."""
    sampling: SamplingParams = SamplingParams(temperature=0.6, top_p=0.95)
    """How chains are drawn. Not stated in the paper; these are the models' own recommendation."""

    @model_validator(mode="after")
    def _chains_differ(self) -> Self:
        refuse_greedy_repeats(self.samples, self.sampling.temperature)
        return self


class ReasonParams(Params):
    """Who writes the chains."""

    teachers: tuple[TeacherParams, ...] = Field(default=(TeacherParams(model="strong"),), min_length=1)
    """Paper: three."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        names = [teacher.model for teacher in self.teachers]
        if len(set(names)) < len(names):
            raise ValueError("names a teacher twice: raise its samples instead")
        return self


class Chains(NamedTuple):
    """What becomes of the responses and of their questions."""

    kept: pl.DataFrame
    """CHAIN."""
    rejected: pl.DataFrame
    """ATTEMPT, `reason`, `evidence`."""
    unsolved: pl.DataFrame
    """BANDED, `reason`, `evidence`."""


def decide(questions: pl.DataFrame, attempts: pl.DataFrame) -> Chains:
    """Sort attempts (ATTEMPT with `teacher`) into chains and rejected, and name the questions without a chain."""
    verdict, finish = pl.col("verdict"), pl.col("finish_reason")
    reason = (
        pl.when(finish == TOO_LONG)
        .then(pl.lit(TOO_LONG_REASON))
        .when(finish == LOOP)
        .then(pl.lit(LOOPED))
        .when(finish != "stop")
        .then(pl.lit(TRUNCATED))
        .when(verdict == "ungraded")
        .then(pl.lit(UNGRADED))
        .when(verdict == "incorrect")
        .then(pl.lit(WRONG))
    )
    evidence = pl.coalesce(pl.col("verdict_reason"), pl.col("extracted"), finish)
    decided = attempts.with_columns(reason=reason, evidence=evidence)
    right = decided.filter(pl.col("reason").is_null())
    rejected = decided.filter(pl.col("reason").is_not_null()).select(*ATTEMPT.names(), "reason", "evidence")
    tried = rejected.group_by("question_id").agg(
        evidence=pl.format("{} responses, none right and whole", pl.len()),
    )
    unsolved = questions.join(right, on="question_id", how="anti", maintain_order="left")
    unsolved = unsolved.join(tried, on="question_id", how="left", maintain_order="left")
    unsolved = unsolved.select(*BANDED.names(), pl.lit(UNSOLVED).alias("reason"), "evidence")
    return Chains(_chains(questions, right), rejected, unsolved)


def _chains(questions: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
    """The right responses as chains, each joined to its question."""
    wanted = questions.select("question_id", "question", "answer", "domain")
    joined = right.join(wanted, on="question_id", how="inner", maintain_order="left")
    ids = [chain_id(*pair) for pair in joined.select("question_id", "response_id").iter_rows()]
    return joined.with_columns(pl.Series("chain_id", ids, pl.String)).select(CHAIN.names())


def run(
    reason: ReasonParams,
    engine: EngineParams,
    chat: ChatParams,
    *,
    questions: Path,
    models: Path,
    ledger: Path,
    out: Path,
) -> None:
    """Have every teacher answer every question, and keep the right chains."""
    pool = read_table(questions, BANDED)
    known = load_models(models)
    teachers = [
        (teacher, require_model(known, teacher.model, f"reason.teachers.{place}.model"))
        for place, teacher in enumerate(reason.teachers)
    ]
    drawn = [
        Sampler(model, engine, chat, ledger, stage=f"reason ({teacher.model})").attempts(
            pool, samples=teacher.samples, sampling=teacher.sampling, rule=never
        )
        for teacher, model in teachers
    ]
    attempts = pl.concat(
        [
            tried.with_texts().select(*ATTEMPT.names(), teacher=pl.lit(teacher.model))
            for (teacher, _), tried in zip(teachers, drawn, strict=True)
        ]
    )
    chains = decide(pool, attempts)
    reasons = count_reasons(chains.rejected)
    if chains.kept.is_empty():
        raise LimoError(f"reason: no right chain in {attempts.height} responses ({reasons}); see the section `reason`")
    facts = {
        "questions": pool.height,
        "questions_unsolved": chains.unsolved.height,
        "teachers": [tried.facts for tried in drawn],
    }
    with publish(out) as part:
        chains.kept.write_parquet(part / "kept.parquet")
        chains.rejected.write_parquet(part / "rejected.parquet")
        chains.unsolved.write_parquet(part / "unsolved.parquet")
        write_manifest(
            part,
            STAGE,
            takes=questions,
            taken=attempts.height,
            kept=chains.kept.height,
            rejected=reasons,
            facts=facts,
        )


if __name__ == "__main__":
    stage_main(run)
