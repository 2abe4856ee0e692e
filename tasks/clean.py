"""Keep the questions that can be asked and graded, each once.

Reads QUESTION (from `pull`); writes kept.parquet and rejected.parquet (CLEANED), clusters.parquet (CLUSTER) and
a manifest. A question must be of sensible length and language, have a short final answer, ask one thing, and need no
image. Of equal questions, and of nearly equal ones with the same numbers and the same answer, the first is kept; where
only the answers differ, both stay and are flagged, unless params say otherwise.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import Field, PositiveInt

from tasks.core.files import publish
from tasks.core.filter import FilterWriter, Rule, reject
from tasks.core.params import Params
from tasks.core.shards import Job, ShardsParams, exclusive, run_shards, shards_digest
from tasks.core.stage import Stage, stage_main
from tasks.core.tables import Group, TableWriter, read_group, row_groups
from tasks.records.question import CLEANED, CLUSTER, QUESTION, cluster_id
from tasks.text.duplicates import Duplicates, Keys, NearParams, Spill, duplicate_keys, find_duplicates, without_heading
from tasks.text.language import languages

NO_ANSWER = (
    r"(?i)^(?:proof|see (?:the )?(?:solution|proof|above)|not ?found|none|n/?a|unknown|null|证明(?:略|见解析)?|略)\.?$"
)
PROOF = r"(?i)\b(?:prove|show) that\b|证明|求证"
ASKS = r"(?i)\b(?:find|determine|compute|calculate|evaluate|what|which|how)\b|求[^证]|多少|几|[(（]\s*[)）]|_{2,}"
ASK = r"\s*(?:find|determine|compute|calculate|evaluate|what|which|how|is|are|does|show|prove|express|write|求|证明)"
PARTS = rf"(?is)[(（]\s*(?:a|i|1|Ⅰ)\s*[)）]{ASK}.+[(（]\s*(?:b|ii|2|Ⅱ)\s*[)）]{ASK}"
"""Parts that ask: conditions are also numbered, and are no parts."""
CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u{fffd}]"
"""A form feed is what is left of `\\frac` when `\\f` was read as an escape, a backspace of `\\boxed`; U+FFFD stands for
bytes that were no text. Nothing of the question can be trusted then."""
JUDGED = pl.Schema(
    {**CLEANED, "reason": pl.String(), "evidence": pl.String()}
    | {"text_hash": pl.UInt64(), "numbers_hash": pl.UInt64(), "answer_hash": pl.UInt64()}
)


KEYS = ("text_hash", "numbers_hash", "answer_hash")


STAGE = Stage(
    "clean",
    "questions",
    {
        "question_too_short": "too few characters to be a question",
        "question_too_long": "more characters than a question may have",
        "control_characters": "holds control characters, so that its text cannot be trusted",
        "no_verifiable_answer": "no final answer that a rule could check",
        "answer_too_long": "its answer is a text, which no rule can check",
        "asks_for_proof": "asks for a proof, which no rule can check",
        "several_parts": "asks for several things, which one answer cannot grade",
        "needs_image": "needs an image",
        "other_language": "not in a language that params keep",
        "exact_duplicate": "an exact duplicate of an earlier question, but for typesetting",
        "near_duplicate": "a near duplicate of an earlier question",
        "answers_disagree": "a near duplicate of other questions, and their answers disagree",
    },
)


class CleanParams(Params):
    """What makes a question usable. The paper states none of these numbers."""

    min_question_chars: PositiveInt = 10
    max_question_chars: PositiveInt = 8000
    max_answer_chars: PositiveInt = 200
    """A longer answer is a text, which no rule can grade."""
    image_marks: tuple[str, ...] = ("[asy]", "\\includegraphics", "<img", "![", "figure below", "diagram below", "如图")
    """A question that contains one of them, whatever its case, needs an image; an empty list lets all pass."""
    reject_proofs: bool = True
    """Reject what only asks for a proof."""
    reject_parts: bool = True
    """Reject questions in parts, (a) and (b) or (1) and (2): one answer cannot grade them."""
    languages: tuple[str, ...] = ()
    """ISO 639-1 codes of the languages to keep, such as `en` and `zh` (`und`: too few words to tell); empty: all."""
    near_threshold: float = Field(default=0.8, gt=0, le=1)
    """Smallest share of common shingles (Jaccard index) of near duplicates; 1 finds reordered repetitions only."""
    shingle: PositiveInt = 3
    """Tokens a shingle."""
    drop_disagreeing: bool = False
    """Reject every question of a cluster whose answers disagree, since one of them is wrong or the questions differ in
    a word that counts; otherwise they are flagged in clusters.parquet."""


def rules(params: CleanParams) -> list[Rule]:
    """What a question is checked for by itself, in this order; the first that holds is its reason."""
    question, answer = pl.col("question"), pl.col("answer")
    length = question.str.len_chars()
    proof = question.str.contains(PROOF) & ~question.str.contains(ASKS) & params.reject_proofs
    parts = question.str.contains(PARTS) & params.reject_parts
    foreign = ~pl.col("language").is_in(list(params.languages)) if params.languages else pl.lit(False)
    control = question.str.extract(f"(?s)(.{{0,20}}{CONTROL}.{{0,20}})").map_elements(_visible, pl.String)
    return [
        Rule("question_too_short", length < params.min_question_chars, length.cast(pl.String)),
        Rule("question_too_long", length > params.max_question_chars, length.cast(pl.String)),
        Rule("control_characters", question.str.contains(CONTROL), control),
        Rule("no_verifiable_answer", answer.is_null() | answer.str.contains(NO_ANSWER), answer),
        Rule("answer_too_long", answer.str.len_chars() > params.max_answer_chars, answer.str.head(200)),
        Rule("asks_for_proof", proof, question.str.extract(f"({PROOF})")),
        Rule("several_parts", parts, question.str.extract(f"({PARTS})").str.tail(60)),
        *_image_rule(question, params.image_marks),
        Rule("other_language", foreign, pl.col("language")),
    ]


def _image_rule(text: pl.Expr, marks: Sequence[str]) -> list[Rule]:
    """A rule for texts that contain one of `marks`, whatever its case; none when there are no marks."""
    if not marks:
        return []
    low = text.str.to_lowercase()
    shown = pl.coalesce([pl.when(low.str.contains(mark.lower(), literal=True)).then(pl.lit(mark)) for mark in marks])
    return [Rule("needs_image", shown.is_not_null(), shown)]


def _visible(text: str) -> str:
    """Control characters as Python writes them."""
    return repr(text)[1:-1]


def look(questions: pl.DataFrame, params: CleanParams) -> pl.DataFrame:
    """Questions (QUESTION) judged one by one, with the hashes that duplicates are found by (JUDGED)."""
    judged = reject(questions.with_columns(languages(questions["question"])), rules(params))
    own = duplicate_keys(without_heading(judged["question"]))
    answers = duplicate_keys(judged["answer"])["text_hash"].alias("answer_hash")
    return judged.hstack([*own, answers]).select(JUDGED.names())


def look_at_group(group: Group, params: CleanParams) -> dict[str, pl.DataFrame]:
    """The rows of one row group (JUDGED)."""
    return {"rows": look(read_group(group), params)}


def decide(questions: pl.DataFrame, params: CleanParams) -> pl.DataFrame:
    """All questions, with their language, and `reason` and `evidence` where one is rejected; held in memory."""
    judged = look(questions, params)
    keys = _keys(judged)
    found = find_duplicates(keys, [judged["question"]], NearParams(params.shingle, params.near_threshold), None)
    return settle(judged, found, 0, judged.select(_number()).to_series().to_numpy(), params)


def _keys(judged: pl.DataFrame) -> Keys:
    columns = (judged["reason"].is_null(), *(judged[name] for name in KEYS))
    return Keys(*(column.to_numpy() for column in columns))


def _number() -> pl.Expr:
    """A question's id as a number: a tenth of the memory."""
    return pl.col("question_id").str.slice(2).str.to_integer(base=16, dtype=pl.UInt64).alias("id")


def settle(judged: pl.DataFrame, found: Duplicates, start: int, ids: np.ndarray, params: CleanParams) -> pl.DataFrame:
    """Rows (JUDGED) with the reason and evidence of duplicates filled in.

    Args:
        found: of the whole pool.
        start: the position in the pool of the first of these rows.
        ids: of the whole pool, as numbers.
    """
    rows = slice(start, start + judged.height)
    earlier, disputed = found.earlier[rows], found.disputed[rows] & params.drop_disagreeing
    dropped = (earlier >= 0) & (found.exact[rows] | found.agrees[rows])
    kept_id = pl.Series([_id(ids[at]) if at >= 0 else None for at in earlier.tolist()], dtype=pl.String)
    root = [cluster_id(_id(ids[at])) for at in found.root[rows].tolist()]
    like = pl.struct(
        question_id=kept_id, similarity=pl.Series(found.similarity[rows].round(3)), cluster_id=pl.Series(root)
    ).struct.json_encode()
    alone = pl.struct(cluster_id=pl.Series(root)).struct.json_encode()
    shown = pl.when(kept_id.is_not_null()).then(like).otherwise(alone)
    kind = pl.when(pl.Series(found.exact[rows])).then(pl.lit("exact_duplicate")).otherwise(pl.lit("near_duplicate"))
    return judged.with_columns(
        reason=pl.when(pl.Series(dropped))
        .then(kind)
        .when(pl.Series(disputed))
        .then(pl.lit("answers_disagree"))
        .otherwise("reason"),
        evidence=pl.when(pl.Series(dropped | disputed)).then(shown).otherwise("evidence"),
    ).select(*CLEANED.names(), "reason", "evidence")


def cluster_rows(judged: pl.DataFrame, found: Duplicates, start: int, ids: np.ndarray) -> pl.DataFrame:
    """The rows that are in a cluster, as CLUSTER."""
    rows = np.flatnonzero(found.clustered[start : start + judged.height])
    at, earlier = rows + start, found.earlier[rows + start]
    form = np.where(earlier < 0, "representative", np.where(found.exact[at], "exact", "near"))
    return pl.DataFrame(
        {
            "cluster_id": [cluster_id(_id(ids[root])) for root in found.root[at].tolist()],
            "question_id": judged["question_id"].gather(rows),
            "representative": [_id(ids[root]) for root in found.root[at].tolist()],
            "form": form.tolist(),
            "similarity": np.where(earlier < 0, 1.0, found.similarity[at]),
            "answer": judged["answer"].gather(rows),
            "agrees": (found.agrees_with_root[at]).tolist(),
        },
        schema=CLUSTER,
    )


def _id(number: int) -> str:
    return f"q_{number:016x}"


def run(clean: CleanParams, shards: ShardsParams, *, questions: Path, out: Path) -> None:
    """Judge every question, shard by shard; then compare them all."""
    with exclusive(out):
        digest = shards_digest(__file__, params=clean)
        groups = row_groups(questions, QUESTION)
        done = run_shards(Job("clean", out / ".shards", look_at_group, clean, digest), groups, shards)
        files = [shard / "rows.parquet" for shard in done]
        found, ids = compare(files, clean, shards, out / ".near", digest)
        with publish(out) as folder:
            writer = FilterWriter(folder, STAGE, CLEANED, questions)
            clusters, start = TableWriter(folder / "clusters.parquet", CLUSTER), 0
            for file in files:
                judged = pl.read_parquet(file)
                writer.add(settle(judged, found, start, ids, clean))
                clusters.add(cluster_rows(judged, found, start, ids))
                start += judged.height
            clusters.close()
            writer.close(_facts(found, clusters))


def compare(
    files: list[Path], params: CleanParams, shards: ShardsParams, folder: Path, digest: str
) -> tuple[Duplicates, np.ndarray]:
    """The duplicates of the whole pool, and its ids as numbers."""
    numbers, parts = [], []
    for file in files:
        judged = pl.read_parquet(file, columns=["question_id", "reason", *KEYS])
        numbers.append(judged.select(_number()).to_series().to_numpy())
        parts.append(_keys(judged))
    ids, keys = np.concatenate(numbers), Keys(*map(np.concatenate, zip(*parts, strict=True)))
    texts = (pl.read_parquet(file, columns=["question"])["question"] for file in files)
    near = NearParams(params.shingle, params.near_threshold)
    return find_duplicates(keys, texts, near, Spill(folder, digest, shards)), ids


def _facts(found: Duplicates, clusters: TableWriter) -> dict[str, int]:
    return {
        "clusters": int(found.clustered[found.earlier < 0].sum()),
        "clustered": clusters.height,
        "disagreeing_clusters": len(np.unique(found.root[found.disputed])),
    }


if __name__ == "__main__":
    stage_main(run)
