"""The `limo` command. One line and exit code 2 for a user's mistake; a traceback only for a bug."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from flows import comparing, grading, ledger, plan
from flows.dag import ARTIFACTS
from tasks.errors import LimoError
from tasks.stage import one_line_errors

# Each command imports what it needs once it is run: all of them together take seconds.
app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(ledger.app, name="ledger")
app.command()(grading.grade)
app.command()(comparing.compare)
app.command()(plan.plan)
PARAMS = Path("params.yaml")
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
    from flows.needs import NeedsParams, lacks
    from tasks.params import read_tree

    tree = read_tree(PARAMS) if profile is None else profiles.compose(profile)
    named = str(PARAMS) if profile is None else f"profiles/{profile}.yaml"
    found = checks.mistakes(tree)
    if found:
        raise LimoError(f"{named}: {len(found)} to mend\n" + "\n".join(f"  {mistake}" for mistake in found))
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
    from tasks.tracing.sources import counted, faults

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
    from tasks.tracing.trace import describe

    print(describe(artifacts, record))


@app.command()
def why(
    questions: Annotated[list[str] | None, typer.Argument(help="ids of questions, or their unique beginnings")] = None,
    text: Annotated[str | None, typer.Option(help="list the questions that contain this text instead")] = None,
    artifacts: Annotated[Path, typer.Option(help="the artifacts folder")] = ARTIFACTS,
) -> None:
    """What happened to a question at every stage, with the evidence: its duplicates, benchmark hits and attempts."""
    from tasks.tracing.why import explain, search

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
    from flows import serving

    serving.serve(model, PARAMS, name=name, host=host, ports=range(port, port + replicas))


@app.command()
def ablate() -> None:
    """Ask the paper's five questions of the models that ship: train every arm on every seed, and compare."""
    for name, value in PREFECT.items():
        os.environ.setdefault(name, value)
    from flows import ablate as flow
    from tasks.ablation.table import console

    # Before Prefect starts its server: a mistake is told at once.
    flow.require_valid()
    flow.ablate()
    print(console(flow.OUT))


def main() -> None:
    """Entry point of the console command."""
    with one_line_errors():
        app()
