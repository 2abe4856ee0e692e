"""Keep the questions that can be asked and graded, each once.

Reads QUESTION (from `pull`); writes kept.parquet and rejected.parquet (QUESTION) and manifest.json. A question must be
of sensible length, have a short final answer, ask one thing, and need no image. Of equal questions, and of nearly equal
ones with the same numbers and the same answer, the first is kept.
"""

import json
from pathlib import Path
from typing import NamedTuple

import polars as pl
from pydantic import Field, PositiveInt

from tasks.files import publish, read_table
from tasks.manifest import write_filter
from tasks.params import Params
from tasks.pool.near import near_duplicates
from tasks.pool.text import canonical, numbers, plain
from tasks.records.question import QUESTION
from tasks.stage import stage_main

NO_ANSWER = (
    r"(?i)^(?:proof|see (?:the )?(?:solution|proof|above)|not ?found|none|n/?a|unknown|null|证明(?:略|见解析)?|略)\.?$"
)
PROOF = r"(?i)\b(?:prove|show) that\b|证明|求证"
ASKS = r"(?i)\b(?:find|determine|compute|calculate|evaluate|what|which|how)\b|求[^证]|多少|几|[(（]\s*[)）]|_{2,}"
ASK = r"\s*(?:find|determine|compute|calculate|evaluate|what|which|how|is|are|does|show|prove|express|write|求|证明)"
PARTS = rf"(?is)[(（]\s*(?:a|i|1|Ⅰ)\s*[)）]{ASK}.+[(（]\s*(?:b|ii|2|Ⅱ)\s*[)）]{ASK}"
"""Parts that ask: conditions are also numbered, and are no parts."""


class CleanParams(Params):
    """What makes a question usable. The paper states none of these numbers."""

    min_question_chars: PositiveInt = 10
    max_question_chars: PositiveInt = 8000
    max_answer_chars: PositiveInt = 200
    """A longer answer is a text, which no rule can grade."""
    image_marks: tuple[str, ...] = ("[asy]", "\\includegraphics", "<img", "![")
    """A question that contains one of them, whatever its case, needs an image; an empty list lets all pass."""
    reject_proofs: bool = True
    """Reject what only asks for a proof."""
    reject_parts: bool = True
    """Reject questions in parts, (a) and (b) or (1) and (2): one answer cannot grade them."""
    near_threshold: float = Field(default=0.8, gt=0, le=1)
    """Smallest share of common shingles (Jaccard index) of near duplicates; 1 finds reordered repetitions only."""
    shingle: PositiveInt = 3
    """Tokens a shingle."""


class Rule(NamedTuple):
    """A reason to reject: when it holds, and what shows it."""

    reason: str
    holds: pl.Expr
    evidence: pl.Expr


def decide(questions: pl.DataFrame, params: CleanParams) -> pl.DataFrame:
    """All questions, with `reason` and `evidence` where one is rejected."""
    judged = _judge(questions, rules(params))
    usable = judged.filter(pl.col("reason").is_null()).select("question_id", "question", "answer")
    usable = usable.with_columns(plain(pl.col("question")).alias("plain"))
    usable = usable.with_columns(canonical(pl.col("plain")).alias("form"), numbers(pl.col("plain")).alias("numbers"))
    exact = exact_repeats(usable)
    near = near_repeats(usable.join(exact, on="question_id", how="anti", maintain_order="left"), params)
    judged = judged.join(
        pl.concat([exact, near]), on="question_id", how="left", maintain_order="left", suffix="_repeat"
    )
    return judged.select(
        *QUESTION.names(), pl.coalesce("reason", "reason_repeat"), pl.coalesce("evidence", "evidence_repeat")
    )


def rules(params: CleanParams) -> list[Rule]:
    """What a question is checked for by itself, in this order; the first that holds is its reason."""
    question, answer = pl.col("question"), pl.col("answer")
    length, marks = question.str.len_chars(), [mark.lower() for mark in params.image_marks]
    proof = question.str.contains(PROOF) & ~question.str.contains(ASKS) & params.reject_proofs
    checks = [
        Rule("question_too_short", length < params.min_question_chars, length.cast(pl.String)),
        Rule("question_too_long", length > params.max_question_chars, length.cast(pl.String)),
        Rule("no_verifiable_answer", answer.is_null() | answer.str.contains(NO_ANSWER), answer),
        Rule("no_verifiable_answer", answer.str.len_chars() > params.max_answer_chars, answer.str.head(200)),
        Rule("no_verifiable_answer", proof, question.str.extract(f"({PROOF})")),
        Rule(
            "several_parts",
            question.str.contains(PARTS) & params.reject_parts,
            question.str.extract(f"({PARTS})").str.tail(60),
        ),
    ]
    if marks:
        low = question.str.to_lowercase()
        shown = pl.coalesce([pl.when(low.str.contains(mark, literal=True)).then(pl.lit(mark)) for mark in marks])
        checks.append(Rule("needs_image", shown.is_not_null(), shown))
    return checks


def exact_repeats(usable: pl.DataFrame) -> pl.DataFrame:
    """The questions whose canonical form stood before, with the first of it as evidence."""
    marked = usable.with_columns(pl.col("question_id").first().over("form").alias("first"))
    repeats = marked.filter(pl.col("question_id") != pl.col("first"))
    return repeats.select("question_id", pl.lit("exact_duplicate").alias("reason"), pl.col("first").alias("evidence"))


def near_repeats(distinct: pl.DataFrame, params: CleanParams) -> pl.DataFrame:
    """The questions that are nearly an earlier one, have its numbers in its order, and its answer."""
    block = pl.struct("numbers", "answer")
    # Nothing outside a block of two can be a near duplicate, which leaves little to compare. Without any number
    # there is too little to tell a reworded question from another one ("arrange the letters of the word PROOF").
    several = distinct.filter(pl.col("numbers") != "", block.is_duplicated()).with_columns(
        block.rank("dense").alias("block")
    )
    ids = several["question_id"].to_list()
    found = near_duplicates(
        several["form"].to_list(), several["block"].to_list(), params.shingle, params.near_threshold
    )
    rows = [
        {
            "question_id": ids[near.later],
            "reason": "near_duplicate",
            "evidence": json.dumps({"question_id": ids[near.kept], "similarity": round(near.similarity, 3)}),
        }
        for near in found
    ]
    return pl.DataFrame(rows, schema={"question_id": pl.String, "reason": pl.String, "evidence": pl.String})


def _judge(questions: pl.DataFrame, checks: list[Rule]) -> pl.DataFrame:
    return questions.with_columns(
        pl.coalesce([pl.when(check.holds).then(pl.lit(check.reason)) for check in checks]).alias("reason"),
        pl.coalesce([pl.when(check.holds).then(check.evidence.fill_null("")) for check in checks]).alias("evidence"),
    )


def run(clean: CleanParams, *, questions: Path, out: Path) -> None:
    """Judge every question."""
    decided = decide(read_table(questions, QUESTION), clean)
    with publish(out) as folder:
        write_filter(folder, "clean", decided, {"sources": per_source(decided)})


def per_source(decided: pl.DataFrame) -> dict[str, dict[str, int]]:
    """How many of each source are kept, and rejected for each reason."""
    counts = decided.group_by("source", pl.col("reason").fill_null("kept"), maintain_order=True).len()
    facts: dict[str, dict[str, int]] = {}
    for source, reason, count in counts.iter_rows():
        facts.setdefault(source, {})[reason] = count
    return facts


if __name__ == "__main__":
    stage_main(run)
