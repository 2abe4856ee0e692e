"""`limo compare`: the questions that flipped between two runs, with both responses."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tasks.errors import LimoError

END = 400
RUN = (
    "a run: artifacts folder, git revision, MLflow run id or name, or models:/NAME@ALIAS; and after a colon the arm: "
    "artifacts:base"
)


def compare(
    run_a: Annotated[str, typer.Argument(help=RUN)],
    run_b: Annotated[str, typer.Argument(help="the run to compare it with; the arm is `trained` where none is given")],
    benchmark: Annotated[str | None, typer.Option(help="only this benchmark")] = None,
    limit: Annotated[int, typer.Option(min=0, help="questions shown, the largest changes first")] = 20,
    full: Annotated[bool, typer.Option(help="responses in full, not their end")] = False,
    out: Annotated[Path | None, typer.Option(help="write every flipped question to this .jsonl or .parquet")] = None,
) -> None:
    """List the questions that flipped between two runs, with both responses, and the paired test per benchmark."""
    from tasks.tracing.flips import flips, side

    if out is not None and out.suffix not in (".jsonl", ".parquet"):
        raise LimoError(f"{out}: the name must end in .jsonl or .parquet")
    if out is not None and not out.parent.is_dir():
        raise LimoError(f"{out}: there is no folder {out.parent}; make it, or name another")
    left, right = side(run_a), side(run_b)
    found = flips(left, right)
    tests = {name: test for name, test in found.tests.items() if benchmark in (None, name)}
    if not tests:
        raise LimoError(f"limo compare: no benchmark `{benchmark}`; there are {', '.join(found.tests)}")
    rows = [row for row in found.table.iter_rows(named=True) if row["benchmark"] in tests]
    if found.only_left or found.only_right:
        print(f"not compared: {found.only_left} items of {left} alone, {found.only_right} of {right} alone")
    if found.other_golds:
        print(f"{found.other_golds} items have another gold in each run; the golds shown are those of {left}")
    if len(found.graders) > 1:
        print(f"graded by different graders, so verdicts may differ by that alone: {', '.join(found.graders)}")
    for row in rows[:limit]:
        print("\n".join(_lines(row, full)))
    print(f"{len(rows)} questions flipped ({min(limit, len(rows))} shown): {left} against {right}")
    for name, test in tests.items():
        print(
            f"{name}: {100 * test.base:.1f} -> {100 * test.trained:.1f} of {test.items} items,"
            f" difference {100 * test.difference:+.1f} [{100 * test.low:+.1f}, {100 * test.high:+.1f}],"
            f" {test.gained} gained, {test.lost} lost, p {test.p_value:.2g} ({test.test})"
        )
    if out is not None:
        kept = found.table.filter([row["benchmark"] in tests for row in found.table.iter_rows(named=True)])
        kept.write_parquet(out) if out.suffix == ".parquet" else kept.write_ndjson(out)
        print(f"{out}: {kept.height} questions")


def _lines(row: dict[str, Any], full: bool) -> list[str]:
    lines = [
        f"--- {row['benchmark']} {row['item_id']}: {row['left']:.2f} -> {row['right']:.2f} right",
        row["question"],
        f"gold: {row['gold']}",
    ]
    for name in ("left", "right"):
        reason = row[f"{name}_verdict_reason"]
        text = row[f"{name}_text"]
        shown = text if full or len(text) <= END else f"[...] {text[-END:]}"
        verdict = f"{row[f'{name}_verdict']}{f' ({reason})' if reason else ''}"
        lines += [f"{name}: {verdict}, answer {row[f'{name}_extracted']}, {row[f'{name}_response_id']}", shown]
    return [*lines, ""]
