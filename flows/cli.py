"""The `limo` command. One line and exit code 2 for a user's mistake; a traceback only for a bug."""

import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.dag import ARTIFACTS
from flows.ledger import commands
from tasks.core.errors import LimoError
from tasks.core.stage import one_line_errors
from tasks.grading.rules import KINDS, Rules, plain_kind
from tasks.grading.symbolic import Limits

if TYPE_CHECKING:
    from flows.grade_file import Summary


# `limo compare`: the questions that flipped between two runs, with both responses.

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
    from flows.explain.runs import flips, side

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


# `limo grade`: the grader on a file of your own.


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
    from flows.grade_file import grade_file
    from tasks.grading.grader import GRADER

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
    print(grade_summary(done, time.perf_counter() - started))
    print(f"{out}: written by {GRADER}")


def grade_summary(done: "Summary", seconds: float) -> str:
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


# Each command imports what it needs once it is run: all of them together take seconds.
app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(commands.app, name="ledger")
app.command()(grade)
app.command()(compare)
PARAMS = Path("params.yaml")
MFU, MBU = 0.4, 0.5
"""Assumed by `limo plan`: shares of the peaks of arithmetic and of memory bandwidth."""
PREFECT = {
    "PREFECT_HOME": str(Path("artifacts/prefect").absolute()),
    "PREFECT_LOCAL_STORAGE_PATH": str(Path("artifacts/prefect/storage").absolute()),
    "PREFECT_MEMO_STORE_PATH": str(Path("artifacts/prefect/memo.toml").absolute()),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "90",
    "DO_NOT_TRACK": "1",
}
"""As the Makefile sets them, for a flow that is run by hand: Prefect reads them when it is first imported."""


@app.command()
def check(
    profile: Annotated[str | None, typer.Argument(help="a profile; by default params.yaml is checked")] = None,
) -> None:
    """Validate params.yaml or a profile, every error at once, and say what this machine lacks to run it."""
    from flows import check as checks
    from flows import profiles
    from flows.check import NeedsParams, lacks
    from tasks.core.params import read_tree

    tree = read_tree(PARAMS) if profile is None else profiles.compose(profile)
    named = str(PARAMS) if profile is None else f"profiles/{profile}.yaml"
    found = checks.mistakes(tree)
    if found:
        raise LimoError(f"{named}: {len(found)} errors\n" + "\n".join(f"  {mistake}" for mistake in found))
    print(f"{named}: valid")
    missing = lacks(NeedsParams.model_validate(tree.get("needs") or {}))
    if missing:
        raise LimoError(f"{named}: this machine cannot run it:\n" + "\n".join(f"  {line}" for line in missing))
    print("this machine can run it")


@app.command()
def use(
    profile: Annotated[str, typer.Argument(help="a profile under profiles/")],
    force: Annotated[bool, typer.Option(help="overwrite edits in params.yaml")] = False,
) -> None:
    """Switch params.yaml to a profile."""
    from flows import profiles

    profiles.use(profile, PARAMS, force=force)
    print(f"{PARAMS} is now profile {profile}")


@app.command()
def status() -> None:
    """Which stages are up to date, what each kept and dropped, and how far those are that sample now."""
    from flows import dag, running, summary

    out_of_date = dag.changed()
    rows = {row["stage"]: row for row in summary.stage_rows()}
    empty = {"taken": "", "kept": "", "rejected": ""}
    shown = [
        {"stage": name, "state": "out of date" if name in out_of_date else "up to date"} | (empty | rows.get(name, {}))
        for name in dag.upstream()
    ]
    print(summary.render(summary.table(shown, "Stages")), end="")
    for line in running.lines():
        print(line)


@app.command()
def sources(
    artifacts: Annotated[Path, typer.Option(help="the artifacts folder")] = ARTIFACTS,
) -> None:
    """What every filter kept and dropped of each source, and whether it adds up: exit code 1 when it does not."""
    from flows import summary
    from tasks.reporting.sources import counted, faults

    filters = counted(artifacts)
    print(summary.render(summary.table(summary.source_rows(filters), "Questions of each source")), end="")
    found = faults(artifacts, filters)
    if found:
        print("\n".join(f"limo: {fault}" for fault in found), file=sys.stderr)
        raise typer.Exit(1)
    print(summary.adds_up(filters))


@app.command()
def results() -> None:
    """The result table of the last run, where its report is, and what to do next."""
    from flows import summary

    print(summary.closing())


@app.command()
def trace(
    record: Annotated[str, typer.Argument(help="an id, or its unique beginning: score, verdict, chain, question, ...")],
    artifacts: Annotated[Path, typer.Option(help="the artifacts folder")] = ARTIFACTS,
) -> None:
    """From a score to its training samples and their pool questions; from any other record to what it was made from."""
    from flows.explain.record import describe

    print(describe(artifacts, record))


@app.command()
def why(
    questions: Annotated[list[str] | None, typer.Argument(help="ids of questions, or their unique beginnings")] = None,
    text: Annotated[str | None, typer.Option(help="list the questions that contain this text instead")] = None,
    artifacts: Annotated[Path, typer.Option(help="the artifacts folder")] = ARTIFACTS,
) -> None:
    """What happened to a question at every stage, with the evidence: its duplicates, benchmark hits and attempts."""
    from flows.explain.question import explain, search

    if bool(questions) == (text is not None):
        raise LimoError("limo why: give the ids of questions, or --text with words of one")
    print(explain(artifacts, questions) if questions else search(artifacts, text or ""), end="")


@app.command()
def serve(
    model: Annotated[str, typer.Argument(help="a model's name under base.models, `trained`, or a model folder")],
    port: Annotated[int, typer.Option(help="of the first server; further ones take those that follow")] = 8000,
    replicas: Annotated[int, typer.Option(min=1, help="servers, each with a copy of the model")] = 1,
    host: Annotated[str, typer.Option(help="the address to serve on; 0.0.0.0 lets other machines in")] = "127.0.0.1",
    name: Annotated[str | None, typer.Option(help="for a folder: the name it is served under")] = None,
) -> None:
    """Serve a model on this machine, for `engine.kind: openai`, until Ctrl-C."""
    from flows import serve

    serve.serve(model, PARAMS, name=name, host=host, ports=range(port, port + replicas))


@app.command()
def plan(
    profile: Annotated[str, typer.Argument(help="a profile under profiles/")],
    gpus: Annotated[str | None, typer.Option(help="such as 8xH200; none: a CPU, with hours only if measured")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="of one GPU for one hour, for the cost")] = None,
    measured: Annotated[Path | None, typer.Option(help="artifacts of an earlier run: its numbers and speeds")] = None,
    assume: Annotated[list[str] | None, typer.Option(help="STAGE.WHAT=NUMBER, such as band.tokens=9000")] = None,
    mfu: Annotated[float, typer.Option(min=0.01, max=1, help="share of peak FLOP/s, without recomputing")] = MFU,
    mbu: Annotated[float, typer.Option(min=0.01, max=1, help="share of peak memory bandwidth in decoding")] = MBU,
    as_text: Annotated[bool, typer.Option("--json", help="print all of it as JSON")] = False,
) -> None:
    """What a profile takes on a machine, before anything is spent: memory, tokens, hours, cost; and what would fit."""
    from flows.plan.plan import describe
    from flows.plan.speed import Rates

    rates = Rates(mfu, mbu)
    text = describe(
        profile, gpus=gpus, price=price, measured=measured, assume=assume or [], rates=rates, as_text=as_text
    )
    print(text, end="")


@app.command()
def ablate() -> None:
    """Ask the paper's five questions of the models that ship: train every arm on every seed, and compare."""
    for name, value in PREFECT.items():
        os.environ.setdefault(name, value)
    from flows import ablate as flow
    from tasks.ablation.page import console

    # Before Prefect starts its server: a mistake is told at once.
    flow.require_valid()
    flow.ablate()
    print(console(flow.OUT))


def main() -> None:
    """Entry point of the console command."""
    with one_line_errors():
        app()
