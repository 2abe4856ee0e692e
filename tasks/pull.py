"""Pull the question pool from many sources into one schema.

Reads the sources that params.yaml lists: local files, Hugging Face data sets at a pinned commit, URLs, generators.
Writes kept.parquet and rejected.parquet (QUESTION) and a manifest. Rejected are rows without a question or an
answer, and repeated rows: everything later on is keyed by the question's text.
"""

from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
from pydantic import model_validator

from tasks.core.errors import LimoError
from tasks.core.files import publish
from tasks.core.filter import FilterWriter
from tasks.core.params import Params
from tasks.core.shards import Job, Shard, ShardsParams, exclusive, run_shards, shards_digest
from tasks.core.stage import Stage, stage_main
from tasks.records.question import QUESTION, question_id
from tasks.sources.fetch import source_facts
from tasks.sources.readers import FileRange, range_fingerprint
from tasks.sources.rows import SourcePlan, duplicate_id_error, plan_source, read_rows, sampling_key
from tasks.sources.source import Fields, SourceParams, check_names

MOST_CHARS = 1_000_000
SHOWN_CHARS = 10_000
DECIDED = pl.Schema([*QUESTION.items(), ("reason", pl.String()), ("evidence", pl.String())])
ROWS = pl.Schema([*DECIDED.items(), ("given_id", pl.String()), ("sampling_key", pl.UInt64())])


STAGE = Stage(
    "pull",
    "questions",
    {
        "empty_question": "the row has no question",
        "oversized_question": "too large to be a question",
        "no_answer": "the source states no answer",
        "repeated_row": "the source has the same text in an earlier row",
    },
)


class PullParams(Params):
    """Where the question pool comes from."""

    sources: tuple[SourceParams, ...]
    """In order of trust: of two equal questions, `clean` keeps the one whose source is first in the list."""

    @model_validator(mode="after")
    def _names(self) -> Self:
        check_names(self.sources)
        return self


class SourceRange(NamedTuple):
    """A range of one of a source's files, with all that its reader needs."""

    part: FileRange
    source: SourceParams
    fields: Fields


class RowSelection(NamedTuple):
    """Which rows of a source are drawn, and which repeat another: known only of the whole of it."""

    taken: np.ndarray
    """bool, one a row: drawn, when the source has a `limit`."""
    first: np.ndarray
    """int64, one a row: the earlier row of the source with the same question; -1 when there is none."""


def decide(rows: pl.DataFrame, source: SourceParams) -> pl.DataFrame:
    """Rows of a source (SOURCE_ROW) as questions (ROWS), with `reason` and `evidence` where one cannot be used."""
    texts = rows["question"].to_list()
    length = pl.col("question").str.len_chars()
    judged = rows.with_columns(
        question_id=pl.Series([question_id(source.name, text) for text in texts], dtype=pl.String),
        sampling_key=pl.Series(
            [sampling_key(source.seed, text) for text in texts] if source.limit else [0] * len(texts), dtype=pl.UInt64
        ),
        source=pl.lit(source.name),
        reason=pl.when(length == 0)
        .then(pl.lit("empty_question"))
        .when(length > MOST_CHARS)
        .then(pl.lit("oversized_question"))
        .when(pl.col("answer").is_null())
        .then(pl.lit("no_answer")),
        evidence=pl.when(length == 0)
        .then("origin")
        .when(length > MOST_CHARS)
        .then(pl.format("{} characters, of which the first {} are kept", length, SHOWN_CHARS))
        .when(pl.col("answer").is_null())
        .then("cell"),
    )
    shown = pl.when(length > MOST_CHARS).then(pl.col("question").str.head(SHOWN_CHARS)).otherwise("question")
    return judged.with_columns(question=shown).select(ROWS.names())


def decide_range(what: SourceRange, _: None) -> dict[str, pl.DataFrame]:
    """The rows of one range (ROWS)."""
    return {"rows": decide(read_rows(what.part, what.source, what.fields), what.source)}


def source_range_fingerprint(what: SourceRange) -> bytes:
    """Differs between ranges, and between ways to read one."""
    return (
        range_fingerprint(what.part) + what.source.model_dump_json().encode() + what.fields.model_dump_json().encode()
    )


def select_rows(source: SourceParams, shards: list[Path]) -> RowSelection:
    """Draw the sample of `limit`, and find the rows that repeat an earlier question."""
    columns = ["question_id", "reason", "sampling_key", "given_id"]
    rows = pl.concat(pl.read_parquet(shard / "rows.parquet", columns=columns) for shard in shards)
    _check_ids(rows["given_id"], shards)
    taken = np.ones(rows.height, np.bool_)
    if source.limit is not None and source.limit < rows.height:
        taken[:] = False
        taken[np.argpartition(rows["sampling_key"].to_numpy(), source.limit - 1)[: source.limit]] = True
    usable = np.flatnonzero(rows["reason"].is_null().to_numpy() & taken)
    _, start, group = np.unique(
        rows["question_id"].gather(usable).hash().to_numpy(), return_index=True, return_inverse=True
    )
    first = np.full(rows.height, -1, np.int64)
    earliest = usable[start[group]]
    first[usable] = np.where(earliest == usable, -1, earliest)
    return RowSelection(taken, first)


def _check_ids(given: pl.Series, shards: list[Path]) -> None:
    """Raise a LimoError when two rows have the same id of the source's own."""
    twice = given.filter(given.is_not_null() & ~given.is_first_distinct())
    if twice.is_empty():
        return
    rows = pl.scan_parquet([shard / "rows.parquet" for shard in shards]).filter(pl.col("given_id") == twice[0])
    first, second = rows.select("origin").head(2).collect()["origin"]
    raise duplicate_id_error(twice[0], second, first)


def merge(shards: list[Path], selection: RowSelection, writer: FilterWriter) -> None:
    """Write the rows of a source that are taken, in order."""
    referred = np.zeros(len(selection.first), np.bool_)
    referred[selection.first[selection.first >= 0]] = True
    origins: dict[int, str] = {}
    start = 0
    for shard in shards:
        rows = pl.read_parquet(shard / "rows.parquet")
        stop = start + rows.height
        for at in np.flatnonzero(referred[start:stop]).tolist():
            origins[start + at] = rows["origin"][at]
        first = selection.first[start:stop]
        repeat = pl.Series([origins[at] if at >= 0 else None for at in first.tolist()], dtype=pl.String)
        rows = rows.with_columns(
            reason=pl.when(repeat.is_not_null()).then(pl.lit("repeated_row")).otherwise("reason"),
            evidence=pl.coalesce(repeat, "evidence"),
        )
        writer.add(rows.filter(selection.taken[start:stop]).select(DECIDED.names()))
        start = stop


def run(pull: PullParams, shards: ShardsParams, *, work: Path, out: Path) -> None:
    """Read every source, in order."""
    with exclusive(out):
        planned = [plan_source(source, "pool", f"pull.sources.{at}", work) for at, source in enumerate(pull.sources)]
        ranges = [SourceRange(part, plan.source, plan.fields) for plan in planned for part in plan.ranges]
        job = Job("pull", out / ".shards", decide_range, None, shards_digest(__file__))
        done = run_shards(job, [Shard(part, source_range_fingerprint) for part in ranges], shards)
        with publish(out) as folder:
            writer = FilterWriter(folder, STAGE, QUESTION)
            facts: dict[str, Any] = {}
            for index, each in enumerate(planned):
                mine, done = done[: len(each.ranges)], done[len(each.ranges) :]
                selection = select_rows(each.source, mine)
                merge(mine, selection, writer)
                counts = dict(writer.sources.get(each.source.name, {}))
                if not counts.get("kept"):
                    raise _nothing_kept(each.source, index, counts)
                facts[each.source.name] = _facts(each, selection, counts)
            writer.close({"sources": facts})


def _nothing_kept(source: SourceParams, index: int, counts: dict[str, int]) -> LimoError:
    dropped = ", ".join(f"{count} {reason}" for reason, count in counts.items())
    return LimoError(
        f"pull: source `{source.name}` has no usable question ({dropped}); see `pull.sources.{index}.fields` and"
        " `answer_from` in params.yaml"
    )


def _facts(planned: SourcePlan, selection: RowSelection, counts: dict[str, int]) -> dict[str, Any]:
    """What the manifest says of a source."""
    rejected = {reason: count for reason, count in counts.items() if reason != "kept"}
    counted = {"rows": len(selection.taken), "taken": int(selection.taken.sum()), "kept": counts["kept"]}
    return counted | {"rejected": rejected} | source_facts(planned.source, planned.files)


if __name__ == "__main__":
    stage_main(run)
