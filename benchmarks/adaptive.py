"""Adaptive against full sampling, in the stages' own path: tokens, wall time, and whether the decisions are the same.

    python -m benchmarks.adaptive [--questions N] [--default-questions N] [--easy-questions N] [--results FILE]

Five runs in full and five adaptive (6 minutes on two cores), each with a new engine and an empty ledger:

- `band` on a pool whose difficulty is like a published one (SOLVED_OF_8): easy levels of the generated
  families, answered by the shipped model `strong` at temperature 0.3, where it is steady: what it can do it does nearly
  always. The printed histogram says how near that comes.
- `screen` on the same pool with the model `base`, as params.yaml has it. Little is saved there: `base` answers at once,
  and solves next to nothing, where a real weak model solves many at its first attempt.
- `band` on the default pool's levels, with the sampling of params.yaml. Little is saved there: the shipped model solves
  nothing always, and a question that is solved never, or as good as never, takes all samples whatever one does.
- `screen` on that.
- `band` on a pool that the model mostly solves: the shipped model `careful` at temperature 0.6 on the default levels,
  about 92% right. DeepSeek-R1-Distill-Qwen-32B, which LIMO uses there, has 94.3% on MATH-500 by its authors' report.

Sampling time is from the engine's first answer to a request of ours to the last decision; starting is told apart.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import comb
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks import band, screen
from tasks.core.params import ChatParams, load_section
from tasks.engines.launch import open_engine
from tasks.engines.machine import set_environment
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.protocol import Engine, make_request
from tasks.families import problems
from tasks.records.model import Model, describe
from tasks.records.question import QUESTION, question_id
from tasks.sampling.sampler import Sampler, Samples
from tasks.sampling.schedule import Rule, never

SOLVED_OF_8: Mapping[str, tuple[float, ...]] = {
    "SwS-3B": (32.2, 11.0, 6.9, 5.6, 5.0, 4.9, 5.3, 7.1, 22.0),
    "SwS-7B": (23.3, 9.9, 7.1, 6.0, 5.6, 5.6, 6.1, 7.9, 28.6),
    "SwS-32B": (18.8, 9.2, 6.9, 5.8, 5.5, 5.4, 6.2, 8.2, 33.8),
}
"""How often a strong model solves the questions of a maths pool: shares of questions, in per cent, that a model
solved 0, 1, ..., 8 times in 8 samples: the figure "Synthetic Problems Difficulty" of SwS (arXiv 2506.08989), Qwen2.5
models trained by reinforcement learning, on maths problems synthesised for where they are weak. The numbers were read
from descriptions of the figure's pie charts, not from the paper's data: take them as the shape, not as decimals. The
two ends hold half of all questions.

Other pools are described without numbers that could be verified: Polaris sampled DeepSeek-R1-Distill-Qwen-7B 8 times
on DeepScaleR's questions and recommends a mirrored J; LIMO says only that tens of millions of candidates, screened by
a 7B model and sampled 32 times by DeepSeek-R1-Distill-Qwen-32B, left 2,125 solved 1 to 3 times."""
LIKE = "SwS-32B"
"""The strongest of them: what the benchmark's pool is made to look like."""

FAMILIES = ("buttons", "days", "remainders")
PUBLISHED_LEVELS, PUBLISHED_TEMPERATURE = (1, 2, 2, 3, 4, 4), 0.3
"""Levels and temperature at which the shipped model `strong` comes near it; at 1.0 it solves nothing always."""
DEFAULT_LEVELS = tuple(range(2, 11))
"""Those of params.yaml."""


def make_questions(count: int, levels: Sequence[int], seed: int) -> pl.DataFrame:
    """So many questions (QUESTION), the families and levels in turn."""
    rows = []
    for number, family in enumerate(FAMILIES):
        mine = count // len(FAMILIES) + (number < count % len(FAMILIES))
        for one in problems(family, mine, seed, levels, "pool"):
            row = {"question_id": question_id(family, one.question), "source": family, "question": one.question}
            rows.append(row | {"answer": one.answer, "domain": family, "level": str(one.level), "origin": ""})
    return pl.DataFrame(rows, schema=QUESTION)


def expected_samples(rate: float, samples: int, certain: Callable[[int, int], bool]) -> float:
    """Samples drawn on average of a question that is solved at this rate, until `certain(correct, drawn)`."""
    going, total = {0: 1.0}, 0.0
    for drawn in range(1, samples + 1):
        total += sum(going.values())
        after: dict[int, float] = {}
        for correct, chance in going.items():
            for more, share in ((1, rate), (0, 1 - rate)):
                if share and not certain(correct + more, drawn):
                    after[correct + more] = after.get(correct + more, 0.0) + chance * share
        going = after
    return total


def expected_ratio(shares: Sequence[float], samples: int, certain: Callable[[int, int], bool]) -> float:
    """How many times fewer samples than in full, where `shares` of the questions are solved at rates 0, ..., 1."""
    rates = [number / (len(shares) - 1) for number in range(len(shares))]
    drawn = sum(
        share * expected_samples(rate, samples, certain) for share, rate in zip(shares, rates, strict=True)
    ) / sum(shares)
    return samples / drawn


def of_8(solved: Sequence[int], samples: int) -> list[float]:
    """Shares in per cent, as above, where each question was solved so many times in `samples`: 8 drawn at random."""
    return [
        100 * sum(_chance(number, one, samples) for one in solved) / len(solved) if solved else 0.0
        for number in range(9)
    ]


def _chance(number: int, solved: int, samples: int) -> float:
    """Chance that `number` of 8 drawn without replacement are right: hypergeometric."""
    return comb(solved, number) * comb(samples - solved, 8 - number) / comb(samples, 8)


PARAMS = Path("params.yaml")
EASY_MODEL, EASY_TEMPERATURE, EASY_TOKENS = "careful", 0.6, 512
"""What solves most of the default levels."""
RESULTS = Path("benchmarks/results/adaptive.json")


class Case(NamedTuple):
    """One stage on one pool."""

    stage: str
    pool: str
    questions: pl.DataFrame
    model: Model
    samples: int
    sampling: SamplingParams
    rule: Rule
    params: band.BandParams | screen.ScreenParams


class Outcome(NamedTuple):
    """What one run took, and what it decided."""

    samples: int
    """That count."""
    generated: int
    beyond: int
    """Generated, and beyond the one that decided."""
    tokens: int
    sampling_seconds: float
    start_seconds: float
    solved: list[int]
    decided: pl.DataFrame


def cases(count: int, default_count: int, easy_count: int) -> list[Case]:
    """What is compared; models and sampling as params.yaml has them, but for the temperature of the published band."""
    banded, screened = (
        load_section(PARAMS, "band", band.BandParams),
        load_section(PARAMS, "screen", screen.ScreenParams),
    )
    published = make_questions(count, PUBLISHED_LEVELS, seed=501)
    default = make_questions(default_count, DEFAULT_LEVELS, seed=502)
    steady = banded.model_copy(
        update={"sampling": banded.sampling.model_copy(update={"temperature": PUBLISHED_TEMPERATURE})}
    )
    pools = (("like published", published, steady), ("default", default, banded))
    compared = [
        case
        for pool, questions, params in pools
        for case in (_band_case(pool, questions, params), _screen_case(pool, questions, screened))
    ]
    sampling = banded.sampling.model_copy(update={"temperature": EASY_TEMPERATURE, "max_tokens": EASY_TOKENS})
    easy = banded.model_copy(update={"model": EASY_MODEL, "sampling": sampling})
    return [*compared, _band_case("mostly solved", make_questions(easy_count, DEFAULT_LEVELS, seed=503), easy)]


def _band_case(pool: str, questions: pl.DataFrame, params: band.BandParams) -> Case:
    rule = partial(band.certain, band=params)
    return Case("band", pool, questions, _shipped(params.model), params.samples, params.sampling, rule, params)


def _screen_case(pool: str, questions: pl.DataFrame, params: screen.ScreenParams) -> Case:
    model = _shipped(params.model)
    return Case("screen", pool, questions, model, params.attempts, params.sampling, screen.certain, params)


def _shipped(name: str) -> Model:
    return describe(Path("tasks/shipped") / name, name, f"shipped:{name}")


def run(case: Case, rule: Rule, engine: EngineParams, chat: ChatParams, work: Path) -> Outcome:
    """Sample a case with a new engine and an empty ledger, under `work`."""
    starting = 0.0

    def start() -> Engine:
        nonlocal starting
        began = time.perf_counter()
        started = _warm(open_engine(engine, case.model, work / "engine.log"), case.model)
        starting = time.perf_counter() - began
        return started

    began = time.perf_counter()
    name = f"{case.stage} ({case.pool}, {'full' if rule is never else 'adaptive'})"
    ledger = Path(tempfile.mkdtemp(dir=work)) / "ledger"
    sampler = Sampler(case.model, engine, chat, ledger, stage=name, start=start)
    tried = sampler.attempts(case.questions, samples=case.samples, sampling=case.sampling, rule=rule)
    return _outcome(case, tried, time.perf_counter() - began - starting, starting)


def _warm(engine: Engine, model: Model) -> Engine:
    """The engine once it has answered something."""
    request = make_request(model.model_id, "warm up", SamplingParams(temperature=1.0, max_tokens=2), 0)
    engine.submit([request])
    end = time.perf_counter() + 600
    while not engine.finished(1.0):
        if time.perf_counter() > end:
            sys.exit("the engine did not answer within 10 minutes")
    return engine


def _outcome(case: Case, tried: Samples, seconds: float, starting: float) -> Outcome:
    ran = tried.run
    right = tried.table.group_by("question_id").agg((pl.col("verdict") == "correct").sum().cast(pl.Int64))
    return Outcome(
        tried.facts["responses"],
        ran["responses_generated"],
        ran["responses_generated_beyond"],
        ran["tokens_generated"],
        seconds,
        starting,
        right["verdict"].to_list(),
        decide(case, tried.table),
    )


def decide(case: Case, attempts: pl.DataFrame) -> pl.DataFrame:
    """The stage's own decision of each question, with what it keeps of the attempts."""
    if isinstance(case.params, band.BandParams):
        decided = band.decide(case.questions, attempts, case.params)
        # How often a question that is out was solved and sampled is what adaptive sampling does not find out.
        kept = pl.col("reason").is_null()
        return decided.select("question_id", "reason", *(pl.when(kept).then(name) for name in ("solved", "sampled")))
    return screen.decide(case.questions, attempts).select("question_id", "reason", "evidence")


def compare(case: Case, engine: EngineParams, chat: ChatParams, work: Path) -> dict[str, Any]:
    """Run a case in full and adaptive, print both, and return the numbers."""
    full, adaptive = (run(case, rule, engine, chat, work) for rule in (never, case.rule))
    same = full.decided.equals(adaptive.decided)
    print(f"\n{case.stage}, pool {case.pool}: {case.questions.height} questions, up to {case.samples} samples each")
    for name, one in (("full", full), ("adaptive", adaptive)):
        print(
            f"  {name:9}{one.generated:8,} responses ({one.beyond:,} beyond the deciding one){one.tokens:12,} tokens"
            f"{one.sampling_seconds:8.1f} s sampling, {one.start_seconds:.1f} s starting"
        )
    ratios = {
        "tokens": full.tokens / adaptive.tokens,
        "responses": full.generated / adaptive.generated,
        "sampling_seconds": full.sampling_seconds / adaptive.sampling_seconds,
        "least_responses": full.samples / adaptive.samples,
    }
    print(
        f"  {ratios['tokens']:.2f} times fewer tokens, {ratios['responses']:.2f} times fewer responses "
        f"({ratios['least_responses']:.2f} without those beyond), {ratios['sampling_seconds']:.2f} times faster; "
        f"decisions {'identical' if same else 'DIFFERENT'}"
    )
    _print_difficulty(full.solved, case.samples)
    facts = {"stage": case.stage, "pool": case.pool, "identical": same, "ratios": ratios}
    for name, one in (("full", full), ("adaptive", adaptive)):
        facts[name] = {key: value for key, value in one._asdict().items() if key not in ("decided", "solved")}
    return facts


def _print_difficulty(solved: list[int], samples: int) -> None:
    if samples >= 8:
        print(f"  solved of 8, % of questions:  here {_shares(of_8(solved, samples))}")
        print(f"                             {LIKE} {_shares(SOLVED_OF_8[LIKE])}")


def _shares(shares: Sequence[float]) -> str:
    return " ".join(f"{share:5.1f}" for share in shares)


def main() -> None:
    """Run all cases; exit with 1 when a decision differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=300, help="of the pool that is like a published one")
    parser.add_argument("--default-questions", type=int, default=150, help="of the default pool's levels")
    parser.add_argument("--easy-questions", type=int, default=100, help="of the pool that is mostly solved")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the numbers go as JSON")
    options = parser.parse_args()
    set_environment()
    engine, chat = load_section(PARAMS, "engine", EngineParams), load_section(PARAMS, "chat", ChatParams)
    rule = partial(band.certain, band=band.BandParams(adaptive=True))
    for name, shares in SOLVED_OF_8.items():
        print(f"{name}: by arithmetic {expected_ratio(shares, 32, rule):.2f} times fewer samples for a band of 1 to 3")
    compared = cases(options.questions, options.default_questions, options.easy_questions)
    with tempfile.TemporaryDirectory(prefix="adaptive-") as folder:
        # The first run of a process also loads and compiles what grades and generates: no part of what is compared.
        first = compared[0]._replace(questions=compared[0].questions.head(3), pool="warming up")
        run(first, never, engine, chat, Path(folder))
        found = [compare(case, engine, chat, Path(folder)) for case in compared]
    machine = {"cores": os.cpu_count(), "cpu": platform.machine()}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps({"machine": machine, "cases": found}, indent=2) + "\n", encoding="utf-8")
    if not all(one["identical"] for one in found):
        sys.exit("decisions differ")


if __name__ == "__main__":
    main()
