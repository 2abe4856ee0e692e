"""The `limo` command. One line and exit code 2 for a user's mistake; a traceback only for a bug."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows.dag import ARTIFACTS
from flows.ledger import commands
from tasks.core.errors import LimoError
from tasks.core.stage import one_line_errors
from tasks.grading.rules import KINDS
from tasks.grading.symbolic import Limits

# Each command imports what it needs once it is run: all of them together take seconds.
app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(commands.app, name="ledger")
RUN = (
    "a run: artifacts folder, git revision, MLflow run id or name, or models:/NAME@ALIAS; and after a colon the arm: "
    "artifacts:base"
)
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
    from flows import grade_file

    limits = Limits(seconds=seconds, workers=workers)
    grade_file.main(source, out, kind=kind, tolerance=tolerance, replace=replace, limits=limits)


@app.command()
def compare(
    run_a: Annotated[str, typer.Argument(help=RUN)],
    run_b: Annotated[str, typer.Argument(help="the run to compare it with; the arm is `trained` where none is given")],
    benchmark: Annotated[str | None, typer.Option(help="only this benchmark")] = None,
    limit: Annotated[int, typer.Option(min=0, help="questions shown, the largest changes first")] = 20,
    full: Annotated[bool, typer.Option(help="responses in full, not their end")] = False,
    out: Annotated[Path | None, typer.Option(help="write every flipped question to this .jsonl or .parquet")] = None,
) -> None:
    """List the questions that flipped between two runs, with both responses, and the paired test per benchmark."""
    from flows.explain import runs

    runs.print_comparison(run_a, run_b, benchmark=benchmark, limit=limit, full=full, out=out)


@app.command()
def check(
    profile: Annotated[str | None, typer.Argument(help="a profile; by default params.yaml is checked")] = None,
) -> None:
    """Validate params.yaml or a profile, every error at once, and list what this machine lacks to run it."""
    from flows import profiles
    from flows.check import require_machine, require_valid
    from tasks.core.params import read_tree

    tree = read_tree(PARAMS) if profile is None else profiles.compose(profile)
    where = PARAMS if profile is None else profiles.FOLDER / f"{profile}.yaml"
    require_valid(tree, where)
    print(f"{where}: valid")
    require_machine(tree, where)
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
    """Which stages are up to date, what each kept and dropped, and the progress of those that sample now."""
    from flows import dag, running, summary

    out_of_date = dag.out_of_date()
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
    from flows.sources import adds_up, count_errors, source_rows, table_counts
    from flows.summary import render, table

    filters = table_counts(artifacts)
    print(render(table(source_rows(filters), "Questions of each source")), end="")
    errors = count_errors(artifacts, filters)
    if errors:
        print("\n".join(f"limo: {error}" for error in errors), file=sys.stderr)
        raise typer.Exit(1)
    print(adds_up(filters))


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
    replicas: Annotated[int, typer.Option(min=1, help="servers, each with a replica of the model")] = 1,
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

    # Before Prefect starts its server: an error is reported at once.
    flow.require_valid()
    flow.ablate()
    print(console(flow.OUT))


def main() -> None:
    """Entry point of the console command."""
    with one_line_errors():
        app()
