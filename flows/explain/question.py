"""`limo why`: a question in full, what every stage did with it, and the evidence for that.

Works as soon as `pull` has run, needs no lineage, and reads of each table only the rows about the questions given.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from flows.dag import on_the_way
from flows.explain.text import block, fields, mark, number, table, word_diff
from tasks.core.errors import LimoError
from tasks.core.stage import SOURCE, Manifest, has_run, pool_path, read_manifest
from tasks.core.tables import fetch, where
from tasks.reporting.text import printable, shorten

KEPT, REJECTED, NOT_RUN, UNSEEN = "kept", "rejected", "not run", "not seen"
MOST = 40
"""Rows shown of a table."""
MOST_FOUND = 20
"""Questions shown by a search."""
AROUND = 40
"""Characters shown on both sides of a text that was searched."""


class Rows:
    """The rows of a run's tables about a few questions, each table read at most once and never held as a whole.

    A pool may have ten million rows: a table is scanned for the ids, and only their rows are brought into memory.
    """

    def __init__(self, artifacts: Path, question_ids: Sequence[str]) -> None:
        """Nothing is read yet; `question_ids` are all that `of` may be called with."""
        self.artifacts = artifacts
        self._ids = list(question_ids)
        self._tables: dict[Path, pl.DataFrame] = {}

    def of(self, stage: str, name: str, question_id: str) -> pl.DataFrame:
        """The rows of `stage/name.parquet` about one question; no row and no column where there is no such table.

        Raises:
            LimoError: the table is torn or has no column `question_id`.
        """
        path = self.artifacts / stage / f"{name}.parquet"
        if path not in self._tables:
            self._tables[path] = where(path, "question_id", self._ids)
        found = self._tables[path]
        return found if found.is_empty() else found.filter(pl.col("question_id") == question_id)


class Step(NamedTuple):
    """What one stage did with the question."""

    stage: str
    outcome: str
    """`kept`, `rejected`, `not run` (the stage has not run yet), or `not seen` (it ran on other questions)."""
    why: str


def explain(artifacts: Path, prefixes: Sequence[str]) -> str:
    """The questions whose ids begin with `prefixes`, as text for a terminal.

    Raises:
        LimoError: no question's id begins so, or several do; `pull` has not run; a table cannot be read.
    """
    identifiers = list(dict.fromkeys(find_question(artifacts, prefix) for prefix in prefixes))
    rows = Rows(artifacts, identifiers)
    return "\n\n\n".join("\n".join(_explain(rows, identifier)) for identifier in identifiers) + "\n"


def search(artifacts: Path, text: str) -> str:
    """The questions that contain a text, whatever its case, twenty at most, each with its history in a line.

    Raises:
        LimoError: no question contains it; `pull` has not run; a table cannot be read.
    """
    pull = _pulled(artifacts)
    found = [row for name in ("kept", "rejected") for row in _containing(pull / f"{name}.parquet", text)]
    by_id = {row["question_id"]: row for row in reversed(found)}
    if not by_id or not text.strip():
        raise LimoError(f"no question in {pull} contains {text!r}; the text is searched literally")
    shown = list(reversed(by_id.values()))[:MOST_FOUND]
    rows = Rows(artifacts, [row["question_id"] for row in shown])
    lines = table(
        (
            {
                "question": row["question_id"],
                "source": row["source"],
                "history": _in_a_line(question_history(rows, row["question_id"])),
                "text": shorten(_around(row["question"], text), 100),
            }
            for row in shown
        ),
        width=100,
    )
    more = ["", f"The first {MOST_FOUND}; give more of the text to see others."] if len(by_id) > MOST_FOUND else []
    return "\n".join([*lines, *more]) + "\n"


def find_question(artifacts: Path, prefix: str) -> str:
    """The one question id in `pull` that begins with `prefix`.

    Raises:
        LimoError: no id begins so, or several do; `pull` has not run.
    """
    pull = _pulled(artifacts)
    found = _ids_with(pull / "kept.parquet", prefix) | _ids_with(pull / "rejected.parquet", prefix)
    if prefix in found:
        return prefix
    if len(found) > 1:
        shown = ", ".join(sorted(found))
        raise LimoError(f"{prefix!r}: several questions have an id that begins so, such as {shown}; give more of it")
    if not found:
        other = "" if prefix.startswith("q_") else "; `limo trace` explains chains, scores and other records"
        raise LimoError(f"{prefix!r}: no question in {pull} has an id that begins so{other}")
    return found.pop()


def question_row(rows: Rows, question_id: str) -> dict[str, Any]:
    """The question as `pull` wrote it, kept or rejected.

    Raises:
        LimoError: `pull` never saw it.
    """
    for name in ("kept", "rejected"):
        found = rows.of(SOURCE, name, question_id)
        if not found.is_empty():
            return found.row(0, named=True)
    raise LimoError(f"{question_id}: not in {rows.artifacts / SOURCE}; ids of another run have gone with its artifacts")


def title(question: Mapping[str, Any]) -> str:
    """A question's id, and where it is from."""
    return f"{question['question_id']} · {question['source']} · {question['origin']}"


def history_table(rows: Rows, question_id: str, width: int) -> list[str]:
    """The history of a question as lines, `width` characters at most for what a stage says."""
    return table((step._asdict() for step in question_history(rows, question_id)), width=width)


def question_history(rows: Rows, question_id: str) -> list[Step]:
    """The stages in order, up to the one that rejected the question; those that have not run are there as such."""
    steps: list[Step] = []
    path = pool_path(rows.artifacts)
    for manifest in path:
        steps.append(STEPS.get(manifest.unit, _filter_step)(rows, manifest, question_id))
        if steps[-1].outcome != KEPT:
            return steps
    ran = {manifest.stage for manifest in path}
    return steps + [Step(stage, NOT_RUN, "") for stage in on_the_way() if stage not in ran]


def in_words(reason: str, words: Mapping[str, str]) -> str:
    """A reason with what it means: `near_duplicate: a near duplicate of an earlier question`."""
    return f"{reason}: {words[reason]}" if reason in words else reason


def parse_evidence(evidence: str | None) -> dict[str, Any]:
    """Evidence that is a JSON object, as such; empty for any other."""
    if not evidence or not evidence.startswith("{"):
        return {}
    try:
        value: dict[str, Any] = json.loads(evidence)
    except json.JSONDecodeError:
        return {}
    return value


def in_short(evidence: str | None) -> str:
    """Evidence as one line: the entries of a JSON object one after the other, without the matched text."""
    entries = parse_evidence(evidence)
    if not entries:
        return evidence or ""
    # An id or the name of a benchmark speaks for itself.
    return ", ".join(
        str(value) if name.endswith("_id") or name == "benchmark" else f"{name} {value}"
        for name, value in entries.items()
        if name != "match" and value is not None
    )


def _explain(rows: Rows, identifier: str) -> list[str]:
    question = question_row(rows, identifier)
    sections = [
        _duplicates(rows, question),
        _overlaps(rows, rows.of("decontaminate", "hits", identifier)),
        *(_attempts(rows, manifest.stage, identifier) for manifest in pool_path(rows.artifacts)),
        [*_right_chains(rows, identifier), *_wrong_responses(rows, identifier)],
        _overlaps(rows, rows.of("select", "leaks", identifier)),
    ]
    # A source's answer may hold what a terminal would obey.
    evidence = [printable(line) for section in sections if section for line in ["", *section]]
    return [*_head(rows, question), "", *history_table(rows, identifier, width=400), *evidence]


def _head(rows: Rows, question: dict[str, Any]) -> list[str]:
    cleaned = (rows.of("clean", name, question["question_id"]) for name in ("kept", "rejected"))
    language = next((row.get("language") for found in cleaned for row in found.iter_rows(named=True)), None)
    source = read_manifest(rows.artifacts, SOURCE).facts.get("sources", {}).get(question["source"], {})
    shown = {
        "question": title(question),
        "license": source.get("license"),
        "citation": source.get("citation"),
        "language": language,
        "domain": question["domain"],
        "level": question["level"],
        "answer": question["answer"],
    }
    return [*fields(shown, width=2_000), "text", *block(question["question"])]


# Questions by the beginning of an id, or by their text.


def _pulled(artifacts: Path) -> Path:
    """The folder of `pull`.

    Raises:
        LimoError: it has not run.
    """
    if not has_run(artifacts, SOURCE):
        raise LimoError(f"{artifacts / SOURCE}: nothing there yet; `dvc repro {SOURCE}` reads the sources")
    return artifacts / SOURCE


def _ids_with(path: Path, prefix: str) -> set[str]:
    """The first and the last id that begins with `prefix`: one when only one does, none when none does."""
    if not path.exists():
        return set()
    identifier = pl.col("question_id")
    found = pl.scan_parquet(path).filter(identifier.str.starts_with(prefix))
    ends = fetch(path, found.select(first=identifier.min(), last=identifier.max())).row(0)
    return {end for end in ends if end is not None}


def _containing(path: Path, text: str) -> list[dict[str, Any]]:
    """One row more than is shown, so that it is known whether there are others."""
    if not path.exists():
        return []
    holds = pl.col("question").str.contains("(?i)" + pl.escape_regex(text))
    found = pl.scan_parquet(path).select("question_id", "source", "question").filter(holds)
    return fetch(path, found.head(MOST_FOUND + 1)).to_dicts()


def _around(question: str, text: str) -> str:
    """The text found, with a little of the question on both sides."""
    start = max(0, question.lower().find(text.lower()) - AROUND)
    end = start + len(text) + 2 * AROUND
    return ("…" if start else "") + question[start:end] + ("…" if end < len(question) else "")


def _in_a_line(steps: Sequence[Step]) -> str:
    """Where a history ends: the stage that rejected the question and why, or the last that kept it."""
    last = [step for step in steps if step.outcome != NOT_RUN][-1]
    if last.outcome == KEPT:
        return "trained on" if last.stage == "train" else f"kept by {last.stage}, the last that has run"
    reason = last.why.split("; ")[0].split(": ")[0]
    return f"{last.outcome} by {last.stage}: {reason}" if reason else f"{last.outcome} by {last.stage}"


# What one stage did with a question, by what the stage counts.


def _filter_step(rows: Rows, manifest: Manifest, question_id: str) -> Step:
    """Questions: kept or rejected, perhaps by a model's attempts."""
    stage = manifest.stage
    attempts = rows.of(stage, "attempts", question_id)
    tried = ""
    if not attempts.is_empty():
        right = attempts.filter(pl.col("verdict") == "correct").height
        tried = f"{right} of {number(attempts.height, 'response')} right"
    rejected = rows.of(stage, "rejected", question_id)
    if not rows.of(stage, "kept", question_id).is_empty():
        # Only in `pull` can an id be kept and rejected: the source has the same text twice.
        repeated = f"{number(rejected.height, 'further row')} of the same text rejected" if rejected.height else ""
        notes = (tried, repeated, _disagreement(rows, stage, question_id))
        return Step(stage, KEPT, "; ".join(note for note in notes if note))
    if rejected.is_empty():
        return _unseen(stage)
    return Step(stage, REJECTED, "; ".join(part for part in (*_reason(rejected, manifest), tried) if part))


def _disagreement(rows: Rows, stage: str, question_id: str) -> str:
    """A near duplicate that was kept, and whose answer is not that of the question it resembles."""
    clusters = rows.of(stage, "clusters", question_id)
    if clusters.is_empty() or clusters["agrees"][0]:
        return ""
    return f"flagged: {clusters['representative'][0]} is a near duplicate with another answer"


def _response_step(rows: Rows, manifest: Manifest, question_id: str) -> Step:
    """Responses: those that are right are the question's chains."""
    stage = manifest.stage
    right, wrong = rows.of(stage, "kept", question_id).height, rows.of(stage, "rejected", question_id).height
    if not right + wrong:
        return _unseen(stage)
    return Step(stage, KEPT if right else REJECTED, f"{right} right chains of {right + wrong} responses")


def _chain_step(rows: Rows, manifest: Manifest, question_id: str) -> Step:
    """Chains: scored, or filtered and perhaps ranked."""
    stage = manifest.stage
    kept, scored = rows.of(stage, "kept", question_id), rows.of(stage, "chains", question_id)
    if not scored.is_empty():
        best = scored.sort(["quality", "chain_id"], descending=[True, False]).row(0, named=True)
        return Step(stage, KEPT, f"best {best['chain_id']} with quality {best['quality']:.3f}")
    if not kept.is_empty():
        first = kept.row(0, named=True)
        rank = f"rank {first['rank']}, " if "rank" in first else ""
        quality = f", quality {first['quality']:.3f}" if "quality" in first else ""
        return Step(stage, KEPT, f"{rank}{first['chain_id']}{quality}")
    rejected = rows.of(stage, "rejected", question_id)
    if rejected.is_empty():
        return _unseen(stage)
    # The reason of the best chain is the question's; that the others are not the best says nothing.
    last = rejected.sort(pl.col("reason") == "not_best_of_question", maintain_order=True)
    return Step(stage, REJECTED, "; ".join(_reason(last, manifest)))


def _sample_step(rows: Rows, manifest: Manifest, question_id: str) -> Step:
    """The training sample of the question."""
    left_out = rows.of(manifest.stage, "rejected", question_id)
    if not left_out.is_empty():
        return Step(manifest.stage, REJECTED, "; ".join(_reason(left_out, manifest)))
    sample = rows.of(manifest.takes or "", "kept", question_id)
    return Step(manifest.stage, KEPT, f"chain of {sample['teacher'][0]}")


STEPS = {"questions": _filter_step, "responses": _response_step, "chains": _chain_step, "samples": _sample_step}
"""By the unit of a stage: how its tables show what it did with a question."""


def _reason(rejected: pl.DataFrame, manifest: Manifest) -> tuple[str, str]:
    """Of the first rejected row: the reason in words, and the evidence in short."""
    row = rejected.row(0, named=True)
    return in_words(row["reason"], manifest.reasons), in_short(row["evidence"])


def _unseen(stage: str) -> Step:
    return Step(stage, UNSEEN, f"it ran on other questions; `dvc repro {stage}` brings it up to date")


# The evidence behind a history, in full: duplicates, benchmark items, attempts, chains. No lines where there is none.


def _duplicates(rows: Rows, question: dict[str, Any]) -> list[str]:
    """The cluster of a question: the earlier one that it is like, what differs, both answers, the other members."""
    identifier = question["question_id"]
    own = rows.of("clean", "clusters", identifier)
    if own.is_empty():
        return []
    row = own.row(0, named=True)
    path = rows.artifacts / "clean" / "clusters.parquet"
    members = where(path, "cluster_id", [row["cluster_id"]]).sort("similarity", "question_id", descending=[True, False])
    if row["representative"] == identifier:
        heading = f"{members.height} duplicates, of which this one is the first (cluster {row['cluster_id']})"
        return [heading, *_members(members, identifier)]
    # In a chain of near duplicates the one that a question is like need not be the first of the cluster.
    rejected = rows.of("clean", "rejected", identifier)
    evidence = None if rejected.is_empty() else rejected["evidence"][0]
    earlier = parse_evidence(evidence).get("question_id") or row["representative"]
    heading = f"{row['form']} duplicate of {earlier}, similarity {row['similarity']:.3f} (cluster {row['cluster_id']})"
    pair = members.filter(pl.col("question_id").is_in([identifier, earlier]))
    lines = [heading, *_against(rows, question, earlier, agree=bool(pair["agrees"].all()))]
    others = members.filter(~pl.col("question_id").is_in([identifier, earlier]))
    return lines if others.is_empty() else [*lines, "  others in the cluster", *_members(others, identifier)]


def _against(rows: Rows, question: dict[str, Any], earlier: str, *, agree: bool) -> list[str]:
    """The earlier question, what differs, and both answers; `agree` when they are known to be equal as values."""
    found = where(rows.artifacts / SOURCE / "kept.parquet", "question_id", [earlier])
    if found.is_empty():
        return ["  (that one is not in this pool; `dvc repro clean` brings its clusters up to date)"]
    other = found.row(0, named=True)
    verdict = "the same, written otherwise" if agree else "THEY DISAGREE"
    if other["answer"] == question["answer"]:
        verdict = "the same"
    return [
        f"  the earlier one: {other['source']} · {other['origin']}",
        *block(other["question"]),
        "  what differs: [-there-] {+here+}",
        *block(word_diff(other["question"], question["question"])),
        f"  answers: {other['answer']} there, {question['answer']} here: {verdict}",
    ]


def _members(members: pl.DataFrame, identifier: str) -> list[str]:
    shown = [
        {
            "question": row["question_id"] + (" (this one)" if row["question_id"] == identifier else ""),
            "form": row["form"],
            "similarity": f"{row['similarity']:.3f}",
            "answer": row["answer"],
            "": "" if row["agrees"] else "DISAGREES",
        }
        for row in members.head(MOST).iter_rows(named=True)
    ]
    return [f"    {line}" for line in table(shown, width=80)] + _rest(members, "members")


def _overlaps(rows: Rows, hits: pl.DataFrame) -> list[str]:
    """Every benchmark item that any rule found in the question or its chains; rules that drop it first, in order."""
    if hits.is_empty():
        return []
    items = where(rows.artifacts / "benchmarks" / "items.parquet", "item_id", hits["item_id"].unique().to_list())
    by_id = {item["item_id"]: item for item in items.iter_rows(named=True)}
    ordered = hits.sort("drops", descending=True, maintain_order=True).head(MOST)
    where_found = ["item_id", "chain_id"] if "chain_id" in hits.columns else ["item_id"]
    groups = (group for _, group in ordered.group_by(*where_found, maintain_order=True))
    return [line for group in groups for line in _overlap(group, by_id)] + _rest(hits, "hits")


def _overlap(hits: pl.DataFrame, items: dict[str, dict[str, Any]]) -> list[str]:
    """What all rules found of one item: the text in common, each once, and the item with all of it marked."""
    hit = hits.row(0, named=True)
    item = items.get(hit["item_id"])
    lines = [f"overlaps benchmark {hit['benchmark']}" + (f", in chain {hit['chain_id']}" if "chain_id" in hit else "")]
    for (match,), found in hits.group_by("match", maintain_order=True):
        rules = ", ".join(
            f"rule {row['rule']} {'drops' if row['drops'] else 'only reports'} it (share {row['share']:.3f})"
            for row in found.iter_rows(named=True)
        )
        lines += [f"  {rules}: in common, as written here", *block(match)]
    if item is None:
        missing = f"no item {hit['item_id']} in this run's benchmarks; `dvc repro` brings its stage up to date"
        return [*lines, f"  ({missing})"]
    text = mark(item["question"], hits["match"].to_list())
    return [*lines, f"  the item: {hit['item_id']} · gold {item['gold']} · {item['origin']}", *block(text)]


def _attempts(rows: Rows, stage: str, identifier: str) -> list[str]:
    """What a model answered to the question in a stage that filters by it."""
    attempts = rows.of(stage, "attempts", identifier)
    if attempts.is_empty():
        return []
    shown = [
        {
            "sample": row["sample_index"],
            "verdict": row["verdict"],
            "extracted": row["extracted"] or row["verdict_reason"],
            "tokens": row["n_tokens"],
            "ended": row["finish_reason"],
            "response": row["response_id"],
        }
        for row in attempts.sort("sample_index").head(MOST).iter_rows(named=True)
    ]
    models = ", ".join(attempts["model_id"].unique().sort())
    return _section(f"{stage}: {number(attempts.height, 'response')} of {models}", shown, attempts, "responses")


def _right_chains(rows: Rows, identifier: str) -> list[str]:
    """The teachers' right chains, and what `select` did with each."""
    scored = rows.of("score", "chains", identifier)
    chains = rows.of("reason", "kept", identifier) if scored.is_empty() else scored
    if chains.is_empty():
        return []
    kept, rejected = rows.of("select", "kept", identifier), rows.of("select", "rejected", identifier)
    outcomes = {row["chain_id"]: f"rank {row['rank']}" for row in kept.iter_rows(named=True)}
    outcomes |= {row["chain_id"]: row["reason"] for row in rejected.iter_rows(named=True)}
    shown = [
        {
            "chain": row["chain_id"],
            "teacher": row["teacher"],
            "tokens": row["n_tokens"],
            "quality": f"{row['quality']:.3f}" if "quality" in row else "",
            "became": outcomes.get(row["chain_id"], ""),
        }
        for row in chains.sort("chain_id").head(MOST).iter_rows(named=True)
    ]
    return _section("reason: right chains", shown, chains, "chains")


def _wrong_responses(rows: Rows, identifier: str) -> list[str]:
    rejected = rows.of("reason", "rejected", identifier)
    if rejected.is_empty():
        return []
    columns = {name: name.removesuffix("_id") for name in ("response_id", "model_id", "reason", "extracted")}
    columns |= {"n_tokens": "tokens"}
    shown = [{columns[name]: row[name] for name in columns} for row in rejected.head(MOST).iter_rows(named=True)]
    return _section("reason: rejected responses", shown, rejected, "responses")


def _section(heading: str, shown: list[dict[str, Any]], whole: pl.DataFrame, noun: str) -> list[str]:
    return [heading, *(f"  {line}" for line in table(shown, width=80)), *_rest(whole, noun)]


def _rest(whole: pl.DataFrame, noun: str) -> list[str]:
    left = whole.height - MOST
    return [f"    ... and {left:,} more {noun}"] if left > 0 else []
