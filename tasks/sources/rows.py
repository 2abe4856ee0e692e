"""The rows of any source in one schema: question, final answer, domain, level, origin.

A source is planned first: its files are fetched, or its questions generated, and split into ranges, and its columns are
found. Each range is then read by itself, in any process.
"""

import hashlib
import heapq
import itertools
import json
import uuid
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.core.cells import as_text
from tasks.core.errors import LimoError
from tasks.core.files import full_disk, make_folder
from tasks.families import Split, problems
from tasks.sources.answers import final_answer
from tasks.sources.download import SourceFile
from tasks.sources.fetch import fetch_files
from tasks.sources.readers import Columns, FileRange, column_names, file_ranges, read_columns
from tasks.sources.source import Fields, SourceParams


class GeneratedFile(NamedTuple):
    """A generator's questions, written as JSON Lines."""

    path: Path
    label: str
    """The generator's call: question k is `label:k`."""


class GeneratedQuestion(NamedTuple):
    """One generated question."""

    question: str
    answer: str | None
    domain: str
    level: str | None


def generate(source: SourceParams, split: Split, key: str, folder: Path) -> GeneratedFile | None:
    """Write the questions of a generator under `folder`; None when the source is no generator.

    Raises:
        LimoError: the generator refuses its settings.
    """
    if source.family is not None:
        label, questions = f"family:{source.family}:{split}:{source.seed}", _from_family(source, split)
    elif source.reasoning_gym is not None:
        label = f"reasoning_gym:{source.reasoning_gym}:{split}:{source.seed}"
        questions = _from_reasoning_gym(source, split, key)
    else:
        return None
    make_folder(folder)
    name = hashlib.blake2b(f"{split}:{source.model_dump_json()}".encode(), digest_size=8).hexdigest()
    path, part = folder / f"{name}.jsonl", folder / f"{name}.{uuid.uuid4().hex[:12]}.part"
    with full_disk(part), part.open("w", encoding="utf-8") as sink:
        sink.writelines(json.dumps(question._asdict()) + "\n" for question in questions)
    part.replace(path)
    return GeneratedFile(path, label)


def _from_family(source: SourceParams, split: Split) -> Iterator[GeneratedQuestion]:
    assert source.family is not None
    assert source.count is not None
    assert source.levels is not None
    for problem in problems(source.family, source.count, source.seed, source.levels, split):
        yield GeneratedQuestion(problem.question, problem.answer, problem.family, str(problem.level))


def _from_reasoning_gym(source: SourceParams, split: Split, key: str) -> Iterator[GeneratedQuestion]:
    assert source.reasoning_gym is not None
    with warnings.catch_warnings():
        # One of its dependencies warns about its own syntax when first compiled.
        warnings.simplefilter("ignore")
        import reasoning_gym
    try:
        entries = reasoning_gym.create_dataset(
            source.reasoning_gym, size=source.count, seed=_spread_seed(split, source.seed), **source.config
        )
    except (ValueError, TypeError, AssertionError) as error:
        raise LimoError(f"reasoning_gym {source.reasoning_gym}: {error} (params.yaml: {key})") from None
    for entry in entries:
        yield GeneratedQuestion(entry["question"], entry["answer"], source.reasoning_gym, None)


def _spread_seed(split: Split, seed: int) -> int:
    """A seed far from all others: reasoning-gym draws entry i from `seed + i`, so seeds 3 and 14 share questions."""
    return int.from_bytes(hashlib.blake2b(f"{split}:{seed}".encode(), digest_size=4).digest())


COMMON_NAMES = {
    "question": ("question", "problem", "prompt", "Question", "Problem"),
    "answer": ("answer", "final_answer", "Answer", "solution", "Solution"),
    "domain": ("domain", "subject", "type"),
    "level": ("level", "difficulty"),
}
SOLUTIONS = ("solution", "Solution")
"""Columns that hold worked solutions."""
EVIDENCE_CHARS = 200
SOURCE_ROW = pl.Schema(
    {
        "question": pl.String,
        "answer": pl.String,
        "domain": pl.String,
        "level": pl.String,
        "origin": pl.String,
        "choice": pl.Boolean,
        "cell": pl.String,
        "given_id": pl.String,
    }
)
"""`choice`: the answer is the letter of an option. `cell`: the start of the answer cell, shown when no answer was found
in it. `given_id`: the source's own id."""


class SourcePlan(NamedTuple):
    """A source, ready to be read range by range."""

    source: SourceParams
    fields: Fields
    """With no column left to guess."""
    files: list[SourceFile]
    ranges: list[FileRange]


def plan_source(source: SourceParams, split: Split, key: str, work: Path) -> SourcePlan:
    """Fetch or generate a source, split it into ranges, and find its columns.

    Args:
        split: of the generators: `pool` or `eval`, which share no question.
        key: the source's key in params.yaml, for messages.
        work: a folder for downloads, generated and decompressed files.

    Raises:
        LimoError: the source cannot be downloaded or read, has no rows, or lacks a column.
    """
    generated = generate(source, split, key, work / "made")
    files = [] if generated is not None else fetch_files(source, key, work / "downloads")
    inputs = [generated] if generated is not None else files
    ranges = [part for file in inputs for part in file_ranges(file.path, file.label, work / "unpacked")]
    # Files of one source may differ in their columns.
    first_of_each = [next(group) for _, group in itertools.groupby(ranges, key=lambda part: part.path)]
    columns = list(dict.fromkeys(name for part in first_of_each for name in column_names(part)))
    if not columns:
        raise LimoError(f"source `{source.name}` has no rows (params.yaml: {key})")
    return SourcePlan(source, _resolve_fields(source.fields, columns, key), files, ranges)


def read_rows(part: FileRange, source: SourceParams, fields: Fields) -> pl.DataFrame:
    """The rows of a range (SOURCE_ROW).

    Raises:
        LimoError: a row that cannot be read, or lacks the id that `fields.id` names.
    """
    wanted = [fields.question, fields.answer, fields.domain, fields.level, fields.id, fields.choice]
    here = set(column_names(part)) if part.format in (".parquet", ".csv") else None
    columns = [name for name in dict.fromkeys([*wanted, *fields.distractors]) if name and (not here or name in here)]
    lacking = [name for name in (fields.question, fields.answer, fields.id) if name and here and name not in here]
    if lacking:
        raise LimoError(
            f"{part.path}: has no column {', '.join(lacking)}, which other files of source `{source.name}` have; leave"
            " it out, or make it a source of its own"
        )
    cells = read_columns(part, columns)
    rows = [_row(part, cells, at, source, fields) for at in range(len(cells.numbers))]
    return pl.DataFrame(rows, schema=SOURCE_ROW, orient="row")


def _row(part: FileRange, cells: Columns, at: int, source: SourceParams, fields: Fields) -> tuple[Any, ...]:
    def cell(column: str | None) -> Any:
        values = cells.values.get(column) if column else None
        return values[at] if values is not None else None

    question, value, letter = cell(fields.question), cell(fields.answer), as_text(cell(fields.choice))
    question = question.strip() if isinstance(question, str) else ""
    origin = f"{part.label}:{cells.numbers[at]}"
    if source.family is not None or source.reasoning_gym is not None:
        answer = as_text(value)
    else:
        answer = letter or final_answer(value, source.answer_from, fields.answer in SOLUTIONS)
    if fields.distractors and answer is not None:
        wrong = [as_text(cell(name)) or "" for name in fields.distractors]
        question, answer = with_options(question, answer, wrong, fields.shuffle_seed)
    evidence = None if answer is not None else json.dumps(value, ensure_ascii=False, default=str)[:EVIDENCE_CHARS]
    choice = letter is not None or bool(fields.distractors) or source.answer_from == "letter"
    given = _given_id(cell(fields.id), origin) if fields.id else None
    return question, answer, as_text(cell(fields.domain)), as_text(cell(fields.level)), origin, choice, evidence, given


def _given_id(value: Any, origin: str) -> str:
    if value is None:
        raise LimoError(f"{origin}: has no id; give every row one, or leave `fields.id` out")
    return str(value)


def duplicate_id_error(given: str, origin: str, first: str) -> LimoError:
    """The error for two rows with one id."""
    return LimoError(f"{origin}: id {given} was already used in {first}; ids must be unique, or leave `fields.id` out")


class SourceRow(NamedTuple):
    """One row of a source, before it is filtered (SOURCE_ROW)."""

    question: str
    answer: str | None
    domain: str | None
    level: str | None
    origin: str
    choice: bool = False
    cell: str | None = None


def read_source(source: SourceParams, split: Split, key: str, work: Path) -> list[SourceRow]:
    """All rows of a source that fits into memory; at most `limit`, in the source's order.

    Raises:
        LimoError: as `plan_source` and `read_rows`.
    """
    plan = plan_source(source, split, key, work)
    rows = pl.concat(read_rows(part, source, plan.fields) for part in plan.ranges)
    ids: dict[str, str] = {}
    for given, origin in rows.select("given_id", "origin").drop_nulls().iter_rows():
        if given in ids:
            raise duplicate_id_error(given, origin, ids[given])
        ids[given] = origin
    found = [SourceRow(*row) for row in rows.drop("given_id").iter_rows()]
    if source.limit is None or source.limit >= len(found):
        return found
    keys = [sampling_key(source.seed, row.question) for row in found]
    return [found[index] for index in sorted(heapq.nsmallest(source.limit, range(len(found)), key=keys.__getitem__))]


def sampling_key(seed: int, question: str) -> int:
    """The rows with the smallest keys are a source's sample, whatever its order."""
    digest = hashlib.blake2b(f"{seed}:{question}".encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest())


def _resolve_fields(fields: Fields, columns: Sequence[str], key: str) -> Fields:
    """The fields with the columns left out guessed."""
    given = [fields.question, fields.answer, fields.domain, fields.level, fields.id, fields.choice, *fields.distractors]
    missing = [name for name in given if name is not None and name not in columns]
    if missing:
        raise LimoError(f"params.yaml: {key}.fields: no column {', '.join(missing)}; there are {', '.join(columns)}")
    guessed = {
        name: next((candidate for candidate in candidates if candidate in columns), None)
        for name, candidates in COMMON_NAMES.items()
        if getattr(fields, name) is None
    }
    for name in ("question", "answer"):
        if name in guessed and guessed[name] is None:
            raise LimoError(
                f"params.yaml: {key}.fields.{name}: say which column holds it; there are {', '.join(columns)}"
            )
    return fields.model_copy(update=guessed)


class Choice(NamedTuple):
    """A question with its options, and the letter of the right one."""

    question: str
    answer: str


def with_options(question: str, right: str, wrong: list[str], seed: int = 0) -> Choice:
    """Append the options in an order that only their text and the seed decide, so that the right one is anywhere."""
    options = sorted([right, *wrong], key=lambda option: sampling_key(seed, question + option))
    lines = [f"{chr(ord('A') + index)}. {option}" for index, option in enumerate(options)]
    return Choice("\n".join([question, "", *lines]), chr(ord("A") + options.index(right)))
