"""Pairs of questions for near-duplicate search: those that say the same, and those that only look it."""

import random
import re
from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from benchmarks.paraphrase import reword
from benchmarks.pool_data import QUESTIONS
from benchmarks.rewrites import Rewriter, renumber, respace, retypeset
from tasks.records.question import question_id

OPPOSITES = (
    ("minimum", "maximum"),
    ("smallest", "largest"),
    ("least", "greatest"),
    ("minimize", "maximize"),
    ("more", "fewer"),
    ("even", "odd"),
    ("first", "last"),
    ("sin", "cos"),
)
INSERTED = ("carefully", "exactly", "then", "also", "now", "in total", "here")


def insert(text: str, generator: random.Random) -> str:
    """One or two words more, between two words."""
    words = text.split(" ")
    for _ in range(generator.choice([1, 2])):
        words.insert(generator.randint(1, len(words)), generator.choice(INSERTED))
    return " ".join(words)


def enumerate_it(text: str, generator: random.Random) -> str:
    number = generator.randint(1, 40)
    return generator.choice(["Example {}. ", "{}. ", "({}) ", "Problem {}: ", "Question {}. "]).format(number) + text


def one_number(text: str, generator: random.Random) -> str:
    """One number another: another question from the same template."""
    return renumber(text, generator, 1e-9)


def swap(text: str, generator: random.Random) -> str:
    """The opposite asked for: minimum for maximum."""
    for left, right in OPPOSITES:
        found = re.compile(rf"(?<![A-Za-z])(?:{left}|{right})(?![A-Za-z])")
        if found.search(text):
            other = {left: right, right: left}
            return found.sub(lambda match, other=other: other[match.group()], text)  # type: ignore[misc]
    return text


SAME: Mapping[str, Rewriter] = {
    "whitespace and case": respace,
    "reformatted LaTeX": retypeset,
    "synonyms": reword,
    "words inserted": insert,
    "enumerator added": enumerate_it,
}
DIFFERENT: Mapping[str, Rewriter] = {"one number other": one_number, "minimum for maximum": swap}


class Pair(NamedTuple):
    """A question and its copy, by their places in the pool."""

    kind: str
    first: int
    copy: int


class Planted(NamedTuple):
    """A pool with pairs in it."""

    questions: pl.DataFrame
    """QUESTIONS; the copies stand last."""
    pairs: list[Pair]


def plant_pairs(pool: pl.DataFrame, per_kind: int, seed: int = 0) -> Planted:
    """Copies of questions drawn from the pool (QUESTIONS), each question for one kind at most.

    What says the same keeps its answer; what does not gets another one.
    """
    generator = random.Random(seed)
    places = iter(generator.sample(range(pool.height), pool.height))
    rows: list[tuple[str, ...]] = []
    pairs: list[Pair] = []
    for kind, rewriter in [*SAME.items(), *DIFFERENT.items()]:
        made = 0
        while made < per_kind and (place := next(places, None)) is not None:
            original = pool.row(place, named=True)
            copy = rewriter(original["question"], generator)
            if copy != original["question"]:
                answer = original["answer"] if kind in SAME else f"{original['answer']}1"
                pairs.append(Pair(kind, place, pool.height + len(rows)))
                rows.append((question_id("copy", copy), "copy", copy, answer))
                made += 1
    return Planted(pl.concat([pool, pl.DataFrame(rows, schema=QUESTIONS, orient="row")]), pairs)
