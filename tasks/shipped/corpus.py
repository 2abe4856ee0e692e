"""What the shipped models are trained on: endless, deterministic streams of documents, one a row.

`base`: tables of facts, textbook solutions, and chat in which the answer comes at once. `control`: the same words
without the knowledge. `strong` and the teachers (`careful`, `plain`, `hasty`) go on from the base with chat chains.
All questions come from the split `pretrain`, which shares none with the pool or with evaluation.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import NamedTuple

from tasks.families import Problem, apply, families, family, problems, show
from tasks.families.problem import MODULUS, MULTIPLIERS, program
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
RETELL_FORMS = ("List the steps: {}", "{} Only list the steps, in order.", "Tell the steps of this exercise again. {}")
LAYOUTS, LAYOUTS_LATER = (1, 1, 3), (1, 3, 5)


class Document(NamedTuple):
    """Loss is on the continuation alone."""

    prompt: str
    continuation: str
    program: str = ""
    """Of the question in it, that no other split may have; tables have none."""


def chat_prompt(question: str) -> str:
    """The rendered chat up to where the model speaks: what the tokenizer's template gives (a test compares them)."""
    return f"{BEGIN}system\n{SYSTEM}{END}\n{BEGIN}user\n{question}{END}\n{BEGIN}assistant\n"


def textbook_prompt(question: str, form: str = "Problem: {}\nSolution:\n") -> str:
    """How a textbook puts a question."""
    return form.format(question)


def lead(problem: Problem) -> str:
    """The beginning of a solution, up to the first sign of equality: led into the steps, none of them taken."""
    first = problem.steps[0]
    mention = family(problem.family).mention.format(first.label)
    step = f"{mention[0].upper()}{mention[1:]} is now {show(first.before)}{first.sign}{first.operand}="
    return f"It starts at {show(first.before)}.\n{step}"


def stream(seed: int, levels: tuple[int, ...] = LEVELS, often: tuple[str, ...] = ()) -> Iterator[Problem]:
    """Pre-training questions without end, over all families, those of `often` twice as often."""
    rng = random.Random(f"stream:{seed}:{levels}")
    for block in itertools.count():
        counts = {name: 400 if name in often else 200 for name in families()}
        batches = [list(problems(name, n, seed * 100_003 + block, levels, "pretrain")) for name, n in counts.items()]
        batch = [problem for group in batches for problem in group]
        rng.shuffle(batch)
        yield from batch


def facts(rng: random.Random, true: bool = True) -> Document:
    """A table of single facts: the densest way to the arithmetic. Unless `true`, its results are drawn at random."""
    lines = []
    for _ in range(12):
        value, sign = rng.randrange(MODULUS), rng.choice("+-*")
        operand = rng.choice(MULTIPLIERS) if sign == "*" else rng.randint(1, 9)
        form = rng.choice(("{b}{s}{d}={a}", "{b} {w} {d} is {a}"))
        after = show(apply(sign, operand, value) if true else rng.randrange(MODULUS))
        lines.append(form.format(b=show(value), s=sign, w=chains.WORDS[sign], d=operand, a=after))
    return Document("Table:\n", rng.choice((", ", ". ", "; ", "\n")).join(lines) + PAD)


class Mix(NamedTuple):
    """What a corpus is made of, as shares of its documents; the rest is textbooks."""

    facts: float = 0.08
    answers: float = 0.12
    retellings: float = 0.12
    easy_documents: int = 32_000
    """So many documents in, questions get longer and a solution changes its layout more often."""
    often: tuple[str, ...] = ()
    """Families whose long questions come twice as often."""


FIRST = Mix()
LONG = Mix(easy_documents=0)
LETTERS = Mix(facts=0.03, answers=0.06, retellings=0.03, easy_documents=0, often=("buttons", "remainders"))
"""The last part: where labels are letters in no order, operands are the hardest to find."""


def base(seed: int, mix: Mix = FIRST, true: bool = True) -> Iterator[Document]:
    """The base's pre-training: tables, textbooks, and chat that answers at once or only retells the question.

    Half of the answers at once are to easy questions, so that some are right. Unless `true`, the result of every step
    is drawn at random: the same mix of questions and words without the knowledge (the control base).
    """
    rng, noise = random.Random(f"base:{seed}"), random.Random(f"noise:{seed}")
    easy, mixed, hard = stream(seed, EASY_LEVELS), stream(seed), stream(seed, HARD_LEVELS, mix.often)
    for number in itertools.count():
        later = number >= mix.easy_documents
        problem = next(hard if later else mixed)
        kind = rng.random()
        if kind < mix.facts:
            yield facts(rng, true)
        elif kind < mix.facts + mix.answers:
            asked = problem if kind < mix.facts + mix.answers / 2 else next(easy)
            yield Document(chat_prompt(asked.question), f"\\boxed{{{asked.answer}}}{END}", program(asked.steps))
        elif kind < mix.facts + mix.answers + mix.retellings:
            request = rng.choice(RETELL_FORMS).format(problem.question)
            yield Document(chat_prompt(request), chains.retelling(rng, problem) + END, program(problem.steps))
        else:
            shown = problem if true else chains.scramble(noise, problem)
            text = chains.textbook(rng, shown, LAYOUTS_LATER if later else LAYOUTS)
            prompt = textbook_prompt(problem.question, rng.choice(TEXTBOOK_FORMS))
            yield Document(prompt, text + PAD, program(problem.steps))


def strong(seed: int) -> Iterator[Document]:
    """Short chat chains that slip."""
    rng = random.Random(f"strong:{seed}")
    for problem in stream(seed):
        text = chains.chain(rng, chains.slip(rng, problem), "terse")
        yield Document(chat_prompt(problem.question), text + END, program(problem.steps))


def _teacher(name: str, styles: tuple[str, ...], seed: int) -> Iterator[Document]:
    """Chat chains, of long questions more often: there one slip spoils the most."""
    rng = random.Random(f"{name}:{seed}")
    for problem in stream(seed, HARD_LEVELS):
        text = chains.chain(rng, problem, rng.choice(styles))
        yield Document(chat_prompt(problem.question), text + END, program(problem.steps))


def careful(seed: int) -> Iterator[Document]:
    """The good teacher: full chains with checks."""
    return _teacher("careful", ("careful",), seed)


def plain(seed: int) -> Iterator[Document]:
    """The middling teacher: right, and no more words than needed."""
    return _teacher("plain", ("medium", "terse"), seed)


def hasty(seed: int) -> Iterator[Document]:
    """The poor teacher: skips steps, or slips and lets its checks agree."""
    return _teacher("hasty", ("skip", "careless"), seed)


CORPORA: dict[str, Callable[[int], Iterator[Document]]] = {
    "base": base,
    "base_long": partial(base, mix=LONG),
    "base_letters": partial(base, mix=LETTERS),
    "control": partial(base, true=False),
    "control_long": partial(base, mix=LONG, true=False),
    "control_letters": partial(base, mix=LETTERS, true=False),
    "strong": strong,
    "careful": careful,
    "plain": plain,
    "hasty": hasty,
}


@cache
def digest(name: str, seed: int, count: int = 2000) -> str:
    """A fingerprint of the corpus, from its first documents."""
    sha = hashlib.sha256()
    for document in itertools.islice(CORPORA[name](seed), count):
        sha.update(f"{document.prompt}\0{document.continuation}\0".encode())
    return sha.hexdigest()[:16]
