"""`days`: someone's collection grows and shrinks from day to day."""

import random

from tasks.families.problem import Family, Step, show

DAYS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
PEOPLE = ("Mia", "Ben", "Lena", "Omar", "Yuki", "Tom", "Sara", "Ivan", "Nora", "Leo")
THINGS = ("stickers", "coins", "shells", "cards", "stamps", "beads", "marbles", "books")
ACTIONS = {
    "+": ("{who} gets {n} more", "{who} finds {n} {things}"),
    "-": ("{who} gives away {n}", "{who} loses {n} {things}"),
    "*": ("there are {n} times as many", "the number becomes {n} times as large"),
}
RULES = (
    "{who} counts {things} and writes only the last two digits.",
    "{who} has many {things}; only the last two digits are written down.",
)
STARTS = ("At first the note says {n}.", "The first note says {n}.", "It starts at {n}.")
ASKS = ("What is written at the end?", "What does the last note say?", "Which two digits are written then?")


def labels(rng: random.Random, count: int) -> list[str]:
    """Days in calendar order, with gaps."""
    return [DAYS[day] for day in sorted(rng.sample(range(len(DAYS)), count))]


def question(rng: random.Random, steps: tuple[Step, ...]) -> str:
    """The question in words."""
    who, things = rng.choice(PEOPLE), rng.choice(THINGS)
    parts = [rng.choice(RULES).format(who=who, things=things), rng.choice(STARTS).format(n=show(steps[0].before))]
    for step in steps:
        action = rng.choice(ACTIONS[step.sign]).format(who=who, n=step.operand, things=things)
        parts.append(f"On day {step.label} {action}.")
    return " ".join([*parts, rng.choice(ASKS)])


FAMILY = Family("days", 12, "day {}", labels, question)
