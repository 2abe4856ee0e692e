"""`limo ledger`: what the response ledger holds, whether it is sound, and how to make it smaller."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from flows import summary
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.protocol import make_request
from tasks.errors import LimoError
from tasks.files import one_line, read_table
from tasks.ledger.compaction import compact as merge
from tasks.ledger.pruning import Pruned, Which, doomed
from tasks.ledger.pruning import prune as remove
from tasks.ledger.recovery import recover
from tasks.ledger.summary import Summary, find, folders, summarise
from tasks.ledger.summary import verify as verify_model
from tasks.params import load_section
from tasks.records.model import Model, load_models
from tasks.records.response import Response

app = typer.Typer(help=__doc__, invoke_without_command=True, pretty_exceptions_enable=False)
PARAMS = Path("params.yaml")
LEDGER = summary.ARTIFACTS / "ledger"
Folder = Annotated[Path, typer.Option("--ledger", help="the ledger's folder")]
Artifacts = Annotated[Path, typer.Option(help="the artifacts folder, which knows the models' names")]
ARM = "ablation arm"


@app.callback()
def show_all(context: typer.Context, ledger: Folder = LEDGER, artifacts: Artifacts = summary.ARTIFACTS) -> None:
    """What each model has in the ledger: responses, tokens, engines, size."""
    # What is given before a subcommand holds for it too, unless it is given again behind it.
    given = {"ledger": str(ledger), "artifacts": str(artifacts)}
    context.default_map = {context.invoked_subcommand or "": given}
    if context.invoked_subcommand is None:
        print(_summary(ledger, artifacts), end="")


def _summary(ledger: Path, artifacts: Path) -> str:
    known = names(artifacts)
    found = [summarise(folder) for folder in folders(ledger)]
    if not found:
        return f"{ledger}: empty\n"
    rows = [_row(one, known.get(one.model_id, "")) for one in found]
    sizes, tokens = sum(one.size for one in found), sum(one.tokens for one in found)
    count = f"{len(found)} model{'s' if len(found) > 1 else ''}"
    total = f"{count}, {sum(one.responses for one in found):,} responses, {tokens:,} tokens, {_mb(sizes)}\n"
    return summary.render(summary.table(rows, f"Responses in {ledger}")) + total


def _row(one: Summary, name: str) -> dict[str, str]:
    waiting = f"{one.segments}" + (f" + {one.waiting} waiting" if one.waiting else "")
    cut = {reason: count for reason, count in one.finished.items() if reason != "stop"}
    return {
        "model": f"{name}\n{one.model_id}".strip(),
        "responses": f"{one.responses:,}" + (f"\n+ {one.repeated:,} twice" if one.repeated else ""),
        "of which": "\n".join(f"{count:,} {reason}" for reason, count in cut.items()),
        "tokens": f"{one.tokens:,}",
        "on disk": _mb(one.size),
        "segments": waiting + (f"\n{one.torn} torn" if one.torn else ""),
        "engine": "\n".join(f"{engine or 'not recorded'}: {count:,}" for engine, count in one.engines.items()),
        "from, to (UTC)": f"{_day(one.first)}\n{_day(one.last)}",
    }


def _mb(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M") if seconds else "not recorded"


def models(artifacts: Path) -> dict[str, Model]:
    """The models in use that have a folder, by their ids."""
    listed = [artifacts / "ablations/base/models.json", artifacts / "train/model.json", artifacts / "base/models.json"]
    return {model.model_id: model for path in listed if path.exists() for model in load_models(path).values()}


def names(artifacts: Path) -> dict[str, str]:
    """What the models in use are called, by their ids: the run's, the trained one, and the ablation's arms."""
    found: dict[str, str] = {}
    for path in sorted(artifacts.glob("ablations/arms/*/verdicts.parquet")):
        ids = _read_ids(path).unique()
        found |= dict.fromkeys(ids.to_list(), f"{ARM} {path.parent.name}")
    return found | {key: model.name for key, model in models(artifacts).items()}


def _read_ids(path: Path) -> pl.Series:
    try:
        return read_table(path, {"model_id": pl.String})["model_id"]
    except (pl.exceptions.PolarsError, OSError) as error:
        raise LimoError(f"{path}: cannot be read ({one_line(error)}); delete it and rerun `limo ablate`") from None


@app.command()
def show(
    record: Annotated[str, typer.Argument(help="a response id, or its beginning")],
    redraw: Annotated[bool, typer.Option("--redraw", help="generate it again, alone, and compare")] = False,
    ledger: Folder = LEDGER,
    artifacts: Artifacts = summary.ARTIFACTS,
) -> None:
    """One response in full, with its seed and its engine. With --redraw, exit code 1 where it comes out otherwise."""
    one = find(ledger, record)
    print(_describe(one))
    if redraw and (parted := _redrawn(one, ledger, artifacts)):
        print(f"\n--- drawn again: {parted}")
        raise typer.Exit(1)
    if redraw:
        print("\n--- drawn again: the same")


def _redrawn(one: Response, ledger: Path, artifacts: Path) -> str:
    """How the response differs when it is drawn again; empty where it does not."""
    from tasks.engines.launch import open_engine
    from tasks.models.digest import describe
    from tasks.sampling.redraw import difference, redraw

    model = models(artifacts).get(one.model_id)
    if model is None:
        raise LimoError(f"{one.response_id}: its model {one.model_id} is not in {artifacts}/base or train")
    if describe(Path(model.path), model.name, model.origin).model_id != model.model_id:
        raise LimoError(f"{model.path}: has changed since {one.model_id} was made of it; run `dvc repro base`")
    params = load_section(PARAMS, "engine", EngineParams)
    engine = open_engine(params, model, ledger / one.model_id / "vllm.log")
    try:
        return difference(one, redraw(one, engine))
    finally:
        engine.close()


def _describe(one: Response) -> str:
    sampling = SamplingParams(**json.loads(one.sampling) | {"seed": one.seed})
    seed = make_request(one.model_id, one.prompt, sampling, one.sample_index).own_seed
    facts = one.model_dump(exclude={"prompt", "text", "finished_at"}) | {
        "seed": f"{one.seed} (of this sample alone: {'none, greedy' if seed is None else seed})",
        "engine": one.engine or "not recorded",
        "finished": _day(one.finished_at),
    }
    lines = [f"{name:16}{value}" for name, value in facts.items()]
    return "\n".join([*lines, "", "--- prompt", one.prompt, "--- text", one.text])


@app.command()
def verify(ledger: Folder = LEDGER) -> None:
    """Read every byte: checksums, and ids against what they stand for. Sets aside what fails, with exit code 1."""
    failed = 0
    for folder in folders(ledger):
        found = verify_model(folder)
        failed += len(found.torn)
        print(f"{found.model_id}: {found.responses:,} responses sound, {len(found.torn)} files set aside")
    if failed:
        raise typer.Exit(1)


@app.command()
def compact(ledger: Folder = LEDGER) -> None:
    """Merge small segments, and drop what was written twice. Safe while stages run."""
    for folder in folders(ledger):
        recover(folder)
        done = merge(folder)
        told = f"{done.before} -> {done.after} segments, {done.dropped:,} repeated responses dropped"
        print(f"{folder.name}: {told if done.ran else 'another process is merging its segments'}")


@app.command()
def prune(
    model: Annotated[str | None, typer.Option(help="only of this model: its id or its name")] = None,
    unused: Annotated[bool, typer.Option("--unused", help="of models that no artifact names any more")] = False,
    engine: Annotated[str | None, typer.Option(help="generated by an engine with this text in its name")] = None,
    before: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="finished before this day, UTC")] = None,
    torn: Annotated[bool, typer.Option("--torn", help="files that were set aside, and no responses")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="remove it; without, only print what would go")] = False,
    ledger: Folder = LEDGER,
    artifacts: Artifacts = summary.ARTIFACTS,
) -> None:
    """Remove responses for good: those to which all that is given applies."""
    if not (model or unused or engine or before or torn):
        raise LimoError("limo ledger prune: say what goes: --model, --unused, --engine, --before, --torn")
    if torn and (engine or before):
        raise LimoError("limo ledger prune: --torn is about files, not responses; leave --engine and --before out")
    if unused:
        _require_complete(artifacts)
    known = names(artifacts)
    chosen = [folder for folder in folders(ledger) if _chosen(folder.name, known, model, unused)]
    if model and not chosen:
        raise LimoError(f"{ledger}: no model `{model}`; `limo ledger` shows those that there are")
    which = Which(torn, engine, before.replace(tzinfo=UTC).timestamp() if before else None)
    failed = []
    for folder in chosen:
        try:
            _tell(remove(folder, which) if yes else doomed(folder, which), known, yes)
        except LimoError as error:
            failed.append(str(error))
    if failed:
        raise LimoError("\n".join(failed))
    if not yes:
        print("Nothing has been removed; with --yes it is.")


def _require_complete(artifacts: Path) -> None:
    """Refuse where a model in use may not be listed: DVC removes a stage's outputs before it runs it again."""
    for name, stage in (("base/models.json", "base"), ("train/model.json", "train")):
        if not (artifacts / name).exists():
            raise LimoError(
                f"--unused: no {artifacts / name}, which tells what models are used; run `dvc repro {stage}` first"
            )


def _chosen(model_id: str, known: dict[str, str], model: str | None, unused: bool) -> bool:
    named = model is None or model in (model_id, known.get(model_id))
    return named and not (unused and model_id in known)


def _tell(pruned: Pruned, known: dict[str, str], yes: bool) -> None:
    name = known.get(pruned.model_id, "not in use")
    files = f", {pruned.files} torn files" if pruned.files else ""
    told = f"{pruned.responses:,} responses, {pruned.tokens:,} tokens{files}, {_mb(pruned.size)}"
    print(f"{pruned.model_id} ({name}): {told} {'removed' if yes else 'would go'}")
