"""How hard a pool is, where nothing has been measured: what the filters draw and keep of it.

`SOLVED_OF_8` has the shares of questions, in per cent, that a model solved 0, 1, ..., 8 times in 8 samples (SwS, arXiv
2506.08989: Qwen2.5 models trained by reinforcement learning, read from the figure "Synthetic Problems Difficulty"). It
is taken as the shape of a maths pool, for want of a better one: each question is given the rate k / 8.
"""

from collections.abc import Sequence
from typing import NamedTuple

SOLVED_OF_8 = {
    "weak": (23.3, 9.9, 7.1, 6.0, 5.6, 5.6, 6.1, 7.9, 28.6),
    "strong": (18.8, 9.2, 6.9, 5.8, 5.5, 5.4, 6.2, 8.2, 33.8),
}
"""Those of the 7B and of the 32B model."""


class Filtered(NamedTuple):
    """What a filter comes to, a question of its input."""

    drawn: float
    """Samples, on average."""
    kept: float
    """Share of questions that stay."""


class Band(NamedTuple):
    """A question stays when so many of `samples` are right; sampling ends when that is certain."""

    samples: int
    fewest: int
    most: int
    adaptive: bool = True


def screened(attempts: int) -> Filtered:
    """The coarse filter: up to `attempts` samples, of which the first right one drops the question."""
    return _mean(_shares("weak"), Band(attempts, 0, 0))


def banded(band: Band, screened_share: float) -> Filtered:
    """The fine filter, on the hardest `screened_share` of the pool: as if what the weak model fails were what the
    strong one solves least often. It rather overstates what is drawn."""
    left, shares = screened_share, []
    for share in _shares("strong"):
        shares.append(min(share, left))
        left -= shares[-1]
    return _mean(shares, band)


def one(rate: float, band: Band) -> Filtered:
    """A question that is solved at this rate: expected samples, and the chance that it stays."""
    chances, drawn = {0: 1.0}, 0.0
    for number in range(band.samples):
        going = {right: chance for right, chance in chances.items() if not _certain(right, number, band)}
        drawn += sum(going.values())
        chances = {right: chance for right, chance in chances.items() if right not in going}
        for right, chance in going.items():
            for more, how_likely in ((1, rate), (0, 1 - rate)):
                chances[right + more] = chances.get(right + more, 0.0) + chance * how_likely
    return Filtered(drawn, sum(chance for right, chance in chances.items() if band.fewest <= right <= band.most))


def _certain(right: int, drawn: int, band: Band) -> bool:
    return band.adaptive and (right > band.most or right + band.samples - drawn < band.fewest)


def _shares(model: str) -> list[float]:
    total = sum(SOLVED_OF_8[model])
    return [share / total for share in SOLVED_OF_8[model]]


def _mean(shares: Sequence[float], band: Band) -> Filtered:
    total = sum(shares)
    each = [one(solved / (len(shares) - 1), band) for solved in range(len(shares))]
    pairs = list(zip(shares, each, strict=True))
    drawn = sum(share * question.drawn for share, question in pairs) / total
    return Filtered(drawn, sum(share * question.kept for share, question in pairs) / total)
