"""Score the quality of every reasoning chain.

Reads the right chains of `reason` (CHAIN); writes `chains.parquet` (SCORED): four dimensions and their weighted sum.
The paper picks its training samples by this sum, so it decides what the model is trained on. Nothing is rejected here.
"""

from pathlib import Path

import polars as pl
from pydantic import Field, field_validator, model_validator

from tasks.core.errors import LimoError
from tasks.core.files import publish, read_table
from tasks.core.params import Params
from tasks.core.stage import Stage, stage_main, write_manifest
from tasks.records.response import CHAIN, SCORED
from tasks.scoring.chains import keyword_share, length_share

DIMENSIONS = ("elaboration", "verification", "exploration", "granularity")


STAGE = Stage("score", "chains")


class Weights(Params):
    """Weight of each dimension in the quality; they sum to 1."""

    elaboration: float = Field(0.30, ge=0, le=1)
    """Length of the chain. Paper: 30%."""
    verification: float = Field(0.20, ge=0, le=1)
    """Self-verification keywords. Paper: 20%."""
    exploration: float = Field(0.25, ge=0, le=1)
    """Keywords of exploring. Paper: 25%."""
    granularity: float = Field(0.25, ge=0, le=1)
    """Connectives, which mark steps of adaptive granularity. Paper: 25%."""

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Weights":
        total = sum(getattr(self, name) for name in DIMENSIONS)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the four weights must sum to 1, not {total:g}")
        return self


class ScoreParams(Params):
    """How chains are scored."""

    weights: Weights = Weights()
    """Shares of the four dimensions."""
    full_length: int = Field(16_384, ge=1)
    """Tokens at which a chain counts as fully elaborated. Paper: not stated; its training length is 16,384."""
    full_density: float = Field(1.0, gt=0)
    """Keywords per 100 words at which a keyword dimension is full. Paper: not stated."""
    verification: tuple[str, ...] = Field(("check", "verify"), min_length=1)
    """Keywords of self-verification, matched whole, in any case. Paper: "check", "verify", and others unpublished."""
    exploration: tuple[str, ...] = Field(("perhaps", "might"), min_length=1)
    """Keywords of exploring. Paper: "perhaps", "might", and others unpublished."""
    granularity: tuple[str, ...] = Field(("therefore", "since"), min_length=1)
    """Connectives. Paper: "therefore", "since", and others unpublished."""

    @field_validator("verification", "exploration", "granularity")
    @classmethod
    def _no_blank(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if not all(word.strip() for word in words):
            raise ValueError("a keyword must not be blank, it would match everywhere")
        return words


def score_chains(chains: pl.DataFrame, params: ScoreParams) -> pl.DataFrame:
    """The chains (CHAIN) in their order, with their four dimensions and quality (SCORED)."""
    text, full = pl.col("text"), params.full_density
    shares = {
        "elaboration": length_share(pl.col("n_tokens"), params.full_length),
        "verification": keyword_share(text, params.verification, full),
        "exploration": keyword_share(text, params.exploration, full),
        "granularity": keyword_share(text, params.granularity, full),
    }
    quality = pl.sum_horizontal(pl.col(name) * getattr(params.weights, name) for name in DIMENSIONS)
    # Lazily, so that the words of a text are counted once for its three densities.
    return chains.lazy().with_columns(**shares).with_columns(quality=quality).select(SCORED.names()).collect()


def run(score: ScoreParams, *, chains: Path, out: Path) -> None:
    """Score the chains of a Parquet file."""
    taken = read_table(chains, CHAIN)
    if taken.is_empty():
        raise LimoError(f"{chains}: no chain to score; loosen the section `reason` of params.yaml")
    if taken["text"].has_nulls() or taken["n_tokens"].has_nulls():
        raise LimoError(f"{chains}: a chain without text or n_tokens; run `dvc repro -f -s reason`")
    scored = score_chains(taken, score)
    means = scored.select(pl.col(*DIMENSIONS, "quality").mean().round(4)).row(0, named=True)
    with publish(out) as part:
        scored.write_parquet(part / "chains.parquet")
        write_manifest(part, STAGE, takes=chains, taken=taken.height, kept=scored.height, facts={"mean": means})


if __name__ == "__main__":
    stage_main(run)
