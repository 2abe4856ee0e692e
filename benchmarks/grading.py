r"""This project's grader and Math-Verify on the same responses: answers a second on one core each, and how often right.

    python -m benchmarks.grading [--golds FILE.jsonl ...] [--suite FILE.jsonl ... [--misses]]

Speed: responses are a page of reasoning with the answer in `\boxed{}`: the gold as it stands, or in other typesetting,
or another gold of the same kind (a wrong answer). First no answer to a gold is given twice; then each comes from four
different responses, as samples of an item do. The golds are made in the proportions of MATH: mostly integers, then
fractions, decimals, lists, intervals and expressions; with --golds, those in the field `answer` of files come next.

Each gold of files is also graded against itself, in the four typesettings of TYPESETTINGS; all should be correct.

Accuracy: on the cases of tests/grading/cases.json, and on the labelled pairs of each --suite: a row has `gold`,
`answer` or `response`, `correct` (true or false) and maybe `kind`. An ungraded pair has a count of its own.

All of it goes to benchmarks/results/grading.json.
"""

import argparse
import json
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from math_verify import parse, verify

from benchmarks.grading_suites import SuiteCounts, count_suite, table
from tasks.core.cells import as_text
from tasks.grading.grader import GRADER, Pair, clear_cache, grade_many
from tasks.grading.symbolic import Check, Limits, check_many, close
from tasks.sources.answers import final_answer

REASONING = "We set up the equation $x^2 - 5x + 6 = 0$ and check both roots in turn, so the value follows. " * 15


REPEATS = 4
HERE = Path(__file__).parent
RESULT = HERE / "results/grading.json"
CASES = HERE.parent / "tests/grading/cases.json"


class Timing(NamedTuple):
    per_second: float
    right: float
    """Share of responses whose verdict is the one they were made for."""
    false_positives: int


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


TYPESETTINGS: tuple[Callable[[str], str], ...] = (
    lambda gold: f"${gold.strip('$ ')}$",
    lambda gold: gold.replace("\\frac", "\\dfrac").replace("(", "\\left(").replace(")", "\\right)"),
    lambda gold: f" {gold.replace(', ', ',').replace(',', ', ')}.",
    lambda gold: f"\\boxed{{{gold}}}",
)
"""Of a gold, as models write it: in dollars, in tall fractions and brackets, spaced and with a full stop, boxed."""


def gold_of(row: dict[str, Any]) -> str:
    """The gold of a row, as the pipeline reads it."""
    gold = as_text(row.get("choice_answer")) or final_answer(row["answer"], "auto", is_solution=False)
    assert gold is not None, row
    return gold


def itself(paths: list[Path]) -> dict[str, Any]:
    """How many golds of the files are correct in every typesetting, and those that are not."""
    rows = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    golds = [gold_of(row) for row in rows]
    verdicts = grade_many([Pair(gold, typeset(gold), bare=True) for gold in golds for typeset in TYPESETTINGS])
    each = len(TYPESETTINGS)
    right = [all(one.verdict == "correct" for one in verdicts[at : at + each]) for at in range(0, len(verdicts), each)]
    missed = [gold for gold, whole in zip(golds, right, strict=True) if not whole]
    print(f"golds against themselves in {each} typesettings: {sum(right)} of {len(golds)} correct {missed[:10]}")
    return {"golds": len(golds), "correct": sum(right)}


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


def repeated(work: list[Case], generator: random.Random) -> list[Case]:
    """Each answer from `REPEATS` responses that differ in their words."""
    made = [
        Case(case.pair._replace(response=f"Attempt {number}. {case.pair.response}"), case.correct)
        for case in work
        for number in range(REPEATS)
    ]
    generator.shuffle(made)
    return made


def fresh() -> None:
    """Forget all that was graded or read before, here and in the worker."""
    clear_cache()
    close()
    for name, module in list(sys.modules.items()):
        if name.startswith("tasks.grading."):
            for each in vars(module).values():
                if hasattr(each, "cache_clear"):
                    each.cache_clear()


def ours(work: list[Case]) -> Timing:
    fresh()
    limits = Limits(workers=1)
    # Start the worker before the clock: it runs for as long as the sampling does.
    check_many([Check("x+x", "2x")], limits)
    started = time.perf_counter()
    verdicts = [verdict.verdict == "correct" for verdict in grade_many([case.pair for case in work], limits)]
    return timing(work, verdicts, time.perf_counter() - started)


def math_verify(work: list[Case]) -> Timing:
    """As its documentation says: parse both, gold first."""
    parse("$1$")
    started = time.perf_counter()
    verdicts = [bool(verify(parse(f"${case.pair.gold}$"), parse(case.pair.response))) for case in work]
    return timing(work, verdicts, time.perf_counter() - started)


def timing(work: list[Case], verdicts: list[bool], seconds: float) -> Timing:
    found = [(case.correct, verdict) for case, verdict in zip(work, verdicts, strict=True)]
    right = sum(label == verdict for label, verdict in found)
    return Timing(len(work) / seconds, right / len(work), sum(verdict and not label for label, verdict in found))


def speed(name: str, work: list[Case]) -> dict[str, Any]:
    """Both graders on the same responses, one after the other."""
    fast, slow = ours(work), math_verify(work)
    ratio = fast.per_second / slow.per_second
    print(f"{name}: {len(work)} responses of {len(work[0].pair.response)} characters")
    for grader, one in (("this grader", fast), ("Math-Verify", slow)):
        print(
            f"  {grader} {one.per_second:9,.0f} a second {one.right:6.1%} right, {one.false_positives} false positives"
        )
    print(f"  ratio        {ratio:9,.1f}")
    return {
        "responses": len(work),
        "this_grader": fast._asdict(),
        "math_verify": slow._asdict(),
        "ratio": ratio,
    }


def own_cases(folder: Path) -> Path:
    """The project's labelled cases as a suite; those whose verdict is to be `ungraded` are no pairs."""
    rows = [case for case in json.loads(CASES.read_text(encoding="utf-8")) if case["verdict"] != "ungraded"]
    path = folder / "cases.jsonl"
    lines = [json.dumps(row | {"correct": row["verdict"] == "correct"}) for row in rows]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golds", type=Path, nargs="*", default=[], help="JSONL files with the field `answer`")
    parser.add_argument("--suite", type=Path, nargs="*", default=[], help="JSONL files of labelled pairs")
    parser.add_argument("--misses", action="store_true", help="print each labelled pair that this grader misses")
    given = parser.parse_args()
    generator = random.Random(0)
    golds = {"made golds": made_golds(generator)} | ({"golds of files": read_golds(given.golds)} if given.golds else {})
    speeds: dict[str, Any] = {}
    for name, each in golds.items():
        work = cases(each, generator)
        speeds[f"{name}, each answer once"] = speed(f"{name}, each answer once", work)
        speeds[f"{name}, repeated"] = speed(f"{name}, each answer {REPEATS} times", repeated(work, generator))
    golds_right = itself(given.golds) if given.golds else None
    with tempfile.TemporaryDirectory() as folder:
        suites = [count_suite(path, show=given.misses) for path in (own_cases(Path(folder)), *given.suite)]
    print(table(suites))
    accuracy = {suite.name: suite_result(suite) for suite in suites}
    found: dict[str, Any] = {"grader": GRADER, "machine": platform.processor(), "speed": speeds}
    found |= {"golds_against_themselves": golds_right, "accuracy": accuracy}
    RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def suite_result(suite: SuiteCounts) -> dict[str, Any]:
    return {"pairs": suite.pairs, "this_grader": suite.ours._asdict(), "math_verify": suite.theirs._asdict()}


if __name__ == "__main__":
    main()
