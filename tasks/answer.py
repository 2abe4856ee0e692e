"""The base and the trained model answer every benchmark item, by each benchmark's protocol.

Reads the benchmark items, the models, the trained model and the response ledger; writes every answer and the manifest.
Nothing is graded here, so that a better grader never costs a generation.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import polars as pl
from pydantic import Field, model_validator

from tasks.core.errors import LimoError
from tasks.core.files import publish, read_table
from tasks.core.params import BenchmarkName, ChatParams, ModelName, Params
from tasks.core.stage import Stage, stage_main, write_manifest
from tasks.engines.params import EngineParams, SamplingParams, refuse_greedy_repeats
from tasks.engines.prompts import item_prompts
from tasks.records.benchmark import ANSWER, ITEM
from tasks.records.model import load_models, require_model
from tasks.sampling.sampler import Sampler
from tasks.sampling.schedule import Group

STAGE = Stage("answer", "answers")


class OverrideParams(Params):
    """What one benchmark does otherwise; null: as the others."""

    samples: int | None = Field(default=None, ge=1)
    """Responses an item. Paper: 4 for AIME24, AMC23 and CHMath (16 in its first version)."""
    temperature: float | None = Field(default=None, ge=0, le=2)
    """Paper: 0.6 for AIME24, AMC23 and CHMath (0.7 in its first version)."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Share of the probability kept."""
    top_k: int | None = Field(default=None, ge=0)
    """Most likely tokens kept; 0: all."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest response, tokens."""


SMALL = ("AIME24", "AMC23", "CHMath")
"""The benchmarks that the paper samples more than once."""
PROTOCOLS = {"v1": OverrideParams(samples=16, temperature=0.7), "v3": OverrideParams(samples=4, temperature=0.6)}
"""How the paper's two versions sample them."""


class AnswerParams(Params):
    """Who answers, and the protocol of the benchmarks."""

    base: ModelName = "base"
    """The model to compare the trained one with, by its name under base.models. Paper: Qwen2.5-32B-Instruct."""
    samples: int = Field(default=1, ge=1)
    """Responses an item. Paper: 1."""
    sampling: SamplingParams = SamplingParams(temperature=0)
    """How answers are drawn. Paper: greedy, up to 32,768 tokens."""
    paper: Literal["v1", "v3"] | None = None
    """The protocol of a version of the paper for AIME24, AMC23 and CHMath: v1 16 samples at 0.7, v3 4 at 0.6."""
    benchmarks: dict[BenchmarkName, OverrideParams] = Field(default_factory=dict)
    """What single benchmarks do otherwise, by name."""

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        for name in ["", *self.benchmarks]:
            samples, sampling = self.protocol(name)
            try:
                refuse_greedy_repeats(samples, sampling.temperature)
            except ValueError as error:
                raise ValueError(f"{name}: {error}" if name else str(error)) from None
        return self

    def protocol(self, benchmark: str) -> "Protocol":
        """The protocol of a benchmark."""
        papers = PROTOCOLS[self.paper] if self.paper and benchmark in SMALL else OverrideParams()
        mine = self.benchmarks.get(benchmark, OverrideParams())
        other = papers.model_dump(exclude_none=True) | mine.model_dump(exclude_none=True)
        samples = other.pop("samples", self.samples)
        return Protocol(samples, self.sampling.model_copy(update=other))


class Protocol(NamedTuple):
    """How the items of a benchmark are answered."""

    samples: int
    sampling: SamplingParams

    def described(self) -> dict[str, Any]:
        """For the manifest."""
        return {"samples": self.samples, **self.sampling.model_dump(mode="json")}


def groups_of(items: pl.DataFrame, prompts: list[str], answer: AnswerParams, opened: str = "") -> list[Group]:
    """One group of samples an item, by its benchmark's protocol; `opened` is what the prompts end with, see `Group`.

    Raises:
        LimoError: params override a benchmark that is not among the items.
    """
    there = items["benchmark"].unique().to_list()
    for name in answer.benchmarks:
        if name not in there:
            raise LimoError(f"params.yaml: answer.benchmarks.{name}: no such benchmark; there are {sorted(there)}")
    rows = items.iter_rows(named=True)
    return [
        Group(row["item_id"], prompt, row["gold"], row["kind"], *answer.protocol(row["benchmark"]), opened)
        for row, prompt in zip(rows, prompts, strict=True)
    ]


def run(
    answer: AnswerParams,
    engine: EngineParams,
    chat: ChatParams,
    *,
    items: Path,
    models: Path,
    trained: Path,
    ledger: Path,
    out: Path,
) -> None:
    """Have both models answer all items."""
    wanted = read_table(items, ITEM)
    arms = {
        "base": require_model(load_models(models), answer.base, "answer.base"),
        "trained": require_model(load_models(trained), "trained", "trained"),
    }
    tables, facts = [], {}
    for arm, model in arms.items():
        sampler = Sampler(model, engine, chat, ledger, stage=f"answer ({arm})")
        prompts = item_prompts(sampler.render, wanted)
        drawn = sampler.draw(groups_of(wanted, prompts, answer, sampler.render.opened))
        tables.append(_answers(drawn.with_texts(), wanted, arm, model.model_id))
        facts[arm] = drawn.facts
    table = pl.concat(tables)
    protocols = {name: answer.protocol(name).described() for name in wanted["benchmark"].unique(maintain_order=True)}
    with publish(out) as part:
        table.write_parquet(part / "answers.parquet")
        write_manifest(
            part,
            STAGE,
            takes=items,
            taken=table.height,
            kept=table.height,
            facts={"items": wanted.height, "protocols": protocols, "arms": facts},
        )


def _answers(drawn: pl.DataFrame, items: pl.DataFrame, arm: str, model_id: str) -> pl.DataFrame:
    """Responses as ANSWER rows of one arm."""
    named = drawn.rename({"key": "item_id"}).join(
        items.select("item_id", "benchmark"), on="item_id", how="left", maintain_order="left"
    )
    return named.with_columns(arm=pl.lit(arm), model_id=pl.lit(model_id)).select(ANSWER.names())


if __name__ == "__main__":
    stage_main(run)
