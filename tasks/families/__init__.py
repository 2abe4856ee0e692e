"""Question generators with verifiable answers: one file a family, one line here to register it.

    for problem in problems("buttons", count=100, seed=1, levels=[4, 6, 8], split="pool"): ...

Deterministic by seed. Splits are disjoint by construction (see `split_of`): no seed can bring an evaluation question
into the pool or into pre-training.
"""

import random
from collections.abc import Iterator, Sequence
from typing import get_args

from tasks.core.errors import LimoError
from tasks.families import buttons, days, remainders, rounds
from tasks.families.problem import Family, Problem, Split, Step, apply, draw_steps, program, show, split_of

__all__ = ["Family", "Problem", "Split", "Step", "apply", "families", "family", "problems", "show", "split_of"]

REGISTRY: dict[str, Family] = {entry.FAMILY.name: entry.FAMILY for entry in (buttons, days, remainders, rounds)}
TRIES_PER_QUESTION = 400


def families() -> tuple[str, ...]:
    """The names of all families."""
    return tuple(REGISTRY)


def family(name: str) -> Family:
    """The family of that name."""
    if name not in REGISTRY:
        raise LimoError(f"unknown question family {name!r}; there are {', '.join(REGISTRY)}")
    return REGISTRY[name]


def problems(family: str, count: int, seed: int, levels: Sequence[int], split: Split) -> Iterator[Problem]:
    """`count` different questions of one family and split, the levels (numbers of operations) in turn."""
    entry = _checked(family, count, levels, split)
    return _draw(entry, count, random.Random(f"{family}:{split}:{seed}"), levels, split)


def _checked(name: str, count: int, levels: Sequence[int], split: str) -> Family:
    entry = family(name)
    if split not in get_args(Split):
        raise LimoError(f"unknown split {split!r} of family {name}; there are {', '.join(get_args(Split))}")
    if count < 0:
        raise LimoError(f"family {name}: cannot make {count} questions")
    if not levels or not all(1 <= level <= entry.max_level for level in levels):
        raise LimoError(f"family {name}: levels must be from 1 to {entry.max_level}, not {list(levels)}")
    return entry


def _draw(entry: Family, count: int, rng: random.Random, levels: Sequence[int], split: Split) -> Iterator[Problem]:
    seen: set[str] = set()
    for index in range(count):
        level = levels[index % len(levels)]
        for _ in range(TRIES_PER_QUESTION):
            steps = draw_steps(rng, entry.labels(rng, level))
            if split_of(steps) == split and program(steps) not in seen:
                break
        else:
            raise LimoError(
                f"family {entry.name}: no more than {index} different questions found for split {split} "
                f"at level {level}; ask for fewer or for higher levels"
            )
        seen.add(program(steps))
        yield Problem(entry.question(rng, steps), show(steps[-1].after), entry.name, level, steps)
