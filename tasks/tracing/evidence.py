"""The evidence behind a question's fate, in full: its duplicates, its benchmark hits, its attempts and chains."""

from typing import Any

import polars as pl

from tasks.tracing.compare import mark, word_diff
from tasks.tracing.reasons import parsed
from tasks.tracing.rows import Rows, where
from tasks.tracing.text import block, number, table

MOST = 40
"""Rows shown of a table."""
DUPLICATE = ("exact_duplicate", "near_duplicate", "answers_disagree")
NOTHING = pl.DataFrame()


def duplicates(rows: Rows, question: dict[str, Any]) -> list[str]:
    """The cluster of a question: the earlier one that it is like, what differs, both answers, the other members."""
    identifier = question["question_id"]
    own = rows.of("clean", "clusters", identifier)
    if own.is_empty():
        return _without_cluster(rows, question)
    row = own.row(0, named=True)
    path = rows.artifacts / "clean" / "clusters.parquet"
    members = where(path, "cluster_id", [row["cluster_id"]]).sort("similarity", "question_id", descending=[True, False])
    if row["representative"] == identifier:
        title = f"{members.height} questions say the same, of which this one is the first (cluster {row['cluster_id']})"
        return [title, *_members(members, identifier)]
    # In a chain of near duplicates the one that a question is like need not be the first of the cluster.
    earlier = _rejection(rows, identifier).get("question_id") or row["representative"]
    title = f"{row['form']} duplicate of {earlier}, similarity {row['similarity']:.3f} (cluster {row['cluster_id']})"
    pair = members.filter(pl.col("question_id").is_in([identifier, earlier]))
    lines = [title, *_beside(rows, question, earlier, agree=bool(pair["agrees"].all()))]
    others = members.filter(~pl.col("question_id").is_in([identifier, earlier]))
    return lines if others.is_empty() else [*lines, "  others in the cluster", *_members(others, identifier)]


def _rejection(rows: Rows, identifier: str) -> dict[str, Any]:
    """What `clean` rejected a question as a duplicate on; empty when it did not."""
    rejected = rows.of("clean", "rejected", identifier)
    if rejected.is_empty() or rejected["reason"][0] not in DUPLICATE:
        return {}
    return parsed(rejected["evidence"][0]) or {"question_id": rejected["evidence"][0]}


def _without_cluster(rows: Rows, question: dict[str, Any]) -> list[str]:
    """The same from the rejection alone, for artifacts without clusters.parquet."""
    known = _rejection(rows, question["question_id"])
    if not known.get("question_id"):
        return []
    similarity = f", similarity {known['similarity']}" if "similarity" in known else ""
    return [f"duplicate of {known['question_id']}{similarity}", *_beside(rows, question, known["question_id"])]


def _beside(rows: Rows, question: dict[str, Any], earlier: str, *, agree: bool = False) -> list[str]:
    """The earlier question, what differs, and both answers; `agree` when they are known to be equal as values."""
    found = where(rows.artifacts / "pull" / "kept.parquet", "question_id", [earlier])
    if found.is_empty():
        return ["  (that one is not in this pool; `dvc repro clean` brings its clusters up to date)"]
    other = found.row(0, named=True)
    same = "the same" if other["answer"] == question["answer"] else "the same, written otherwise"
    return [
        f"  the earlier one: {other['source']} · {other['origin']}",
        *block(other["question"]),
        "  what differs: [-there-] {+here+}",
        *block(word_diff(other["question"], question["question"])),
        f"  answers: {other['answer']} there, {question['answer']} here:"
        f" {same if agree or same == 'the same' else 'THEY DISAGREE'}",
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


def overlaps(rows: Rows, question: dict[str, Any]) -> list[str]:
    """Every benchmark item that any rule found in the question; rules that drop it first, in their order."""
    identifier = question["question_id"]
    hits = rows.of("decontaminate", "hits", identifier)
    if hits.is_empty():
        hits = _told_by_rejection(rows.of("decontaminate", "rejected", identifier))
    return _overlaps(rows, hits)


def leaks(rows: Rows, question: dict[str, Any]) -> list[str]:
    """Every benchmark item found in a training chain of the question."""
    return _overlaps(rows, rows.of("select", "leaks", question["question_id"]))


def _told_by_rejection(rejected: pl.DataFrame) -> pl.DataFrame:
    """The one hit that a rejection names, for artifacts without hits.parquet."""
    told = parsed(rejected["evidence"][0]) if not rejected.is_empty() else {}
    return pl.DataFrame([told | {"drops": True}]) if {"item_id", "rule"} <= told.keys() else NOTHING


def _overlaps(rows: Rows, hits: pl.DataFrame) -> list[str]:
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
    lines = [f"stands in benchmark {hit['benchmark']}" + (f", in chain {hit['chain_id']}" if "chain_id" in hit else "")]
    for (match,), found in hits.group_by("match", maintain_order=True):
        rules = ", ".join(_does(row) for row in found.iter_rows(named=True))
        lines += [f"  {rules}: in common, as it stands here", *block(match)]
    if item is None:
        return [
            *lines,
            f"  (no item {hit['item_id']} in this run's benchmarks; `dvc repro` brings its stage up to date)",
        ]
    text = mark(item["question"], hits["match"].to_list())
    return [*lines, f"  the item: {hit['item_id']} · gold {item['gold']} · {item['origin']}", *block(text)]


def _does(hit: dict[str, Any]) -> str:
    return f"rule {hit['rule']} {'drops' if hit['drops'] else 'only reports'} it (share {hit['share']:.3f})"


def attempts(rows: Rows, question: dict[str, Any], stage: str) -> list[str]:
    """What a model made of the question in `screen` or `band`."""
    tried = rows.of(stage, "attempts", question["question_id"])
    if tried.is_empty():
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
        for row in tried.sort("sample_index").head(MOST).iter_rows(named=True)
    ]
    title = f"{stage}: {number(tried.height, 'response')} of {', '.join(tried['model_id'].unique().sort())}"
    return _titled(title, shown, tried, "responses")


def chains(rows: Rows, question: dict[str, Any]) -> list[str]:
    """The teachers' right chains with what became of them, and their wrong responses."""
    identifier = question["question_id"]
    wrong = _wrong(rows.of("reason", "rejected", identifier))
    right = rows.of("score", "chains", identifier)
    right = rows.of("reason", "kept", identifier) if right.is_empty() else right
    if right.is_empty():
        return wrong
    outcomes = _chosen(rows, identifier)
    shown = [
        {
            "chain": row["chain_id"],
            "teacher": row["teacher"],
            "tokens": row["n_tokens"],
            "quality": f"{row['quality']:.3f}" if "quality" in row else "",
            "became": outcomes.get(row["chain_id"], ""),
        }
        for row in right.sort("chain_id").head(MOST).iter_rows(named=True)
    ]
    lines = (
        ["reason: right chains", *(f"  {line}" for line in table(shown, width=80)), *_rest(right, "chains")]
        if shown
        else []
    )
    return lines + _wrong(rows.of("reason", "rejected", identifier))


def _chosen(rows: Rows, identifier: str) -> dict[str, str]:
    """What `select` did with each chain."""
    kept, rejected = rows.of("select", "kept", identifier), rows.of("select", "rejected", identifier)
    places = {row["chain_id"]: f"rank {row['rank']}" for row in kept.iter_rows(named=True)}
    return places | {row["chain_id"]: row["reason"] for row in rejected.iter_rows(named=True)}


def _wrong(rejected: pl.DataFrame) -> list[str]:
    if rejected.is_empty():
        return []
    names = {"response": "response_id", "model": "model_id", "reason": "reason", "extracted": "extracted"}
    shown = [
        {title: row[name] for title, name in names.items()} | {"tokens": row["n_tokens"]}
        for row in rejected.head(MOST).iter_rows(named=True)
    ]
    return [
        "reason: rejected responses",
        *(f"  {line}" for line in table(shown, width=80)),
        *_rest(rejected, "responses"),
    ]


def _titled(title: str, shown: list[dict[str, Any]], whole: pl.DataFrame, what: str) -> list[str]:
    return [title, *(f"  {line}" for line in table(shown, width=80)), *_rest(whole, what)]


def _rest(whole: pl.DataFrame, what: str) -> list[str]:
    left = whole.height - MOST
    return [f"    ... and {left:,} more {what}"] if left > 0 else []
