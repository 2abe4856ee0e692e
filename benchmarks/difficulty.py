"""How often a strong model solves the questions of a maths pool: published, and what that means for adaptive sampling.

`SOLVED_OF_8` has the shares of questions, in per cent, that a model solved 0, 1, ..., 8 times in 8 samples: the figure
"Synthetic Problems Difficulty" of SwS (arXiv 2506.08989), Qwen2.5 models trained by reinforcement learning, on maths
problems synthesised for where they are weak. The numbers were read from descriptions of the figure's pie charts, not
from the paper's data: take them as the shape, not as decimals. The two ends hold half of all questions.

Other pools are described without numbers that could be verified: Polaris sampled DeepSeek-R1-Distill-Qwen-7B 8 times on
DeepScaleR's questions and recommends a mirrored J; LIMO says only that tens of millions of candidates, screened by a 7B
model and sampled 32 times by DeepSeek-R1-Distill-Qwen-32B, left 2,125 solved 1 to 3 times.
"""

from collections.abc import Callable, Mapping, Sequence
from math import comb

import polars as pl

from tasks.families import problems
from tasks.records.question import QUESTION, question_id

SOLVED_OF_8: Mapping[str, tuple[float, ...]] = {
    "SwS-3B": (32.2, 11.0, 6.9, 5.6, 5.0, 4.9, 5.3, 7.1, 22.0),
    "SwS-7B": (23.3, 9.9, 7.1, 6.0, 5.6, 5.6, 6.1, 7.9, 28.6),
    "SwS-32B": (18.8, 9.2, 6.9, 5.8, 5.5, 5.4, 6.2, 8.2, 33.8),
}
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
