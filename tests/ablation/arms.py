"""Arm folders and their params for tests: each arm as good as its `skill`."""

import random

import polars as pl

from tasks.ablation.params import AblationParams, QuestionParams
from tasks.ablation.tables import ARM_SEED, ARM_VERDICT
from tasks.core.files import publish
from tasks.core.stage import Stage, write_manifest
from tasks.records.ids import content_id

SUITE = ("buttons-hard", "days-hard", "rounds-hard")


def make_question(arms, contrasts, name="quality", asks="Does it rise?", paper="rises"):
    return QuestionParams(name=name, asks=asks, paper=paper, arms=arms, contrasts=contrasts)


def make_ablation(*questions, **fields):
    given = {"accuracy_over": SUITE[:2], "resamples": 500, "questions": questions} | fields
    return AblationParams(**given)


def write_arm(folder, name, *, skill=0.3, seeds=(1, 2, 3), items=20, samples=48, base="base", quality=0.5):
    """An arm's tables; no samples and one seed for an untrained arm."""
    draw = random.Random(f"{name}{skill}")
    verdicts = [
        _verdict(name, seed, benchmark, number, draw.random() < (skill if benchmark != SUITE[-1] else skill / 2))
        for seed in seeds
        for benchmark in SUITE
        for number in range(items)
    ]
    rows = [_seed(name, seed, samples, base, quality + draw.random() / 20) for seed in seeds]
    (folder / name).mkdir(parents=True)
    pl.DataFrame(verdicts, schema=ARM_VERDICT).write_parquet(folder / name / "verdicts.parquet")
    pl.DataFrame(rows, schema=ARM_SEED).write_parquet(folder / name / "seeds.parquet")
    with publish(folder / name) as part:
        write_manifest(part, Stage(name, "samples"), taken=len(verdicts), kept=len(verdicts))
    return folder / name


def _verdict(arm, seed, benchmark, number, right):
    verdict = {"arm": arm, "seed": seed, "benchmark": benchmark, "item_id": f"i_{benchmark}{number:03}"}
    verdict |= {"response_id": content_id("r", arm, seed, benchmark, number), "model_id": f"m_{arm}{seed}"}
    verdict |= {"verdict": "correct" if right else "incorrect", "finish_reason": "stop" if number else "length"}
    return verdict | {"n_tokens": 100 + number}


def _seed(arm, seed, samples, base, quality):
    row = {"arm": arm, "seed": seed, "base": base, "model_id": f"m_{arm}{seed}", "samples": samples}
    if not samples:
        return row | {"passes": 0.0, "steps": 0, "loss_tokens": 0}
    traits = dict.fromkeys(("elaboration", "verification", "exploration", "granularity"), quality / 2)
    row |= {"passes": 480 / samples, "steps": 64, "loss_tokens": 150_000 + seed, "last_loss": 0.5, "train_seconds": 9.0}
    return row | traits | {"quality": quality, "n_tokens": 400 * quality, "equations": 20.0}
