"""`rounds`: a team's score on a two-digit board, round by round. Held out of the default pool: the base has read its
textbook, the training samples never show it.
"""

import random

from tasks.families.days import DAYS
from tasks.families.problem import Family, Step, show

TEAMS = ("the red team", "the blue team", "the green team", "our team", "the home team", "the school team")
ACTIONS = {
    "+": ("scores {n}", "wins {n} more"),
    "-": ("pays a penalty of {n}", "drops {n}"),
    "*": ("sees its score multiplied by {n}", "makes its score {n} times as high"),
}
RULES = (
    "The score board has room for two digits, so only the last two are kept.",
    "A score board keeps only the last two digits.",
)
STARTS = ("When {team} comes in, it reads {n}.", "Before the game of {team} it reads {n}.")
ASKS = ("What does the board read in the end?", "What is the score on the board then?", "Which score can be read then?")


def labels(rng: random.Random, count: int) -> list[str]:
    """Rounds in order, with gaps."""
    return [DAYS[number] for number in sorted(rng.sample(range(len(DAYS)), count))]


def question(rng: random.Random, steps: tuple[Step, ...]) -> str:
    """The question in words."""
    team = rng.choice(TEAMS)
    parts = [rng.choice(RULES), rng.choice(STARTS).format(team=team, n=show(steps[0].before))]
    for step in steps:
        action = rng.choice(ACTIONS[step.sign]).format(n=step.operand)
        parts.append(f"In round {step.label} {team} {action}.")
    return " ".join([*parts, rng.choice(ASKS)])


FAMILY = Family("rounds", 12, "round {}", labels, question)
