"""What `limo ledger` tells: the models' names, the table of the ledger, one response in full, what is pruned."""

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from flows import summary
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.protocol import make_request
from tasks.errors import LimoError
from tasks.files import one_line, read_table
from tasks.ledger.pruning import Pruned
from tasks.ledger.summary import Summary, folders, summarise
from tasks.models.digest import describe
from tasks.params import load_section
from tasks.records.model import Model, load_models
from tasks.records.response import Response

PARAMS = Path("params.yaml")
ARM = "ablation arm"


def overview(ledger: Path, artifacts: Path) -> str:
    """What each model has in the ledger, as a table."""
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


def redrawn(one: Response, ledger: Path, artifacts: Path) -> str:
    """How the response differs when it is drawn again; empty where it does not."""
    from tasks.engines.launch import open_engine
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


def in_full(one: Response) -> str:
    """All that is known of one response."""
    sampling = SamplingParams(**json.loads(one.sampling) | {"seed": one.seed})
    seed = make_request(one.model_id, one.prompt, sampling, one.sample_index).own_seed
    facts = one.model_dump(exclude={"prompt", "text", "finished_at"}) | {
        "seed": f"{one.seed} (of this sample alone: {'none, greedy' if seed is None else seed})",
        "engine": one.engine or "not recorded",
        "finished": _day(one.finished_at),
    }
    lines = [f"{name:16}{value}" for name, value in facts.items()]
    return "\n".join([*lines, "", "--- prompt", one.prompt, "--- text", one.text])


def require_complete(artifacts: Path) -> None:
    """Refuse where a model in use may not be listed: DVC removes a stage's outputs before it runs it again."""
    for name, stage in (("base/models.json", "base"), ("train/model.json", "train")):
        if not (artifacts / name).exists():
            raise LimoError(
                f"--unused: no {artifacts / name}, which tells what models are used; run `dvc repro {stage}` first"
            )


def pruned_line(pruned: Pruned, known: dict[str, str], gone: bool) -> str:
    """What was removed of a model, or would be."""
    name = known.get(pruned.model_id, "not in use")
    files = f", {pruned.files} torn files" if pruned.files else ""
    told = f"{pruned.responses:,} responses, {pruned.tokens:,} tokens{files}, {_mb(pruned.size)}"
    return f"{pruned.model_id} ({name}): {told} {'removed' if gone else 'would go'}"
