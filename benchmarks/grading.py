r"""Answers graded a second, by this project's grader and by Math-Verify, on the same responses: one core each.

    python benchmarks/grading.py [--golds FILE.jsonl ...]
    python benchmarks/grading.py --suite FILE.jsonl ... [--misses]

Responses are a page of reasoning with the answer in `\boxed{}`: the gold as it stands, or in other typesetting, or
another gold of the same kind (a wrong answer). No response is given twice, so neither side gains from a cache. Without
--golds the golds are made in the proportions of MATH: mostly integers, then fractions, decimals, lists, intervals and
expressions. With it, they are the field `answer` of each file.

With --suite, how often either grader is right on labelled pairs: a row has `gold`, `answer` or `response`, `correct`
(true or false) and maybe `kind`. An ungraded pair is counted apart, and is not right.
"""

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from math_verify import parse, verify

from benchmarks.grading_suites import measured, table
from tasks.grading.grader import Pair, grade_many
from tasks.grading.symbolic import Limits, Question, check_many
from tasks.grading.version import GRADER

REASONING = "We set up the equation $x^2 - 5x + 6 = 0$ and check both roots in turn, so the value follows. " * 15


class Timing(NamedTuple):
    per_second: float
    right: float
    """Share of responses whose verdict is the one they were made for."""


def made_golds(generator: random.Random) -> list[str]:
    """Golds in about MATH's proportions; no two alike."""
    number = generator.randint
    integers = [str(value) for value in generator.sample(range(-200, 6000), 600)]
    fractions = [f"\\frac{{{number(1, 99)}}}{{{2 * value + 101}}}" for value in range(120)]
    decimals = [f"{number(1, 40)}.{value:02d}" for value in range(11, 71)]
    pairs = [f"({number(-9, 9)}, \\frac{{{value}}}{{7}})" for value in range(1, 61) if value % 7]
    lists = [f"{value}, {value + number(1, 9)}, {value + 20}" for value in range(1, 41)]
    intervals = [f"[{value}, \\infty)" for value in range(1, 21)]
    roots = [f"{value}\\sqrt{{{number(1, 9) * 10 + 3}}}" for value in range(2, 42)]
    polynomials = [f"{value}x^2 + {number(1, 9)}x - 7" for value in range(2, 42)]
    return integers + fractions + decimals + pairs + lists + intervals + roots + polynomials


def read_golds(paths: list[Path]) -> list[str]:
    rows = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return list(dict.fromkeys(str(row["answer"]) for row in rows))


class Case(NamedTuple):
    pair: Pair
    correct: bool


def cases(golds: list[str], generator: random.Random) -> list[Case]:
    """Three responses a gold: as it stands, retypeset, and wrong (the next gold in the list, as like it as any)."""
    made = []
    for place, gold in enumerate(golds):
        other = golds[place - 1]
        retypeset = "$" + gold.replace("\\frac", "\\dfrac").replace(", ", ",") + "$"
        for answer, correct in ((gold, True), (retypeset, True), (other, False)):
            made.append(Case(Pair(gold, f"{REASONING}\nSo it is $\\boxed{{{answer}}}$."), correct))
    generator.shuffle(made)
    return made


def ours(work: list[Case]) -> Timing:
    limits = Limits(workers=1)
    # Start the worker before the clock: it runs for as long as the sampling does.
    check_many([Question("x+x", "2x")], limits)
    started = time.perf_counter()
    verdicts = grade_many([case.pair for case in work], limits)
    seconds = time.perf_counter() - started
    print("  rules that decided:", dict(Counter(verdict.rule for verdict in verdicts).most_common()))
    right = sum((verdict.verdict == "correct") == case.correct for verdict, case in zip(verdicts, work, strict=True))
    return Timing(len(work) / seconds, right / len(work))


def math_verify(work: list[Case]) -> Timing:
    """As its documentation says: parse both, gold first."""
    parse("$1$")
    started = time.perf_counter()
    verdicts = [verify(parse(f"${case.pair.gold}$"), parse(case.pair.response)) for case in work]
    seconds = time.perf_counter() - started
    right = sum(bool(verdict) == case.correct for verdict, case in zip(verdicts, work, strict=True))
    return Timing(len(work) / seconds, right / len(work))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golds", type=Path, nargs="*", default=[], help="JSONL files with the field `answer`")
    parser.add_argument("--suite", type=Path, nargs="*", default=[], help="JSONL files of labelled pairs")
    parser.add_argument("--misses", action="store_true", help="with --suite: print each pair that this grader misses")
    given = parser.parse_args()
    if given.suite:
        print(table([measured(path, show=given.misses) for path in given.suite]))
        return
    paths = given.golds
    generator = random.Random(0)
    work = cases(read_golds(paths) if paths else made_golds(generator), generator)
    print(f"{len(work)} responses of {len(work[0].pair.response)} characters, each different; {GRADER}")
    fast = ours(work)
    slow = math_verify(work)
    print(f"  this grader  {fast.per_second:9,.0f} answers/s   {fast.right:6.1%} as made")
    print(f"  Math-Verify  {slow.per_second:9,.0f} answers/s   {slow.right:6.1%} as made")
    print(f"  ratio        {fast.per_second / slow.per_second:9,.1f}")


if __name__ == "__main__":
    main()
