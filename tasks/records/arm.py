"""What an ablation arm leaves: its verdicts, and the facts of each seed."""

import polars as pl

ARM_VERDICT = pl.Schema(
    {
        "arm": pl.String,
        "seed": pl.Int64,
        "benchmark": pl.String,
        "item_id": pl.String,
        "response_id": pl.String,
        "model_id": pl.String,
        "verdict": pl.String,
        "finish_reason": pl.String,
        "n_tokens": pl.Int64,
    }
)
"""`verdicts.parquet` of an arm: one row for each item and seed (the response is in the ledger, by its id)."""

ARM_SEED = pl.Schema(
    {
        "arm": pl.String,
        "seed": pl.Int64,
        "base": pl.String,
        "model_id": pl.String,
        "samples": pl.Int64,
        "passes": pl.Float64,
        "steps": pl.Int64,
        "loss_tokens": pl.Int64,
        "last_loss": pl.Float64,
        "train_seconds": pl.Float64,
        "quality": pl.Float64,
        "elaboration": pl.Float64,
        "verification": pl.Float64,
        "exploration": pl.Float64,
        "granularity": pl.Float64,
        "n_tokens": pl.Float64,
        "equations": pl.Float64,
    }
)
"""`seeds.parquet` of an arm: one row a seed. From `quality` on: means over its samples (`equations`: right equations a
chain). An untrained arm has one seed, 0 samples and nulls."""
