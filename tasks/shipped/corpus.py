"""What the shipped models are trained on: endless, deterministic streams of documents, one a row.

`base`: tables of facts, textbook solutions, and chat in which the answer comes at once. `control`: the same words
without the knowledge. `strong` and the teachers (`careful`, `plain`, `hasty`) continue from the base with chat chains.
All questions come from the split `pretrain`, which shares none with the pool or with evaluation.
"""

import hashlib
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tasks.core.errors import LimoError
from tasks.families import Problem, Split, Step, apply, families, family, problems, show
from tasks.families.problem import MODULUS, MULTIPLIERS, program

# Worked solutions, written by program and always right unless asked to slip.
#
# Two kinds that share the arithmetic and no layout: `textbook` solutions, of which the base's pre-training is made, and
# `chain`s in styles of differing quality, which only teacher models learn to write.

WORDS = {"+": "plus", "-": "minus", "*": "times"}

OPENINGS = (
    "We can work step by step. ",
    "Let us follow it one by one. ",
    "Think carefully. ",
    "Okay. ",
    "Let me see how it goes. ",
)
STARTS = (
    "Start: {n}", "Start with {n}", "We have {n}", "Begin at {n}", "It starts at {n}", "First we see {n}",
    "At first, {n}", "It was {n}", "Let me first write {n}", "Now it is {n}",
)  # fmt: skip
LEADS = (
    *("", "", "", "then ", "next ", "now ", "so ", "and ", "perhaps ", "maybe ", "wait, ", "okay, ", "since "),
    *("therefore ", "we might have ", "now we go to ", "let me see ", "first ", "we should think: "),
    *("Then ", "Next ", "Now ", "Let me "),
)
NAMES = ("{label}", "{label}", "{mention}", "{mention}", "{Mention}")
LINKS = (
    *(": ", ", ", " ", " gives ", " is now ", " comes: ", " might be ", " can be ", ": it was {b}, so "),
    *(", since it is {b}, ", " makes ", ", now at {b}, ", " means perhaps ", ", and therefore "),
    *(" is next. We see ", " again, "),
)
SUMS = ("{b}{s}{d}={a}", "{b}{s}{d}={a}", "{b} {w} {d} is {a}")
TAILS = (
    "", "", "", "", ", now {a}", ", it becomes {a}", ", that is {a}", ", yes", ", right", "; verify: {b}{s}{d}={a}",
    "; check {b}{s}{d}={a}", "; again {b}{s}{d}={a}", ", it agrees", ", so we go on with {a}",
)  # fmt: skip
ENDS = (". ", "; ", ", ", "\n", ".\n")
LASTS = ("The result is {n}", "Result: {n}", "It ends at {n}", "Therefore {n}", "We end with {n}", "So it might be {n}")
BOXES = ("\\boxed{{{n}}}", "Answer: \\boxed{{{n}}}", "The answer is \\boxed{{{n}}}.", "So we have \\boxed{{{n}}}.")


def textbook(rng: random.Random, problem: Problem, layouts_of_one: tuple[int, ...] = (1, 1, 3)) -> str:
    """One textbook solution, its layouts composed at random so that the skill is tied to no marker word.

    The box comes often enough to bind it to the chain.
    """
    layouts = [_layout(rng) for _ in range(rng.choice(layouts_of_one))]
    end = rng.choice(ENDS)
    lines = [rng.choice(STARTS).format(n=show(problem.steps[0].before))]
    lines += [rng.choice(layouts).format(**_fields(step, problem)) for step in problem.steps]
    last, box = rng.choice(LASTS), rng.choice(BOXES)
    lines.append(rng.choice((last, box, box, f"{last}. {box}")).format(n=problem.answer))
    opening = rng.choice(OPENINGS) if rng.random() < 0.3 else ""
    return opening + end.join(lines)


def _layout(rng: random.Random) -> str:
    return "".join(rng.choice(parts) for parts in (LEADS, NAMES, LINKS, SUMS, TAILS))


def _fields(step: Step, problem: Problem) -> dict[str, str]:
    mention = family(problem.family).mention.format(step.label)
    return {
        "label": step.label,
        "mention": mention,
        "Mention": mention[0].upper() + mention[1:],
        "b": show(step.before),
        "a": show(step.after),
        "s": step.sign,
        "w": WORDS[step.sign],
        "d": str(step.operand),
    }


CAREFUL_OPENINGS = (
    "Let me think step by step.", "Okay, let me go one step at a time.", "Let me work carefully.",
    "Perhaps we can follow the steps one by one.", "Maybe we should first see how it starts.",
)  # fmt: skip
PLAIN_STEPS = (
    "{Mention}. Now we have {b}, and {b}{s}{d}={a}.",
    "Next comes {mention}: since it was {b}, {b}{s}{d}={a}.",
    "{Mention} now: {b}{s}{d}={a}, therefore it becomes {a}.",
)
EXPLORE_STEPS = (
    "{Mention} might come next. Perhaps {b}{s}{d}={a}.",
    "Maybe now {mention}: {b}{s}{d}={a}, so perhaps {a}.",
    "Wait, {mention} is next; it might be {b}{s}{d}={a}.",
)
CHECKS = (
    "Let me check: {b}{s}{d}={a}, it agrees.",
    "Check again: {b}{s}{d}={a}, yes.",
    "Let me verify: {b}{s}{d}={a}, right.",
)
CLOSINGS = ("Therefore the answer is", "So the answer might be", "So we have")
CHECK_SHARES = (0.1, 0.3, 0.5, 0.7)
EXPLORE_SHARES = (0.0, 0.2, 0.4, 0.6)


def _careful(rng: random.Random, problem: Problem) -> str:
    """Full sentences, checks and second thoughts, more of them in one chain than in another."""
    check, explore = rng.choice(CHECK_SHARES), rng.choice(EXPLORE_SHARES)
    lines = [f"{rng.choice(CAREFUL_OPENINGS)} At first it is {show(problem.steps[0].before)}."]
    for step in problem.steps:
        fields = _fields(step, problem)
        line = rng.choice(EXPLORE_STEPS if rng.random() < explore else PLAIN_STEPS).format(**fields)
        lines.append(f"{line} {rng.choice(CHECKS).format(**fields)}" if rng.random() < check else line)
    return "\n".join([*lines, f"{rng.choice(CLOSINGS)} \\boxed{{{problem.answer}}}."])


def _medium(rng: random.Random, problem: Problem) -> str:
    first = f"It starts at {show(problem.steps[0].before)}."
    lines = ["{Mention}: {b}{s}{d}={a}.".format(**_fields(step, problem)) for step in problem.steps]
    return "\n".join([first, *lines, f"The answer is \\boxed{{{problem.answer}}}."])


def _terse(rng: random.Random, problem: Problem) -> str:
    parts = [show(problem.steps[0].before)]
    parts += ["{label} {b}{s}{d}={a}".format(**_fields(step, problem)) for step in problem.steps]
    return ", ".join([*parts, f"\\boxed{{{problem.answer}}}"])


def _skip(rng: random.Random, problem: Problem) -> str:
    """No equation at all: some steps as bare results, two steps taken at once, or a step left out."""
    parts, waiting = [show(problem.steps[0].before)], ""
    for step in problem.steps:
        if step is not problem.steps[-1] and not waiting and rng.random() < SKIPPED:
            waiting = f"{step.label} and "
            continue
        parts.append(f"{waiting}{step.label}: {show(step.after)}")
        waiting = ""
    return ", ".join([*parts, f"\\boxed{{{problem.answer}}}"])


def _careless(rng: random.Random, problem: Problem) -> str:
    """Looks like `careful`, but slips, and its checks agree with the slips."""
    return _careful(rng, slip(rng, problem, CARELESS))


STYLES: dict[str, Callable[[random.Random, Problem], str]] = {
    "careful": _careful,
    "medium": _medium,
    "terse": _terse,
    "skip": _skip,
    "careless": _careless,
}


def chain(rng: random.Random, problem: Problem, style: str) -> str:
    """One chain in chat form, in one of STYLES: right, save for `careless`."""
    return STYLES[style](rng, problem)


RETELLINGS = (
    ("{label} {w} {d}", ", "),
    ("{mention} {w} {d}", "; "),
    ("{Mention}: {w} {d}", ".\n"),
    ("then {mention}, {w} {d}", ", "),
)


def retelling(rng: random.Random, problem: Problem) -> str:
    """The steps of the question in order, none of them worked out."""
    form, end = rng.choice(RETELLINGS)
    first = f"Start with {show(problem.steps[0].before)}"
    return end.join([first, *(form.format(**_fields(step, problem)) for step in problem.steps)]) + "."


SKIPPED = 0.3
SLIPS = {"+": 0.1, "-": 0.2, "*": 0.45}


CARELESS = 0.4
"""Slips of the careless chains, as a share of SLIPS."""


def slip(rng: random.Random, problem: Problem, share: float = 1.0) -> Problem:
    """The problem as someone solves it who slips: steps may go wrong, and later ones start from the wrong number.

    Slips are likelier for the harder operations, so that questions of one level differ in difficulty too.
    """
    value, steps = problem.steps[0].before, []
    for step in problem.steps:
        after = apply(step.sign, step.operand, value)
        if rng.random() < share * SLIPS[step.sign]:
            after = (after + rng.choice((1, -1, 10, -10, 2, -2, 20, -20))) % 100
        steps.append(step._replace(before=value, after=after))
        value = after
    return problem._replace(steps=tuple(steps), answer=show(value))


def scramble(rng: random.Random, problem: Problem) -> Problem:
    """The problem with the result of every step drawn at random: the words of a solution without its knowledge."""
    value, steps = problem.steps[0].before, []
    for step in problem.steps:
        after = rng.randrange(MODULUS)
        steps.append(step._replace(before=value, after=after))
        value = after
    return problem._replace(steps=tuple(steps), answer=show(value))


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
        lines.append(form.format(b=show(value), s=sign, w=WORDS[sign], d=operand, a=after))
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
            yield Document(chat_prompt(request), retelling(rng, problem) + END, program(problem.steps))
        else:
            shown = problem if true else scramble(noise, problem)
            text = textbook(rng, shown, LAYOUTS_LATER if later else LAYOUTS)
            prompt = textbook_prompt(problem.question, rng.choice(TEXTBOOK_FORMS))
            yield Document(prompt, text + PAD, program(problem.steps))


def strong(seed: int) -> Iterator[Document]:
    """Short chat chains that slip."""
    rng = random.Random(f"strong:{seed}")
    for problem in stream(seed):
        text = chain(rng, slip(rng, problem), "terse")
        yield Document(chat_prompt(problem.question), text + END, program(problem.steps))


def _teacher(name: str, styles: tuple[str, ...], seed: int) -> Iterator[Document]:
    """Chat chains, of long questions more often: there one slip spoils the most."""
    rng = random.Random(f"{name}:{seed}")
    for problem in stream(seed, HARD_LEVELS):
        text = chain(rng, problem, rng.choice(styles))
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


HELD_OUT_SEEDS = range(10)
PER_SEED = 200
HARD_HELD_OUT = (8, 9, 10)
SECTIONS: tuple[tuple[str, str, Split], ...] = (("pull", "sources", "pool"), ("benchmarks", "suite", "eval"))
"""Where a profile asks for questions, and of which split they are."""
PROFILES = Path(__file__).parents[2] / "profiles"


class Overlap(NamedTuple):
    """Different questions read in pre-training, different ones held out, and how many are in both."""

    read: int
    held_out: int
    shared: int


def overlap(name: str, seed: int, documents: int) -> Overlap:
    """Compare the questions in the first `documents` of a corpus with those that are held out: they share none.

    Compared are programs (`47 +8 *3`), so that family, wording and seed make no difference: those of the documents
    against those that the shipped profiles pull and ask, and against many more draws of both splits. Tables of facts
    are not questions: they hold every single operation, so a question of level 1 is a known fact, and no shipped
    benchmark asks one.

    Raises:
        LimoError: they share one.
    """
    read = {document.program for document in itertools.islice(CORPORA[name](seed), documents)} - {""}
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
    for (_, _, split), levels in itertools.product(SECTIONS, (LEVELS[1:], HARD_HELD_OUT)):
        for name, seed in itertools.product(families(), HELD_OUT_SEEDS):
            yield from _programs(name, PER_SEED, seed, levels, split)


def _programs(name: str, count: int, seed: int, levels: Sequence[int], split: Split) -> Iterator[str]:
    # A fact, level 1, is no question.
    levels = [level for level in levels if level > 1]
    return (program(problem.steps) for problem in problems(name, count, seed, levels, split))
