"""`limo grade`: the grader on a file of your own."""

import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tasks.errors import LimoError
from tasks.grading.rules import KINDS, Rules, plain_kind
from tasks.grading.symbolic import Limits
from tasks.grading.version import GRADER

if TYPE_CHECKING:
    from tasks.grading.table import Summary


def grade(
    source: Annotated[Path, typer.Option("--in", help="JSONL or Parquet with `gold`, and `response` or `answer`")],
    out: Annotated[Path, typer.Option("--out", help="where to write the rows with their verdicts; .jsonl or .parquet")],
    kind: Annotated[str, typer.Option(help=f"the kind of golds where no column says: {', '.join(KINDS)}")] = "auto",
    tolerance: Annotated[float | None, typer.Option(min=1e-9, max=0.99, help="relative, of two numbers")] = None,
    replace: Annotated[bool, typer.Option(help="replace columns that bear the names of ours")] = False,
    seconds: Annotated[float, typer.Option(min=0.1, help="CPU seconds of one symbolic check")] = Limits().seconds,
    workers: Annotated[int, typer.Option(min=0, help="processes for symbolic checks; 0: one a core")] = 0,
) -> None:
    """Grade a file: adds `verdict`, `extracted`, `rule`, `reason` and `grader` to each row."""
    from tasks.grading.table import grade_file

    if plain_kind(kind) not in KINDS:
        raise LimoError(f"limo grade: --kind {kind}: none of {', '.join(KINDS)}")
    rules = Rules.model_validate({"kind": plain_kind(kind), "tolerance": tolerance})
    started = time.perf_counter()
    done = grade_file(source, out, rules=rules, limits=Limits(seconds=seconds, workers=workers), replace=replace)
    for word, rows in done.unknown_kinds.items():
        print(
            f"limo: {source}: kind `{word}` ({rows} rows) is none of {', '.join(KINDS)}; graded as auto",
            file=sys.stderr,
        )
    print(summary(done, time.perf_counter() - started))
    print(f"{out}: written by {GRADER}")


def summary(done: "Summary", seconds: float) -> str:
    """What became of the rows, in a few lines."""
    rows = done.verdicts.total()
    return "\n".join(
        [
            f"{rows:,} rows in {seconds:.1f} s ({rows / seconds:,.0f} a second): {_counts(done.verdicts)}",
            f"decided by: {_counts(done.rules)}",
            f"reasons: {_counts(done.reasons) or 'none'}",
        ]
    )


def _counts(counted: Counter[str]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counted.most_common())
