"""The rows of any source in one shape: question, final answer, domain, level, and where it stood."""

import hashlib
import heapq
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from tasks.errors import LimoError
from tasks.families import Split
from tasks.pool.answers import as_text, final_answer
from tasks.pool.generated import Made, make
from tasks.pool.hub import fetch
from tasks.pool.readers import Row, find_files, read_rows
from tasks.pool.source import Fields, SourceParams

GUESSES = {
    "question": ("question", "problem", "prompt", "Question", "Problem"),
    "answer": ("answer", "final_answer", "Answer", "solution", "Solution"),
    "domain": ("domain", "subject", "type"),
    "level": ("level", "difficulty"),
}
WORKED = ("solution", "Solution")
PEEK = 1000
EVIDENCE_CHARS = 200


class Draft(NamedTuple):
    """One row of a source, before anything is decided about it."""

    question: str
    answer: str | None
    domain: str | None
    level: str | None
    origin: str
    choice: bool = False
    """The answer is the letter of an option."""
    cell: str = ""
    """The start of the answer cell, shown when no answer was found in it."""


class Drafts(NamedTuple):
    """What a source gave."""

    rows: int
    """Rows it has."""
    drawn: list[Draft]
    """Those taken, at most `limit`, in the source's order."""


def read_drafts(source: SourceParams, split: Split, key: str) -> Drafts:
    """Read or make the rows of a source.

    Args:
        split: of the generators: `pool` or `eval`, which share no question.
        key: the source's key in params.yaml, for messages.

    Raises:
        LimoError: the source cannot be read, has no rows, or lacks a column.
    """
    drafts = list(_generated(source, split, key) or _read(source, key))
    if not drafts:
        raise LimoError(f"source `{source.name}` has no rows (params.yaml: {key})")
    return Drafts(len(drafts), sample(drafts, source.limit, source.seed))


def sample(drafts: list[Draft], limit: int | None, seed: int) -> list[Draft]:
    """The `limit` drafts with the smallest hash of seed and question: the same ones, however the source is ordered."""
    if limit is None or limit >= len(drafts):
        return drafts
    drawn = heapq.nsmallest(limit, range(len(drafts)), key=lambda index: _lot(seed, drafts[index].question))
    return [drafts[index] for index in sorted(drawn)]


def _lot(seed: int, question: str) -> bytes:
    return hashlib.blake2b(f"{seed}:{question}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _generated(source: SourceParams, split: Split, key: str) -> Iterator[Draft] | None:
    made: Iterable[Made] | None = make(source, split, key)
    if made is None:
        return None
    return (Draft(m.question.strip(), as_text(m.answer), m.domain, m.level, m.origin) for m in made)


def _read(source: SourceParams, key: str) -> Iterator[Draft]:
    rows = _rows(source, key)
    head = list(itertools.islice(rows, PEEK))
    columns = list(dict.fromkeys(name for row in head for name in row.values))
    fields = _resolve(source.fields, columns, key) if head else source.fields
    ids: dict[str, str] = {}
    for row in itertools.chain(head, rows):
        if fields.id is not None:
            _check_id(row.values.get(fields.id), row, ids)
        yield _draft(row, fields, source)


def _rows(source: SourceParams, key: str) -> Iterator[Row]:
    if source.hub is not None:
        for file in fetch(source.hub, f"{key}.hub"):
            yield from read_rows(file.path, file.label)
    else:
        assert source.path is not None
        for path in find_files(source.path, f"{key}.path"):
            yield from read_rows(path)


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


def _first(names: Sequence[str], columns: Sequence[str]) -> str | None:
    return next((name for name in names if name in columns), None)


def _check_id(given: Any, row: Row, ids: dict[str, str]) -> None:
    if given is None:
        raise LimoError(f"{row.origin}: has no id; give every row one, or leave `fields.id` out")
    value = str(given)
    if value in ids:
        raise LimoError(
            f"{row.origin}: id {value} was already used in {ids[value]}; ids must be unique, or leave `fields.id` out"
        )
    ids[value] = row.origin


def _draft(row: Row, fields: Fields, source: SourceParams) -> Draft:
    def cell(column: str | None) -> Any:
        return None if column is None else row.values.get(column)

    question, value, letter = cell(fields.question), cell(fields.answer), as_text(cell(fields.choice))
    question = question.strip() if isinstance(question, str) else ""
    answer = letter or final_answer(value, source.answer_from, fields.answer in WORKED)
    if fields.distractors and answer is not None:
        question, answer = with_options(question, answer, [as_text(cell(name)) or "" for name in fields.distractors])
    choice = letter is not None or bool(fields.distractors)
    shown = json.dumps(value, ensure_ascii=False, default=str)[:EVIDENCE_CHARS]
    return Draft(question, answer, as_text(cell(fields.domain)), as_text(cell(fields.level)), row.origin, choice, shown)


class Choice(NamedTuple):
    """A question with its options, and the letter of the right one."""

    question: str
    answer: str


def with_options(question: str, right: str, wrong: list[str]) -> Choice:
    """Append the options in an order that only their text decides, so that the right one is anywhere."""
    options = sorted([right, *wrong], key=lambda option: _lot(0, question + option))
    lines = [f"{chr(ord('A') + index)}. {option}" for index, option in enumerate(options)]
    return Choice("\n".join([question, "", *lines]), chr(ord("A") + options.index(right)))
