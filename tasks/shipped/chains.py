"""Worked solutions, written by program and always right unless asked to slip.

Two kinds that share the arithmetic and no layout: `textbook` solutions, of which the base's pre-training is made, and
`teacher` chains in four styles of differing quality, which only teacher models learn to write.
"""

import random
from collections.abc import Callable

from tasks.families import Problem, Step, apply, family, show

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


LONG_OPENINGS = ("Let me think step by step.", "Okay, let me go one step at a time.", "Let me work carefully.")
LONG_STEPS = (
    "{Mention}. Now we have {b}, and {b}{s}{d}={a}.",
    "Next comes {mention}: since it was {b}, {b}{s}{d}={a}.",
    "{Mention} now: {b}{s}{d}={a}, therefore it becomes {a}.",
)
CHECKS = (
    "Let me check: {b}{s}{d}={a}, it agrees.",
    "Check again: {b}{s}{d}={a}, yes.",
    "Let me verify: {b}{s}{d}={a}, right.",
)
EXPLORE_OPENINGS = ("Perhaps we can follow the steps one by one.", "Maybe we should first see how it starts.")
EXPLORE_STEPS = (
    "{Mention} might come next. Perhaps {b}{s}{d}={a}.",
    "Maybe now {mention}: {b}{s}{d}={a}, so perhaps {a}.",
    "Wait, {mention} is next; it might be {b}{s}{d}={a}.",
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
    lines = ["{Mention}: {b}{s}{d}={a}.".format(**_fields(step, problem)) for step in problem.steps]
    return "\n".join([first, *lines, f"The answer is \\boxed{{{problem.answer}}}."])


def _terse(rng: random.Random, problem: Problem) -> str:
    parts = [show(problem.steps[0].before)]
    parts += ["{label} {b}{s}{d}={a}".format(**_fields(step, problem)) for step in problem.steps]
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


SLIPS = {"+": 0.1, "-": 0.2, "*": 0.45}


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
