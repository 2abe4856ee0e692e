"""What `limo ledger` does: count a ledger, show or regenerate one response, verify every byte, prune, and print it."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from flows import summary
from tasks.core.errors import LimoError
from tasks.core.files import one_line, read_table
from tasks.core.params import load_section
from tasks.engines.params import EngineParams, SamplingParams
from tasks.engines.protocol import Engine, Request, make_request, response_id
from tasks.ledger.compaction import LOCK, TornInRunError, exclusive, replace
from tasks.ledger.journal import drop_abandoned, journals, read_journal, recover
from tasks.ledger.ledger import Ledger
from tasks.ledger.segments import (
    SCHEMA,
    Entry,
    Segment,
    TornError,
    entries,
    set_aside,
    size_of,
    stamp_of,
    try_lock,
    writing,
)
from tasks.records.model import Model, describe, load_models
from tasks.records.response import Response

POLL_SECONDS = 1.0


def request_of(response: Response) -> Request:
    """The request that a response answers: its prompt, sampling parameters and seed are all in the ledger.

    Raises:
        LimoError: the ledger's row does not hash to its own id.
    """
    sampling = SamplingParams(**json.loads(response.sampling), seed=response.seed)
    request = make_request(response.model_id, response.prompt, sampling, response.sample_index)
    if request.response_id != response.response_id:
        raise LimoError(f"{response.response_id}: its prompt and parameters hash to another id, {request.response_id}")
    return request


def redraw(response: Response, engine: Engine) -> Response:
    """The response of `engine` to the same request now, with nothing else in its batch."""
    engine.submit([request_of(response)])
    found: list[Response] = []
    while not found:
        found = engine.finished(POLL_SECONDS)
    return found[0]


def difference(before: Response, after: Response) -> str:
    """Where two responses to the same request differ; empty when they are the same."""
    if before.text == after.text:
        same_end = before.finish_reason == after.finish_reason
        return "" if same_end else f"{before.finish_reason} then, {after.finish_reason} now"
    pairs = zip(before.text, after.text, strict=False)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    then, now = before.text[same : same + 40], after.text[same : same + 40]
    return f"the same for {same:,} of {len(before.text):,} characters, then {then!r} became {now!r}"


COUNTED = ("response_id", "finish_reason", "n_prompt_tokens", "n_tokens", "engine", "finished_at")
ADDRESS = ("response_id", "model_id", "prompt", "sampling", "seed", "sample_index")

KINDS = ("*.parquet", "*.journal", "*.torn")
"""The files with responses, or what is left of them."""


class Summary(NamedTuple):
    """The responses of one model."""

    model_id: str
    responses: int
    """Each once."""
    repeated: int
    """Duplicate rows, which compaction drops."""
    finished: dict[str, int]
    """Responses by finish reason."""
    tokens: int
    """Generated."""
    prompt_tokens: int
    size: int
    """Bytes on disk of segments, journals and torn files."""
    segments: int
    waiting: int
    """Rows in journals."""
    torn: int
    """Files set aside."""
    engines: dict[str, int]
    """Responses by engine."""
    first: float
    """When the first and the last finished, Unix seconds; 0: not recorded."""
    last: float


class Verification(NamedTuple):
    """The result of verifying one model."""

    model_id: str
    responses: int
    """Sound rows."""
    torn: list[str]
    """Files set aside, with the error."""


def folders(ledger: Path) -> list[Path]:
    """The folder of each model.

    Raises:
        LimoError: there is no ledger.
    """
    if not ledger.is_dir():
        raise LimoError(f"{ledger}: no ledger there; a stage that samples creates it, or give --ledger")
    return [path for path in sorted(ledger.iterdir()) if path.is_dir() and any(map(any, map(path.glob, KINDS)))]


def tables(folder: Path, columns: Sequence[str]) -> Iterator[pa.Table]:
    """These columns of all responses of a model, one segment or journal at a time; torn segments are set aside."""
    waiting = [read_journal(path).rows.select(columns) for path in journals(folder)]
    seen: set[str] = set()
    while left := [entry.path for entry in entries(folder) if entry.path.name not in seen]:
        for path in left:
            seen.add(path.name)
            try:
                with Segment(path) as segment:
                    yield segment.read(columns)
            except FileNotFoundError:
                continue
            except TornError as error:
                set_aside(path, str(error))
    yield from waiting


def summarise(folder: Path) -> Summary:
    """Count a model's responses."""
    parts = [pl.DataFrame(pl.from_arrow(table)) for table in tables(folder, COUNTED)]
    rows = pl.concat(parts) if parts else pl.DataFrame(pl.from_arrow(SCHEMA.empty_table().select(COUNTED)))
    once = rows.unique("response_id", keep="first", maintain_order=True)
    times = once.filter(pl.col("finished_at") > 0)["finished_at"]
    return Summary(
        model_id=folder.name,
        responses=once.height,
        repeated=rows.height - once.height,
        finished=_counts(once, "finish_reason"),
        tokens=int(once["n_tokens"].sum()),
        prompt_tokens=int(once["n_prompt_tokens"].sum()),
        size=sum(size_of(path) for kind in KINDS for path in folder.glob(kind)),
        segments=len(entries(folder)),
        waiting=sum(read_journal(path).rows.num_rows for path in journals(folder)),
        torn=len(list(folder.glob("*.torn"))),
        engines=_counts(once, "engine"),
        first=_time(times.min()),
        last=_time(times.max()),
    )


def _counts(rows: pl.DataFrame, column: str) -> dict[str, int]:
    return dict(sorted(Counter(rows[column].to_list()).items(), key=lambda entry: -entry[1]))


def _time(value: object) -> float:
    return value if isinstance(value, float) else 0.0


def verify(folder: Path) -> Verification:
    """Read every byte of a model's segments and compare ids with what they hash; what fails is set aside."""
    recover(folder)
    torn: list[str] = []
    rows = 0
    for entry in entries(folder):
        try:
            rows += _verify(entry.path)
        except FileNotFoundError:
            continue
        except TornError as error:
            torn.append(f"{entry.path}: {error}")
            new = set_aside(entry.path, str(error), right_rows)
            rows += _verify(new) if new else 0
    return Verification(folder.name, rows, torn)


def _verify(path: Path) -> int:
    with Segment(path) as segment:
        for group in range(len(segment.group_rows)):
            table = segment.read(SCHEMA.names, [group])
            wrong = table.num_rows - right_rows(table).num_rows
            if wrong:
                raise TornError(f"{wrong} responses do not hash to their id")
        return segment.rows


def right_rows(table: pa.Table) -> pa.Table:
    """The rows whose id is the hash of model, prompt, sampling parameters, seed and sample index."""
    key, *parts = (table.column(name).to_pylist() for name in ADDRESS)
    right = [response_id(*row) == recorded for recorded, row in zip(key, zip(*parts, strict=True), strict=True)]
    return table if all(right) else table.filter(pa.array(right, pa.bool_()))


def find(ledger: Path, beginning: str) -> Response:
    """The response with this id, or the only one whose id begins so.

    Raises:
        LimoError: there is none, or several.
    """
    found: dict[str, Path] = {}
    for folder in folders(ledger):
        for table in tables(folder, ["response_id"]):
            ids = pl.Series(table.column(0))
            found |= dict.fromkeys(ids.filter(ids.str.starts_with(beginning)).to_list(), folder)
    if len(found) != 1:
        some = ", ".join(list(found)[:3])
        raise LimoError(f"{ledger}: " + (f"{len(found)} responses begin so: {some}" if some else f"no `{beginning}`"))
    key, folder = found.popitem()
    return Ledger(ledger, folder.name).lookup([key])[key]


LOGS = ("vllm.log", "vllm.logging.json")
"""What an engine writes into the folder of its model."""


class Selection(NamedTuple):
    """What to prune: torn files, or the responses to which all of this applies."""

    torn: bool = False
    engine: str | None = None
    """A text in the engine's name."""
    before: float | None = None
    """Finished earlier, Unix seconds; where that was not recorded, written earlier."""


class Pruning(NamedTuple):
    """What is to be removed, or was, of one model."""

    model_id: str
    responses: int
    tokens: int
    size: int
    """Bytes on disk: of torn files, and of segments by the share of rows removed."""
    files: int
    """Torn files."""


def to_prune(folder: Path, which: Selection) -> Pruning:
    """What `prune` would remove."""
    masks = {} if which.torn else _masks(folder, which)
    aside = _torn(folder) if which.torn else []
    sizes = [entry.size * float(rows.selected.mean()) for entry, rows in masks.items()]
    return Pruning(
        folder.name,
        sum(int(rows.selected.sum()) for rows in masks.values()),
        sum(rows.tokens for rows in masks.values()),
        round(sum(sizes)) + sum(map(size_of, aside)),
        len(aside),
    )


def prune(folder: Path, which: Selection) -> Pruning:
    """Remove what is selected; each segment is replaced by one without those rows.

    Raises:
        LimoError: a run is writing to this model, its segments are being merged, or its folder cannot be written.
    """
    with exclusive(folder) as mine:
        if not mine or _written_to(folder):
            raise LimoError(f"{folder}: a run is writing to it; prune once it has ended")
        drop_abandoned(folder)
        recover(folder)
        pruned = to_prune(folder, which)
        if which.torn:
            with writing(folder, "the remaining files stay as they are"):
                for path in _torn(folder):
                    path.unlink(missing_ok=True)
        else:
            _remove(_masks(folder, which))
    _remove_empty(folder)
    return pruned


def _remove(masks: "dict[Entry, _Rows]") -> None:
    removed = 0
    for entry, rows in masks.items():
        try:
            replace([entry], [~rows.selected])
        except (LimoError, TornInRunError) as error:
            torn = f"{entry.path}: torn ({error}); run `limo ledger verify` first"
            problem = torn if isinstance(error, TornInRunError) else str(error)
            before = f"; {removed:,} responses of this model were removed before" if removed else ""
            raise LimoError(problem + before) from None
        removed += int(rows.selected.sum())


class _Rows(NamedTuple):
    selected: np.ndarray
    tokens: int


def _masks(folder: Path, which: Selection) -> dict[Entry, _Rows]:
    """The segments that have rows to remove, with those rows."""
    found = {}
    for entry in entries(folder):
        try:
            with Segment(entry.path) as segment:
                rows = pl.DataFrame(pl.from_arrow(segment.read(["engine", "finished_at", "n_tokens"])))
        except FileNotFoundError:
            continue
        except TornError as error:
            raise LimoError(f"{entry.path}: torn ({error}); run `limo ledger verify` first") from None
        selected = rows.select(_applies(which, entry.path)).to_series()
        if selected.any():
            found[entry] = _Rows(selected.to_numpy(), int(rows.filter(selected)["n_tokens"].sum()))
    return found


def _applies(which: Selection, path: Path) -> pl.Expr:
    applies = pl.repeat(True, pl.len())
    if which.engine is not None:
        applies &= pl.col("engine").str.contains(which.engine, literal=True)
    if which.before is not None:
        stamp = stamp_of(path)
        written = int(stamp) / 1e9 if stamp.isdigit() else 0.0
        applies &= pl.when(pl.col("finished_at") > 0).then("finished_at").otherwise(written) < which.before
    return applies.alias("selected")


def _torn(folder: Path) -> Sequence[Path]:
    return sorted(folder.glob("*.torn"))


def _written_to(folder: Path) -> bool:
    """Whether a living writer has a journal."""
    for path in journals(folder):
        try:
            with path.open("rb") as file:
                if not try_lock(file.fileno()):
                    return True
        except FileNotFoundError:
            continue
        except OSError as error:
            raise LimoError(f"{path}: cannot be read ({error.strerror})") from None
    return False


def _remove_empty(folder: Path) -> None:
    """Remove the folder of a model that has nothing left but the logs of its engine."""
    left = [path for path in folder.iterdir() if path.name not in (LOCK, *LOGS)]
    if not left:
        for name in (*LOGS, LOCK):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


PARAMS = Path("params.yaml")
ARM = "ablation arm"


def overview(ledger: Path, artifacts: Path) -> str:
    """The ledger as a table, one row a model."""
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
    listed = [_ablation(artifacts) / "base/models.json", artifacts / "train/model.json", artifacts / "base/models.json"]
    return {model.model_id: model for path in listed if path.exists() for model in load_models(path).values()}


def names(artifacts: Path) -> dict[str, str]:
    """The names of the models in use by their ids: the run's, the trained one, and the ablation's arms."""
    found: dict[str, str] = {}
    for path in sorted(_ablation(artifacts).glob("arms/*/verdicts.parquet")):
        ids = _read_ids(path).unique()
        found |= dict.fromkeys(ids.to_list(), f"{ARM} {path.parent.name}")
    return found | {key: model.name for key, model in models(artifacts).items()}


def _ablation(artifacts: Path) -> Path:
    """Where `limo ablate` writes: in the same checkout as a run's artifacts."""
    return artifacts.absolute().parent / "ablations/artifacts"


def _read_ids(path: Path) -> pl.Series:
    try:
        return read_table(path, {"model_id": pl.String})["model_id"]
    except (pl.exceptions.PolarsError, OSError) as error:
        raise LimoError(f"{path}: cannot be read ({one_line(error)}); delete it and rerun `limo ablate`") from None


def compare_redrawn(one: Response, ledger: Path, artifacts: Path) -> str:
    """How the response differs when it is generated again, alone; empty where it does not."""
    from tasks.engines.launch import open_engine

    model = models(artifacts).get(one.model_id)
    if model is None:
        raise LimoError(f"{one.response_id}: its model {one.model_id} is not in {artifacts}/base or train")
    if describe(Path(model.path), model.name, model.origin).model_id != model.model_id:
        raise LimoError(f"{model.path}: has changed since {one.model_id} was resolved; run `dvc repro base`")
    params = load_section(PARAMS, "engine", EngineParams)
    engine = open_engine(params, model, ledger / one.model_id / "vllm.log")
    try:
        return difference(one, redraw(one, engine))
    finally:
        engine.close()


def in_full(one: Response) -> str:
    """One response with all its fields."""
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
    """Raise a LimoError where a model in use may not be listed: DVC removes a stage's outputs before it reruns it."""
    for name, stage in (("base/models.json", "base"), ("train/model.json", "train")):
        if not (artifacts / name).exists():
            raise LimoError(
                f"--unused: no {artifacts / name}, which lists the models in use; run `dvc repro {stage}` first"
            )


def pruned_line(pruned: Pruning, known: dict[str, str], removed: bool) -> str:
    """What was removed of a model, or would be, in a line."""
    name = known.get(pruned.model_id, "not in use")
    files = f", {pruned.files} torn files" if pruned.files else ""
    counts = f"{pruned.responses:,} responses, {pruned.tokens:,} tokens{files}, {_mb(pruned.size)}"
    return f"{pruned.model_id} ({name}): {counts} {'removed' if removed else 'would be removed'}"
