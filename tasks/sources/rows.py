"""The rows of any source in one shape: question, final answer, domain, level, and where it stood.

A source is planned first: its files fetched and cut into pieces, its columns found. Each piece is then read by itself,
by whichever process has time for it.
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
from tasks.sources.fetch import SourceFile, fetch_files
from tasks.sources.readers import Columns, Piece, names, pieces, read
from tasks.sources.source import Fields, SourceParams

# Questions made by a generator: the families of this project, or a task of reasoning-gym.


class Made(NamedTuple):
    """A generator's questions, written as JSON Lines."""

    path: Path
    label: str
    """The generator's call: question k is `label:k`."""


class MadeQuestion(NamedTuple):
    """One generated question."""

    question: str
    answer: str | None
    domain: str
    level: str | None


def write_made(source: SourceParams, split: Split, key: str, folder: Path) -> Made | None:
    """Write the questions of a generator under `folder`, or None when the source is none.

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
    return Made(path, label)


def _from_family(source: SourceParams, split: Split) -> Iterator[MadeQuestion]:
    assert source.family is not None
    assert source.count is not None
    assert source.levels is not None
    for problem in problems(source.family, source.count, source.seed, source.levels, split):
        yield MadeQuestion(problem.question, problem.answer, problem.family, str(problem.level))


def _from_reasoning_gym(source: SourceParams, split: Split, key: str) -> Iterator[MadeQuestion]:
    assert source.reasoning_gym is not None
    with warnings.catch_warnings():
        # One of its dependencies warns about its own syntax when first compiled.
        warnings.simplefilter("ignore")
        import reasoning_gym
    try:
        entries = reasoning_gym.create_dataset(
            source.reasoning_gym, size=source.count, seed=_far_seed(split, source.seed), **source.config
        )
    except (ValueError, TypeError, AssertionError) as error:
        raise LimoError(f"reasoning_gym {source.reasoning_gym}: {error} (params.yaml: {key})") from None
    for entry in entries:
        yield MadeQuestion(entry["question"], entry["answer"], source.reasoning_gym, None)


def _far_seed(split: Split, seed: int) -> int:
    """A seed far from all others: reasoning-gym draws entry i from `seed + i`, so seeds 3 and 14 share questions."""
    return int.from_bytes(hashlib.blake2b(f"{split}:{seed}".encode(), digest_size=4).digest())


GUESSES = {
    "question": ("question", "problem", "prompt", "Question", "Problem"),
    "answer": ("answer", "final_answer", "Answer", "solution", "Solution"),
    "domain": ("domain", "subject", "type"),
    "level": ("level", "difficulty"),
}
WORKED = ("solution", "Solution")
EVIDENCE_CHARS = 200
DRAFT = pl.Schema(
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


class Plan(NamedTuple):
    """A source, ready to be read piece by piece."""

    source: SourceParams
    fields: Fields
    """Every guess made."""
    files: list[SourceFile]
    pieces: list[Piece]


def plan(source: SourceParams, split: Split, key: str, work: Path) -> Plan:
    """Fetch or make a source, cut it into pieces, and find its columns.

    Args:
        split: of the generators: `pool` or `eval`, which share no question.
        key: the source's key in params.yaml, for messages.
        work: a folder for downloads and unpacked files.

    Raises:
        LimoError: the source cannot be had or read, has no rows, or lacks a column.
    """
    made = write_made(source, split, key, work / "made")
    files = [] if made is not None else fetch_files(source, key, work / "downloads")
    if made is not None:
        parts = list(pieces(made.path, made.label, work / "unpacked"))
    else:
        parts = [piece for file in files for piece in pieces(file.path, file.label, work / "unpacked")]
    columns = list(dict.fromkeys(name for piece in _first_of_each(parts) for name in names(piece)))
    if not columns:
        raise LimoError(f"source `{source.name}` has no rows (params.yaml: {key})")
    return Plan(source, _resolve(source.fields, columns, key), files, parts)


def _first_of_each(parts: list[Piece]) -> list[Piece]:
    """The first piece of each file: files of one source may differ in their columns."""
    return [next(group) for _, group in itertools.groupby(parts, key=lambda piece: piece.path)]


def draft(piece: Piece, source: SourceParams, fields: Fields) -> pl.DataFrame:
    """The rows of a piece (DRAFT).

    Raises:
        LimoError: a row that cannot be read, or lacks the id that `fields.id` names.
    """
    wanted = [fields.question, fields.answer, fields.domain, fields.level, fields.id, fields.choice]
    here = set(names(piece)) if piece.form in (".parquet", ".csv") else None
    columns = [name for name in dict.fromkeys([*wanted, *fields.distractors]) if name and (not here or name in here)]
    lacking = [name for name in (fields.question, fields.answer, fields.id) if name and here and name not in here]
    if lacking:
        raise LimoError(
            f"{piece.path}: has no column {', '.join(lacking)}, which other files of source `{source.name}` have; leave"
            " it out, or make it a source of its own"
        )
    cells = read(piece, columns)
    rows = [_row(piece, cells, at, source, fields) for at in range(len(cells.numbers))]
    return pl.DataFrame(rows, schema=DRAFT, orient="row")


def _row(piece: Piece, cells: Columns, at: int, source: SourceParams, fields: Fields) -> tuple[Any, ...]:
    def cell(column: str | None) -> Any:
        values = cells.values.get(column) if column else None
        return values[at] if values is not None else None

    question, value, letter = cell(fields.question), cell(fields.answer), as_text(cell(fields.choice))
    question = question.strip() if isinstance(question, str) else ""
    origin = f"{piece.label}:{cells.numbers[at]}"
    if source.family is not None or source.reasoning_gym is not None:
        answer = as_text(value)
    else:
        answer = letter or final_answer(value, source.answer_from, fields.answer in WORKED)
    if fields.distractors and answer is not None:
        wrong = [as_text(cell(name)) or "" for name in fields.distractors]
        question, answer = with_options(question, answer, wrong, fields.shuffle_seed)
    shown = None if answer is not None else json.dumps(value, ensure_ascii=False, default=str)[:EVIDENCE_CHARS]
    choice = letter is not None or bool(fields.distractors) or source.answer_from == "letter"
    given = _given_id(cell(fields.id), origin) if fields.id else None
    return question, answer, as_text(cell(fields.domain)), as_text(cell(fields.level)), origin, choice, shown, given


def _given_id(value: Any, origin: str) -> str:
    if value is None:
        raise LimoError(f"{origin}: has no id; give every row one, or leave `fields.id` out")
    return str(value)


def repeated_id(given: str, origin: str, first: str) -> LimoError:
    """Two rows with one id."""
    return LimoError(f"{origin}: id {given} was already used in {first}; ids must be unique, or leave `fields.id` out")


class Draft(NamedTuple):
    """One row of a source, before anything is decided about it (DRAFT)."""

    question: str
    answer: str | None
    domain: str | None
    level: str | None
    origin: str
    choice: bool = False
    cell: str | None = None


def read_drafts(source: SourceParams, split: Split, key: str, work: Path) -> list[Draft]:
    """All rows of a source that is small enough to be held; at most `limit`, in the source's order.

    Raises:
        LimoError: as `plan` and `draft`.
    """
    planned = plan(source, split, key, work)
    rows = pl.concat(draft(piece, source, planned.fields) for piece in planned.pieces)
    ids: dict[str, str] = {}
    for given, origin in rows.select("given_id", "origin").drop_nulls().iter_rows():
        if given in ids:
            raise repeated_id(given, origin, ids[given])
        ids[given] = origin
    drafts = [Draft(*row) for row in rows.drop("given_id").iter_rows()]
    return _sample(drafts, source.limit, source.seed)


def _sample(drafts: list[Draft], limit: int | None, seed: int) -> list[Draft]:
    if limit is None or limit >= len(drafts):
        return drafts
    drawn = heapq.nsmallest(limit, range(len(drafts)), key=lambda index: lot(seed, drafts[index].question))
    return [drafts[index] for index in sorted(drawn)]


def lot(seed: int, question: str) -> int:
    """What a sample is drawn by: the rows with the smallest ones, however the source is ordered."""
    digest = hashlib.blake2b(f"{seed}:{question}".encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest())


def _resolve(fields: Fields, columns: Sequence[str], key: str) -> Fields:
    """The fields with every guess made."""
    given = [fields.question, fields.answer, fields.domain, fields.level, fields.id, fields.choice, *fields.distractors]
    missing = [name for name in given if name is not None and name not in columns]
    if missing:
        raise LimoError(f"params.yaml: {key}.fields: no column {', '.join(missing)}; there are {', '.join(columns)}")
    guessed = {name: _first(GUESSES[name], columns) for name in GUESSES if getattr(fields, name) is None}
    for name in ("question", "answer"):
        if name in guessed and guessed[name] is None:
            raise LimoError(
                f"params.yaml: {key}.fields.{name}: say which column holds it; there are {', '.join(columns)}"
            )
    return fields.model_copy(update=guessed)


def _first(candidates: Sequence[str], columns: Sequence[str]) -> str | None:
    return next((name for name in candidates if name in columns), None)


class Choice(NamedTuple):
    """A question with its options, and the letter of the right one."""

    question: str
    answer: str


def with_options(question: str, right: str, wrong: list[str], seed: int = 0) -> Choice:
    """Append the options in an order that only their text and the seed decide, so that the right one is anywhere."""
    options = sorted([right, *wrong], key=lambda option: lot(seed, question + option))
    lines = [f"{chr(ord('A') + index)}. {option}" for index, option in enumerate(options)]
    return Choice("\n".join([question, "", *lines]), chr(ord("A") + options.index(right)))
