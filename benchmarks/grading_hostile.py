"""Hostile answers, all of them against two golds: does any execute, how long does the slowest take, how much memory.

    python -m benchmarks.grading_hostile

The inputs are tests/grading/hostile.json. Each is graded alone, as a boxed answer, in a scratch folder and with a file
name that its code would make; memory is the largest resident set of this process and of any grading worker.
"""

import json
import os
import resource
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.hostile_data import HOSTILE, answers
from tasks.grading.grader import GRADER, Pair, grade_many
from tasks.grading.symbolic import close

GOLDS = ("7", "x^2+1")
RESULT = Path(__file__).parent / "results/grading_hostile.json"


def main() -> None:
    inputs = answers()
    slowest, verdicts, reasons = (0.0, ""), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for answer in inputs:
            for gold in GOLDS:
                started = time.perf_counter()
                verdict = grade_many([Pair(gold, f"\\boxed{{{answer}}}")])[0]
                slowest = max(slowest, (time.perf_counter() - started, answer[:60]))
                verdicts[verdict.verdict] += 1
                reasons[verdict.reason or verdict.rule] += 1
        executed = os.listdir(folder)
        os.chdir("/")
    # Ended and waited for, so that their memory is in the figures.
    close()
    peaks = [resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    found = {
        "grader": GRADER,
        "inputs": len(inputs),
        "categories": len({each["category"] for each in HOSTILE}),
        "executed": len(executed),
        "slowest_seconds": round(slowest[0], 2),
        "slowest_input": slowest[1],
        "peak_mib": round(max(peaks)),
        "verdicts": dict(verdicts),
        "why": dict(reasons.most_common()),
    }
    print(json.dumps(found, indent=2))
    RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
