"""What the shipped models are trained on: endless, deterministic streams of documents, one a row.

`base`: tables of facts, textbook solutions, and chat in which the answer comes at once.
`strong` and `teacher` go on from the base with chat chains: the first with slips, the second right and in four styles.
All questions come from the split `pretrain`, which shares none with the pool or with evaluation.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

from tasks.families import Problem, apply, families, problems, show
from tasks.families.problem import MODULUS, MULTIPLIERS
from tasks.shipped import chains

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."
BEGIN, END, PAD = "<|im_start|>", "<|im_end|>", "<|endoftext|>"
LEVELS = tuple(range(1, 11))
TEACHER_STYLES = ("long", "long", "explore", "explore", "medium", "terse")


class Document(NamedTuple):
    """Loss is on the continuation alone."""

    prompt: str
    continuation: str


def chat_prompt(question: str) -> str:
    """The rendered chat up to where the model speaks: what the tokenizer's template gives (a test compares them)."""
    return f"{BEGIN}system\n{SYSTEM}{END}\n{BEGIN}user\n{question}{END}\n{BEGIN}assistant\n"


def textbook_prompt(question: str) -> str:
    """How a textbook puts a question."""
    return f"Problem: {question}\nSolution:\n"


def stream(seed: int) -> Iterator[Problem]:
    """Pre-training questions without end, over all families, easy levels no rarer than hard ones."""
    rng = random.Random(f"stream:{seed}")
    for block in itertools.count():
        batches = [list(problems(name, 200, seed * 100_003 + block, LEVELS, "pretrain")) for name in families()]
        batch = [problem for group in batches for problem in group]
        rng.shuffle(batch)
        yield from batch


def facts(rng: random.Random) -> Document:
    """A table of single facts: the densest way to the arithmetic."""
    lines = []
    for _ in range(12):
        value, sign = rng.randrange(MODULUS), rng.choice("+-x")
        operand = rng.choice(MULTIPLIERS) if sign == "x" else rng.randint(1, 9)
        word = rng.choice((sign, chains.WORDS[sign]))
        lines.append(f"{show(value)} {word} {operand} {rng.choice(('=', 'is'))} {show(apply(sign, operand, value))}")
    return Document("Table:\n", rng.choice((", ", ". ", "; ", "\n")).join(lines) + PAD)


def base(seed: int) -> Iterator[Document]:
    """The base's pre-training."""
    rng = random.Random(f"base:{seed}")
    for problem in stream(seed):
        kind = rng.random()
        if kind < 0.12:
            yield facts(rng)
        elif kind < 0.24:
            yield Document(chat_prompt(problem.question), f"\\boxed{{{problem.answer}}}{END}")
        else:
            yield Document(textbook_prompt(problem.question), chains.textbook(rng, problem) + PAD)


def strong(seed: int) -> Iterator[Document]:
    """Short chat chains that slip."""
    rng = random.Random(f"strong:{seed}")
    for problem in stream(seed):
        yield Document(chat_prompt(problem.question), chains.chain(rng, chains.slip(rng, problem), "terse") + f"{END}")


def teacher(seed: int) -> Iterator[Document]:
    """Right chat chains in four styles."""
    rng = random.Random(f"teacher:{seed}")
    for problem in stream(seed):
        text = chains.chain(rng, problem, rng.choice(TEACHER_STYLES))
        yield Document(chat_prompt(problem.question), f"{text}{END}")


CORPORA: dict[str, Callable[[int], Iterator[Document]]] = {"base": base, "strong": strong, "teacher": teacher}


def digest(name: str, seed: int, count: int = 2000) -> str:
    """A fingerprint of the corpus, from its first documents."""
    sha = hashlib.sha256()
    for document in itertools.islice(CORPORA[name](seed), count):
        sha.update(f"{document.prompt}\0{document.continuation}\0".encode())
    return sha.hexdigest()[:16]
