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
EASY_LEVELS = (1, 2, 3)
HARD_LEVELS = (2, 4, 6, 8, 9, 10, 10)
TEXTBOOK_FORMS = (
    "Problem: {}\nSolution:\n",
    "Question: {}\nSteps:\n",
    "Exercise. {}\nWorking: ",
    "{}\nStep by step:\n",
    "{}\n",
)
TEACHER_STYLES = ("long", "long", "explore", "explore", "medium", "terse")


class Document(NamedTuple):
    """Loss is on the continuation alone."""

    prompt: str
    continuation: str


def chat_prompt(question: str) -> str:
    """The rendered chat up to where the model speaks: what the tokenizer's template gives (a test compares them)."""
    return f"{BEGIN}system\n{SYSTEM}{END}\n{BEGIN}user\n{question}{END}\n{BEGIN}assistant\n"


def textbook_prompt(question: str, form: str = "Problem: {}\nSolution:\n") -> str:
    """How a textbook puts a question."""
    return form.format(question)


def stream(seed: int, levels: tuple[int, ...] = LEVELS) -> Iterator[Problem]:
    """Pre-training questions without end, over all families, easy levels no rarer than hard ones."""
    rng = random.Random(f"stream:{seed}:{levels}")
    for block in itertools.count():
        batches = [list(problems(name, 200, seed * 100_003 + block, levels, "pretrain")) for name in families()]
        batch = [problem for group in batches for problem in group]
        rng.shuffle(batch)
        yield from batch


def facts(rng: random.Random) -> Document:
    """A table of single facts: the densest way to the arithmetic."""
    lines = []
    for _ in range(12):
        value, sign = rng.randrange(MODULUS), rng.choice("+-*")
        operand = rng.choice(MULTIPLIERS) if sign == "*" else rng.randint(1, 9)
        form = rng.choice(("{b}{s}{d}={a}", "{b} {w} {d} is {a}"))
        after = show(apply(sign, operand, value))
        lines.append(form.format(b=show(value), s=sign, w=chains.WORDS[sign], d=operand, a=after))
    return Document("Table:\n", rng.choice((", ", ". ", "; ", "\n")).join(lines) + PAD)


def base(
    seed: int, levels: tuple[int, ...] = LEVELS, layouts_of_one: tuple[int, ...] = (1, 1, 3)
) -> Iterator[Document]:
    """The base's pre-training. Half of the chat is easy, so that the answer at once is sometimes right."""
    rng = random.Random(f"base:{seed}")
    easy = stream(seed, EASY_LEVELS)
    for problem in stream(seed, levels):
        kind = rng.random()
        if kind < 0.08:
            yield facts(rng)
        elif kind < 0.24:
            asked = problem if kind < 0.14 else next(easy)
            yield Document(chat_prompt(asked.question), f"\\boxed{{{asked.answer}}}{END}")
        else:
            prompt = textbook_prompt(problem.question, rng.choice(TEXTBOOK_FORMS))
            yield Document(prompt, chains.textbook(rng, problem, layouts_of_one) + PAD)


def base_hard(seed: int) -> Iterator[Document]:
    """The second part of the base's pre-training: longer questions, and more layouts within one solution."""
    return base(seed, HARD_LEVELS, (1, 3, 5))


def strong(seed: int) -> Iterator[Document]:
    """Short chat chains that slip."""
    rng = random.Random(f"strong:{seed}")
    for problem in stream(seed):
        yield Document(chat_prompt(problem.question), chains.chain(rng, chains.slip(rng, problem), "terse") + END)


def teacher(seed: int) -> Iterator[Document]:
    """Right chat chains in four styles, long questions more often: there one slip spoils the most."""
    rng = random.Random(f"teacher:{seed}")
    for problem in stream(seed, HARD_LEVELS):
        text = chains.chain(rng, problem, rng.choice(TEACHER_STYLES))
        yield Document(chat_prompt(problem.question), f"{text}{END}")


CORPORA: dict[str, Callable[[int], Iterator[Document]]] = {
    "base": base,
    "base_hard": base_hard,
    "strong": strong,
    "teacher": teacher,
}


def digest(name: str, seed: int, count: int = 2000) -> str:
    """A fingerprint of the corpus, from its first documents."""
    sha = hashlib.sha256()
    for document in itertools.islice(CORPORA[name](seed), count):
        sha.update(f"{document.prompt}\0{document.continuation}\0".encode())
    return sha.hexdigest()[:16]
