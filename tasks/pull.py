"""Pull the question pool from many sources into one schema.

Reads the sources that params.yaml lists: local files, Hugging Face data sets at a pinned commit, generators.
Writes kept.parquet and rejected.parquet (QUESTION) and manifest.json. Rejected are rows without a question or an
answer, and repeated rows: everything later on is keyed by the question's text.
"""

from pathlib import Path
from typing import Any, Self

import polars as pl
from pydantic import model_validator

from tasks.files import publish
from tasks.manifest import count_reasons, write_filter
from tasks.params import Params
from tasks.pool.drafts import Draft, read_drafts
from tasks.pool.source import SourceParams, check_names
from tasks.records.question import QUESTION, question_id
from tasks.stage import stage_main

DECIDED = pl.Schema([*QUESTION.items(), ("reason", pl.String()), ("evidence", pl.String())])


class PullParams(Params):
    """Where the question pool comes from."""

    sources: tuple[SourceParams, ...]
    """In order of trust: of two equal questions, `clean` keeps the one whose source stands first."""

    @model_validator(mode="after")
    def _names(self) -> Self:
        check_names(self.sources)
        return self


def decide(source: str, drafts: list[Draft]) -> pl.DataFrame:
    """The rows of one source as questions, with `reason` and `evidence` where one cannot be used."""
    seen: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    for draft in drafts:
        reason, evidence = _fault(draft, seen)
        if reason is None:
            seen[draft.question] = draft.origin
        rows.append(
            {
                "question_id": question_id(source, draft.question),
                "source": source,
                "question": draft.question,
                "answer": draft.answer,
                "domain": draft.domain,
                "level": draft.level,
                "origin": draft.origin,
                "reason": reason,
                "evidence": evidence,
            }
        )
    return pl.DataFrame(rows, schema=DECIDED)


def _fault(draft: Draft, seen: dict[str, str]) -> tuple[str, str] | tuple[None, None]:
    if not draft.question:
        return "empty_question", draft.origin
    if draft.answer is None:
        return "no_answer", draft.cell
    if draft.question in seen:
        return "repeated_row", seen[draft.question]
    return None, None


def run(pull: PullParams, *, out: Path) -> None:
    """Read every source, in order."""
    decided, facts = [], {}
    for index, source in enumerate(pull.sources):
        drafts = read_drafts(source, "pool", f"pull.sources.{index}")
        part = decide(source.name, drafts.drawn)
        rejected = count_reasons(part.filter(pl.col("reason").is_not_null()))
        facts[source.name] = {"rows": drafts.rows, "taken": part.height, "rejected": rejected}
        decided.append(part)
    with publish(out) as folder:
        write_filter(folder, "pull", pl.concat(decided), {"sources": facts})


if __name__ == "__main__":
    stage_main(run)
