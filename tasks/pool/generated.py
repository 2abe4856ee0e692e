"""Questions made by a generator: the families of this project, or a task of reasoning-gym."""

import hashlib
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from tasks.errors import LimoError
from tasks.families import Split, problems
from tasks.pool.source import SourceParams


class Made(NamedTuple):
    """One generated question."""

    question: str
    answer: str | None
    domain: str
    level: str | None
    origin: str


def make(source: SourceParams, split: Split, key: str) -> Iterator[Made] | None:
    """The questions of a generator, or None when the source is none.

    Raises:
        LimoError: the generator refuses its settings.
    """
    if source.family is not None:
        return _from_family(source, split)
    if source.reasoning_gym is not None:
        return _from_reasoning_gym(source, split, key)
    return None


def _from_family(source: SourceParams, split: Split) -> Iterator[Made]:
    assert source.family is not None
    assert source.count is not None
    assert source.levels is not None
    call = f"family:{source.family}:{split}:{source.seed}"
    made = problems(source.family, source.count, source.seed, source.levels, split)
    for number, problem in enumerate(made, 1):
        yield Made(problem.question, problem.answer, problem.family, str(problem.level), f"{call}:{number}")


def _from_reasoning_gym(source: SourceParams, split: Split, key: str) -> Iterator[Made]:
    assert source.reasoning_gym is not None
    with warnings.catch_warnings():
        # One of its dependencies warns about its own syntax when first compiled.
        warnings.simplefilter("ignore")
        import reasoning_gym
    try:
        entries = reasoning_gym.create_dataset(
            source.reasoning_gym, size=source.count, seed=_far_seed(split, source.seed), **source.config
        )
    except (ValueError, TypeError, AssertionError) as error:
        raise LimoError(f"reasoning_gym {source.reasoning_gym}: {error} (params.yaml: {key})") from None
    call = f"reasoning_gym:{source.reasoning_gym}:{split}:{source.seed}"
    for number, entry in enumerate(entries, 1):
        yield Made(entry["question"], entry["answer"], source.reasoning_gym, None, f"{call}:{number}")


def _far_seed(split: Split, seed: int) -> int:
    """A seed far from all others: reasoning-gym draws entry i from `seed + i`, so seeds 3 and 14 share questions."""
    return int.from_bytes(hashlib.blake2b(f"{split}:{seed}".encode(), digest_size=4).digest())
