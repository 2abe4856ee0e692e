"""What `limo why` prints: a question in full, what every stage did with it, and the evidence for that.

Works as soon as `pull` has run, needs no lineage, and reads of each table only the rows about the questions asked for.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tasks.errors import LimoError
from tasks.files import MANIFEST, read_json
from tasks.tracing.evidence import attempts, chains, duplicates, leaks, overlaps
from tasks.tracing.fate import KEPT, NOT_RUN, Step, question_fate, question_row, require_pulled, resolve
from tasks.tracing.rows import Rows, fetch
from tasks.tracing.text import block, clean, fields, printable, table

MOST_FOUND = 20
AROUND = 40


def explain(artifacts: Path, prefixes: Sequence[str]) -> str:
    """The questions whose ids begin with `prefixes`, as text for a terminal.

    Raises:
        LimoError: no question's id begins so, or several do; `pull` has not run; a table cannot be read.
    """
    known = Rows(artifacts, [])
    identifiers = list(dict.fromkeys(resolve(known, prefix) for prefix in prefixes))
    rows = Rows(artifacts, identifiers)
    return "\n\n\n".join("\n".join(_explained(rows, identifier)) for identifier in identifiers) + "\n"


def search(artifacts: Path, text: str) -> str:
    """The questions that contain a text, whatever its case, twenty at most, each with its fate in a line.

    Raises:
        LimoError: no question contains it; `pull` has not run; a table cannot be read.
    """
    require_pulled(artifacts)
    found = [row for name in ("kept", "rejected") for row in _containing(artifacts / "pull" / f"{name}.parquet", text)]
    by_id = {row["question_id"]: row for row in reversed(found)}
    if not by_id or not text.strip():
        raise LimoError(f"no question in {artifacts / 'pull'} contains {text!r}; it is looked for as it stands")
    shown = list(reversed(by_id.values()))[:MOST_FOUND]
    rows = Rows(artifacts, [row["question_id"] for row in shown])
    lines = table((_found(rows, row, text) for row in shown), width=100)
    more = ["", f"The first {MOST_FOUND}; give more of the text to see others."] if len(by_id) > MOST_FOUND else []
    return "\n".join([*lines, *more]) + "\n"


def _explained(rows: Rows, identifier: str) -> list[str]:
    question = question_row(rows, identifier)
    steps = question_fate(rows, identifier)
    fate = table((step._asdict() for step in steps), width=400)
    sections = [
        duplicates(rows, question),
        overlaps(rows, question),
        attempts(rows, question, "screen"),
        attempts(rows, question, "band"),
        chains(rows, question),
        leaks(rows, question),
    ]
    # A source's answer may hold what a terminal would obey.
    told = [printable(line) for section in sections if section for line in ["", *section]]
    return [*_head(rows, question), "", *fate, *told]


def _head(rows: Rows, question: dict[str, Any]) -> list[str]:
    identifier = question["question_id"]
    judged = (rows.of("clean", name, identifier) for name in ("kept", "rejected"))
    cleaned = next((row for table in judged for row in table.iter_rows(named=True)), {})
    source = read_json(rows.artifacts / "pull" / MANIFEST)["facts"].get("sources", {}).get(question["source"], {})
    shown = {
        "question": f"{identifier} · {question['source']} · {question['origin']}",
        "license": source.get("license"),
        "citation": source.get("citation"),
        "language": cleaned.get("language"),
        "domain": question["domain"],
        "level": question["level"],
        "answer": question["answer"],
    }
    return [*fields(shown, width=2_000), "text", *block(question["question"])]


def _containing(path: Path, text: str) -> list[dict[str, Any]]:
    """One row more than is shown, so that it is known whether there are others."""
    if not path.exists():
        return []
    holds = pl.col("question").str.contains("(?i)" + pl.escape_regex(text))
    wanted = pl.scan_parquet(path).select("question_id", "source", "question").filter(holds)
    return fetch(path, wanted.head(MOST_FOUND + 1)).to_dicts()


def _found(rows: Rows, row: dict[str, Any], text: str) -> dict[str, str]:
    return {
        "question": row["question_id"],
        "source": row["source"],
        "fate": _in_a_line(question_fate(rows, row["question_id"])),
        "text": clean(_around(row["question"], text), 100),
    }


def _around(question: str, text: str) -> str:
    """The text found, with a little of the question on both sides."""
    start = max(0, question.lower().find(text.lower()) - AROUND)
    end = start + len(text) + 2 * AROUND
    return ("…" if start else "") + question[start:end] + ("…" if end < len(question) else "")


def _in_a_line(steps: Sequence[Step]) -> str:
    """Where the question came to: the stage that dropped it and why, or the last that kept it."""
    done = [step for step in steps if step.outcome != NOT_RUN]
    last = done[-1]
    if last.outcome == KEPT:
        return "trained on" if last.stage == "train" else f"kept by {last.stage}, the last that has run"
    reason = last.why.split("; ")[0].split(": ")[0]
    return f"{last.outcome} by {last.stage}: {reason}" if reason else f"{last.outcome} by {last.stage}"
