"""`buttons`: a display, and lettered buttons that change what it shows."""

import random
import string

from tasks.families.problem import Family, Step, show

ACTIONS = {"+": ("adds {}",), "-": ("takes away {}", "subtracts {}"), "*": ("multiplies by {}",)}
STARTS = ("A display shows {}.", "The display of a machine shows {}.", "A small screen shows {}.")
RULES = (
    "Only the last two digits are kept.",
    "It keeps only the last two digits.",
    "Only two digits fit, the last two.",
)
ORDERS = (
    "Each button is pressed once, in this order.",
    "All buttons are pressed in this order.",
    "Press them in this order.",
)
ASKS = ("What does it show?", "What is shown at the end?", "Which number is shown then?")


def labels(rng: random.Random, count: int) -> list[str]:
    """Letters in random order, each once: a label that is unique in the question is easy to find again."""
    return rng.sample(string.ascii_uppercase, count)


def question(rng: random.Random, steps: tuple[Step, ...]) -> str:
    """The question in words."""
    parts = [rng.choice(STARTS).format(show(steps[0].before)), rng.choice(RULES)]
    for step in steps:
        parts.append(f"Button {step.label} {rng.choice(ACTIONS[step.sign]).format(step.operand)}.")
    return " ".join([*parts, rng.choice(ORDERS), rng.choice(ASKS)])


FAMILY = Family("buttons", 12, "button {}", labels, question)
