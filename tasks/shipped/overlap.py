"""Shows that pre-training and evaluation share no question, whatever the family, the wording and the seed.

Questions are compared by their program (`47 +8 *3`): those of the documents that a corpus yields against those that the
shipped profiles pull and ask, and against many more draws of both splits. Tables of facts are not questions: they hold
every single operation, so a question of level 1 is a known fact, and no shipped benchmark asks one.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tasks.errors import LimoError
from tasks.families import Split, families, problems
from tasks.families.problem import program
from tasks.shipped import corpus

HELD_OUT_SEEDS = range(10)
PER_SEED = 200
HARD = (8, 9, 10)
SECTIONS: tuple[tuple[str, str, Split], ...] = (("pull", "sources", "pool"), ("benchmarks", "suite", "eval"))
"""Where a profile asks for questions, and of which split they are."""
PROFILES = Path(__file__).parents[2] / "profiles"


class Overlap(NamedTuple):
    """Different questions read in pre-training, different ones held out, and how many are in both."""

    read: int
    held_out: int
    shared: int


def overlap(name: str, seed: int, documents: int) -> Overlap:
    """Compare the questions in the first `documents` of a corpus with those that are held out.

    Raises:
        LimoError: they share one.
    """
    read = {document.program for document in itertools.islice(corpus.CORPORA[name](seed), documents)} - {""}
    held = set(held_out())
    shared = read & held
    if shared:
        raise LimoError(f"corpus {name}: {len(shared)} held-out questions, such as {min(shared)!r}; see split_of")
    return Overlap(len(read), len(held), len(shared))


def held_out() -> Iterator[str]:
    """Programs of pool and evaluation questions: all that the shipped profiles name, and many more."""
    for path in sorted(PROFILES.rglob("*.yaml")):
        tree: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        for section, key, split in SECTIONS:
            for each in (tree.get(section) or {}).get(key, []):
                if "family" in each:
                    yield from _programs(each["family"], each["count"], each["seed"], each["levels"], split)
    for (_, _, split), levels in itertools.product(SECTIONS, (corpus.LEVELS[1:], HARD)):
        for family, seed in itertools.product(families(), HELD_OUT_SEEDS):
            yield from _programs(family, PER_SEED, seed, levels, split)


def _programs(family: str, count: int, seed: int, levels: Sequence[int], split: Split) -> Iterator[str]:
    # A fact, level 1, is no question.
    asked = [level for level in levels if level > 1]
    return (program(problem.steps) for problem in problems(family, count, seed, asked, split))
