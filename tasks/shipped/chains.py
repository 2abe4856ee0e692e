"""Worked solutions, written by program and always right unless asked to slip.

Two kinds that share the arithmetic and no layout: `textbook` solutions, of which the base's pre-training is made, and
`chain`s in styles of differing quality, which only teacher models learn to write.
"""

import random
from collections.abc import Callable

from tasks.families import Problem, Step, apply, family, show
from tasks.families.problem import MODULUS

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
    """The problem as someone solves it who slips: steps may go wrong, and what follows goes on from the wrong number.

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
