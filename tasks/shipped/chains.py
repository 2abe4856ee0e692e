"""Worked solutions, written by program and always right unless asked to slip.

Two kinds that share the arithmetic and no layout: `textbook` solutions, of which the base's pre-training is made, and
`teacher` chains in four styles of differing quality, which only teacher models learn to write.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

from tasks.families import Problem, Step, apply, family, show

WORDS = {"+": "plus", "-": "minus", "x": "times"}


class Textbook(NamedTuple):
    """The layout of one textbook solution; drawn anew for each, so that the skill is tied to no marker word."""

    start: str
    step: str
    end_of_step: str
    last: str


STARTS = ("Start: {n}", "Start with {n}", "We have {n}", "Begin at {n}", "{n} to begin")
STEPS = (
    "{label}: {b} {s} {d} = {a}",
    "{label} {b} {s} {d} = {a}",
    "{label}, {b} {s} {d} is {a}",
    "({label}) {b} {s} {d} = {a}",
    "then {label} {b} {w} {d} is {a}",
    "{mention}: {b} {w} {d} = {a}",
    "with {mention}, {b} {w} {d} is {a}",
)
ENDS = (".", ";", ",", "\n", ".\n")
LASTS = ("The result is {n}", "Result: {n}", "It ends at {n}", "Final number {n}", "We end with {n}")
BOXES = ("\\boxed{{{n}}}", "Answer: \\boxed{{{n}}}", "The answer is \\boxed{{{n}}}.")
ASIDES = (
    "check",
    "verify",
    "perhaps",
    "might",
    "maybe",
    "since",
    "therefore",
    "so",
    "because",
    "let me see",
    "wait",
    "again",
)


def textbook(rng: random.Random, problem: Problem) -> str:
    """One textbook solution; the box comes often enough to bind it to the chain, an aside now and then."""
    layout = Textbook(rng.choice(STARTS), rng.choice(STEPS), rng.choice(ENDS), rng.choice(LASTS))
    asides = rng.choice((0.0, 0.0, 0.2))
    end = layout.end_of_step if layout.end_of_step.endswith("\n") else layout.end_of_step + " "
    lines = [layout.start.format(n=show(problem.steps[0].before))]
    for step in problem.steps:
        aside = f"{rng.choice(ASIDES)} " if rng.random() < asides else ""
        lines.append(aside + layout.step.format(**_fields(step, problem)))
    tail = rng.choice((layout.last, "{box}", layout.last + ". {box}", "{box}"))
    box = rng.choice(BOXES).format(n=problem.answer)
    return end.join([*lines, tail.format(n=problem.answer, box=box)])


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


LONG_OPENINGS = ("Let me think step by step.", "Okay, let me go one step at a time.", "Let me work carefully.")
LONG_STEPS = (
    "{Mention}. Now we have {b}, and {b} {s} {d} = {a}.",
    "Next comes {mention}: since it was {b}, {b} {s} {d} = {a}.",
    "{Mention} now: {b} {s} {d} = {a}, therefore it becomes {a}.",
)
CHECKS = (
    "Let me check: {b} {s} {d} = {a}, it agrees.",
    "Check again: {b} {s} {d} = {a}, yes.",
    "Let me verify: {b} {s} {d} = {a}, right.",
)
EXPLORE_OPENINGS = ("Perhaps we can follow the steps one by one.", "Maybe we should first see how it starts.")
EXPLORE_STEPS = (
    "{Mention} might come next. Perhaps {b} {s} {d} = {a}.",
    "Maybe now {mention}: {b} {s} {d} = {a}, so perhaps {a}.",
    "Wait, {mention} is next; it might be {b} {s} {d} = {a}.",
)


def _long(rng: random.Random, problem: Problem) -> str:
    return _prose(rng, problem, rng.choice(LONG_OPENINGS), LONG_STEPS, checks=0.6, close="Therefore the answer is")


def _explore(rng: random.Random, problem: Problem) -> str:
    return _prose(rng, problem, rng.choice(EXPLORE_OPENINGS), EXPLORE_STEPS, checks=0.2, close="So the answer might be")


def _prose(
    rng: random.Random, problem: Problem, opening: str, steps: tuple[str, ...], checks: float, close: str
) -> str:
    lines = [f"{opening} At first it is {show(problem.steps[0].before)}."]
    for step in problem.steps:
        fields = _fields(step, problem)
        line = rng.choice(steps).format(**fields)
        lines.append(f"{line} {rng.choice(CHECKS).format(**fields)}" if rng.random() < checks else line)
    return "\n".join([*lines, f"{close} \\boxed{{{problem.answer}}}."])


def _medium(rng: random.Random, problem: Problem) -> str:
    first = f"It starts at {show(problem.steps[0].before)}."
    lines = ["{Mention}: {b} {s} {d} = {a}.".format(**_fields(step, problem)) for step in problem.steps]
    return "\n".join([first, *lines, f"The answer is \\boxed{{{problem.answer}}}."])


def _terse(rng: random.Random, problem: Problem) -> str:
    parts = [show(problem.steps[0].before)]
    parts += ["{label} {s} {d} = {a}".format(**_fields(step, problem)) for step in problem.steps]
    return ", ".join([*parts, f"\\boxed{{{problem.answer}}}"])


STYLES: dict[str, Callable[[random.Random, Problem], str]] = {
    "long": _long,
    "explore": _explore,
    "medium": _medium,
    "terse": _terse,
}


def chain(rng: random.Random, problem: Problem, style: str) -> str:
    """One correct chain in chat form, in one of STYLES."""
    return STYLES[style](rng, problem)


SLIPS = {"+": 0.1, "-": 0.2, "x": 0.45}


def slip(rng: random.Random, problem: Problem) -> Problem:
    """The problem as someone solves it who slips: steps may go wrong, and what follows goes on from the wrong number.

    Slips are likelier for the harder operations, so that questions of one level differ in difficulty too.
    """
    value, steps = problem.steps[0].before, []
    for step in problem.steps:
        after = apply(step.sign, step.operand, value)
        if rng.random() < SLIPS[step.sign]:
            after = (after + rng.choice((1, -1, 10, -10, 2, -2, 20, -20))) % 100
        steps.append(step._replace(before=value, after=after))
        value = after
    return problem._replace(steps=tuple(steps), answer=show(value))
