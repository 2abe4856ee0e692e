"""`remainders`: competition style, a chain of letters each defined by the one before, and a remainder at the end."""

import random
import string

from tasks.families.problem import Family, Step, show

LETTERS = string.ascii_lowercase
TERMS = {
    "+": ("{before} + {n}", "{n} more than {before}"),
    "-": ("{before} - {n}", "{n} less than {before}"),
    "*": ("{before} \\cdot {n}", "{n} times {before}"),
}
DEFINITIONS = (" {label} = {term}", " {label} be {term}")
OPENINGS = ("Let", "Suppose we let", "We let")
ASKS = (
    "What is the remainder when {last} is divided by 100?",
    "Find the remainder when {last} is divided by 100.",
    "Find {last} modulo 100.",
    "What are the last two digits of {last}?",
)


def labels(rng: random.Random, count: int) -> list[str]:
    """Small letters in random order, each once."""
    return rng.sample(LETTERS, count)


def question(rng: random.Random, steps: tuple[Step, ...]) -> str:
    """The question in words."""
    first = rng.choice([letter for letter in LETTERS if letter not in {step.label for step in steps}])
    parts, before = [f"{rng.choice(OPENINGS)} {first} = {show(steps[0].before)}"], first
    for step in steps:
        term = rng.choice(TERMS[step.sign]).format(before=before, n=step.operand)
        parts.append(rng.choice(DEFINITIONS).format(label=step.label, term=term))
        before = step.label
    return f"{','.join(parts)}. {rng.choice(ASKS).format(last=before)}"


FAMILY = Family("remainders", 12, "value {}", labels, question)
