"""The arithmetic under every question family: a two-digit register and a few operations modulo 100.

Modulo 100 because chance must be small (1%): at modulo 10 a model that only guesses is right 3 times in 32 and would
fall into the paper's difficulty band. The multipliers 3, 7 and 9 are invertible modulo 100, so answers stay uniform.
"""

import hashlib
import random
from collections.abc import Callable
from typing import Literal, NamedTuple

MODULUS = 100
MULTIPLIERS = (3, 7, 9)
SIGNS = ("+", "-", "*")
SIGN_WEIGHTS = (4, 4, 2)

Split = Literal["pretrain", "pool", "eval"]


class Step(NamedTuple):
    """One operation: under `label`, `before` becomes `after`."""

    label: str
    sign: str
    operand: int
    before: int
    after: int


class Problem(NamedTuple):
    """One question with its verified answer and the steps that lead to it."""

    question: str
    answer: str
    family: str
    level: int
    steps: tuple[Step, ...]


class Family(NamedTuple):
    """What one file in this folder provides: the wording of a question around the shared arithmetic."""

    name: str
    max_level: int
    mention: str
    """How a chain names a step, as a format of the label: `button {}`."""
    labels: Callable[[random.Random, int], list[str]]
    question: Callable[[random.Random, tuple[Step, ...]], str]


def show(value: int) -> str:
    """The register as it is displayed: always two digits."""
    return f"{value % MODULUS:02d}"


def apply(sign: str, operand: int, value: int) -> int:
    """The register after one operation."""
    result = {"+": value + operand, "-": value - operand, "*": value * operand}[sign]
    return result % MODULUS


def draw_steps(rng: random.Random, labels: list[str]) -> tuple[Step, ...]:
    """A random start and one random operation a label."""
    value, steps = rng.randrange(MODULUS), []
    for label in labels:
        sign = rng.choices(SIGNS, SIGN_WEIGHTS)[0]
        operand = rng.choice(MULTIPLIERS) if sign == "*" else rng.randint(1, 9)
        after = apply(sign, operand, value)
        steps.append(Step(label, sign, operand, value, after))
        value = after
    return tuple(steps)


def program(steps: tuple[Step, ...]) -> str:
    """The question without its words: `47 +8 *3`. Two questions with one program are the same question reworded."""
    return " ".join([show(steps[0].before), *(f"{step.sign}{step.operand}" for step in steps)])


def split_of(steps: tuple[Step, ...]) -> Split:
    """The split that a program belongs to, whatever its family, wording or seed.

    Decided by a hash of the program: pre-training, pool and evaluation can share no question, not even reworded.
    """
    bucket = int.from_bytes(hashlib.sha256(program(steps).encode()).digest()[:8], "big") % 10
    return "pretrain" if bucket < 6 else "pool" if bucket < 8 else "eval"
