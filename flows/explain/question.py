"""What `limo why` prints: a question in full, what every stage did with it, and the evidence for that.

Works as soon as `pull` has run, needs no lineage, and reads of each table only the rows about the questions asked for.
"""

import json
import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from flows.dag import on_the_way
from tasks.core.errors import LimoError
from tasks.core.stage import Manifest, pool_path, read_manifest
from tasks.reporting.sources import Rows, fetch, where
from tasks.reporting.text import block, clean, fields, number, printable, table

# The reasons of the filters in words, and their evidence in short.


def in_words(reason: str, words: Mapping[str, str]) -> str:
    """A reason with what it means: `near_duplicate: a near duplicate of an earlier question`."""
    return f"{reason}: {words[reason]}" if reason in words else reason


def parsed(evidence: str | None) -> dict[str, Any]:
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
    entries = parsed(evidence)
    if not entries:
        return evidence or ""
    shown = [(name, value) for name, value in entries.items() if name != "match" and value is not None]
    return ", ".join(_entry(name, value) for name, value in shown)


def _entry(name: str, value: object) -> str:
    """An id or the name of a benchmark speaks for itself."""
    return str(value) if name.endswith("_id") or name == "benchmark" else f"{name} {value}"


# What happened to one question at every stage: kept, or rejected with the reason and the evidence.

KEPT, REJECTED, NOT_RUN, UNSEEN = "kept", "rejected", "not run", "not seen"


class Step(NamedTuple):
    """What one stage did with the question."""

    stage: str
    outcome: str
    """`kept`, `rejected`, `not run` (the stage has not run yet), or `not seen` (it ran on other questions)."""
    why: str


def question_row(rows: Rows, question_id: str) -> dict[str, Any]:
    """The question as `pull` wrote it, kept or rejected.

    Raises:
        LimoError: `pull` never saw it.
    """
    for name in ("kept", "rejected"):
        found = rows.of("pull", name, question_id)
        if not found.is_empty():
            return found.row(0, named=True)
    pull = rows.artifacts / "pull"
    raise LimoError(f"{question_id}: not in {pull}; ids of another run have gone with its artifacts")


def require_pulled(artifacts: Path) -> Path:
    """The folder of `pull`.

    Raises:
        LimoError: it has not run.
    """
    if not Rows(artifacts, []).has_run("pull"):
        raise LimoError(f"{artifacts / 'pull'}: nothing there yet; `dvc repro pull` reads the sources")
    return artifacts / "pull"


def resolve(rows: Rows, prefix: str) -> str:
    """The one question id in `pull` that begins with `prefix`.

    Raises:
        LimoError: no id begins so, or several do; `pull` has not run.
    """
    pull = require_pulled(rows.artifacts)
    found = _begin_so(pull / "kept.parquet", prefix) | _begin_so(pull / "rejected.parquet", prefix)
    if prefix in found:
        return prefix
    if len(found) > 1:
        shown = ", ".join(sorted(found))
        raise LimoError(f"{prefix!r}: several questions have an id that begins so, such as {shown}; give more of it")
    if not found:
        other = "" if prefix.startswith("q_") else "; `limo trace` explains chains, scores and other records"
        raise LimoError(f"{prefix!r}: no question in {pull} has an id that begins so{other}")
    return found.pop()


def _begin_so(path: Path, prefix: str) -> set[str]:
    """The first and the last id that begins with `prefix`: one when only one does, none when none does."""
    if not path.exists():
        return set()
    identifier = pl.col("question_id")
    found = pl.scan_parquet(path).filter(identifier.str.starts_with(prefix))
    ends = fetch(path, found.select(first=identifier.min(), last=identifier.max())).row(0)
    return {end for end in ends if end is not None}


def question_history(rows: Rows, question_id: str) -> list[Step]:
    """The stages in order, up to the one that rejected the question; those that have not run are there as such."""
    steps: list[Step] = []
    path = pool_path(rows.artifacts)
    for manifest in path:
        steps.append(STEPS[manifest.unit](rows, manifest, question_id))
        if steps[-1].outcome != KEPT:
            return steps
    ran = {manifest.stage for manifest in path}
    return steps + [Step(stage, NOT_RUN, "") for stage in on_the_way() if stage not in ran]


def _filtered(rows: Rows, manifest: Manifest, question_id: str) -> Step:
    stage = manifest.stage
    attempts = _attempts(rows, stage, question_id)
    rejected = rows.of(stage, "rejected", question_id)
    if not rows.of(stage, "kept", question_id).is_empty():
        notes = (attempts, _repeated(rejected), _disagreeing(rows, stage, question_id))
        return Step(stage, KEPT, "; ".join(note for note in notes if note))
    if rejected.is_empty():
        return _unseen(stage)
    row = rejected.row(0, named=True)
    parts = (in_words(row["reason"], manifest.reasons), in_short(row["evidence"]), attempts)
    return Step(stage, REJECTED, "; ".join(part for part in parts if part))


def _repeated(rejected: pl.DataFrame) -> str:
    """Only in `pull` can an id be kept and rejected: the source has the same text twice."""
    return f"{number(rejected.height, 'further row')} of the same text rejected" if rejected.height else ""


def _disagreeing(rows: Rows, stage: str, question_id: str) -> str:
    """A near duplicate that was kept, and whose answer is not that of the question it resembles."""
    clusters = rows.of(stage, "clusters", question_id)
    if clusters.is_empty() or clusters["agrees"][0]:
        return ""
    return f"flagged: {clusters['representative'][0]} says nearly the same and has another answer"


def _attempts(rows: Rows, stage: str, question_id: str) -> str:
    """How many of a filter's responses were right; empty for a stage that samples no model."""
    tried = rows.of(stage, "attempts", question_id)
    if tried.is_empty():
        return ""
    right = tried.filter(pl.col("verdict") == "correct").height
    return f"{right} of {number(tried.height, 'response')} right"


def _answered(rows: Rows, manifest: Manifest, question_id: str) -> Step:
    """Responses: those that are right are the question's chains."""
    stage = manifest.stage
    right, wrong = rows.of(stage, "kept", question_id).height, rows.of(stage, "rejected", question_id).height
    if not right + wrong:
        return _unseen(stage)
    return Step(stage, KEPT if right else REJECTED, f"{right} right chains of {right + wrong} responses")


def _chain(rows: Rows, manifest: Manifest, question_id: str) -> Step:
    """Chains: scored, or filtered and perhaps ranked."""
    stage = manifest.stage
    kept, scored = rows.of(stage, "kept", question_id), rows.of(stage, "chains", question_id)
    if not scored.is_empty():
        best = scored.sort(["quality", "chain_id"], descending=[True, False]).row(0, named=True)
        return Step(stage, KEPT, f"best {best['chain_id']} with quality {best['quality']:.3f}")
    if not kept.is_empty():
        first = kept.row(0, named=True)
        rank = f"rank {first['rank']}, " if "rank" in first else ""
        return Step(stage, KEPT, f"{rank}{first['chain_id']}, quality {first['quality']:.3f}")
    rejected = rows.of(stage, "rejected", question_id)
    if rejected.is_empty():
        return _unseen(stage)
    # The reason of the best chain is the question's; that the others are not the best says nothing.
    last = rejected.sort(pl.col("reason") == "not_best_of_question", maintain_order=True).row(0, named=True)
    return Step(stage, REJECTED, f"{in_words(last['reason'], manifest.reasons)}; {in_short(last['evidence'])}")


def _sample(rows: Rows, manifest: Manifest, question_id: str) -> Step:
    """The training sample of the question."""
    left_out = rows.of(manifest.stage, "rejected", question_id)
    if left_out.is_empty():
        return Step(
            manifest.stage, KEPT, f"chain of {rows.of(manifest.takes or '', 'kept', question_id)['teacher'][0]}"
        )
    row = left_out.row(0, named=True)
    return Step(manifest.stage, REJECTED, f"{in_words(row['reason'], manifest.reasons)}; {in_short(row['evidence'])}")


STEPS = {"questions": _filtered, "responses": _answered, "chains": _chain, "samples": _sample}
"""By what a stage counts: how its tables tell what it did with a question."""


def _unseen(stage: str) -> Step:
    return Step(stage, UNSEEN, f"it ran on other questions; `dvc repro {stage}` brings it up to date")


# Two texts side by side in a terminal: what differs between them, and where the one stands in the other.

HAN = "\u3400-\u9fff"
END = r"[.,;:?!]+(?!\S)"
WORD = re.compile(rf"[{HAN}]|{END}|(?:(?!{END})[^\s{HAN}])+")
"""A Chinese character, the marks that end a word, or what stands between white space."""
TOKEN = re.compile(rf"[{HAN}]|[^\W_{HAN}]+")
"""Words and numbers alone: what is between them is typesetting."""
MOST_WORDS = 1_500
"""Words compared of each text: comparing takes time with the square of them."""
WORDS_AROUND = 4
SHORTEST_RUN = 3


class Span(NamedTuple):
    """A part of a text, by its characters."""

    start: int
    end: int


def word_diff(old: str, new: str) -> str:
    """What only `old` has as `[-old-]`, what only `new` has as `{+new+}`, with a few of the words they share around.

    A Chinese character is a word of its own. Of longer texts the first 1,500 words are compared, and it says so.
    """
    before, after = ([word.group() for word in _first(WORD, text)] for text in (old, new))
    pieces = []
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    for kind, low, high, new_low, new_high in matcher.get_opcodes():
        if kind == "equal":
            pieces.append(_shortened(before[low:high], first=low == 0, last=high == len(before)))
            continue
        pieces += [f"[-{_joined(before[low:high])}-]"] if high > low else []
        pieces += [f"{{+{_joined(after[new_low:new_high])}+}}"] if new_high > new_low else []
    whole = max(len(before), len(after)) < MOST_WORDS
    if before == after:
        return _same(old, new) if whole else f"(the first {MOST_WORDS:,} words are the same)"
    return _joined([piece for piece in pieces if piece]) + ("" if whole else f" … (the first {MOST_WORDS:,} words)")


def _same(old: str, new: str) -> str:
    return "(not a character differs)" if old == new else "(only white space differs)"


def mark(text: str, matches: Sequence[str]) -> str:
    """`text` with what it has in common with any of `matches` between « and »: literally, else run by run of words.

    Where the words are the same and only the typesetting differs, the runs are found all the same.
    """
    spans = _united([span for match in matches for span in _literal(text, match) or _runs(text, match)])
    ends = [0, *(place for span in spans for place in span), len(text)]
    parts = [text[start:end] for start, end in pairwise(ends)]
    return "".join(f"«{part}»" if index % 2 else part for index, part in enumerate(parts))


def _united(spans: list[Span]) -> list[Span]:
    """In order, those that overlap as one."""
    united: list[Span] = []
    for span in sorted(spans):
        if united and span.start <= united[-1].end:
            united[-1] = Span(united[-1].start, max(united[-1].end, span.end))
        else:
            united.append(span)
    return united


def _literal(text: str, match: str) -> list[Span]:
    wanted = match.strip()
    found = re.search(re.escape(wanted), text, re.IGNORECASE) if wanted else None
    return [Span(*found.span())] if found else []


def _runs(text: str, match: str) -> list[Span]:
    tokens = _first(TOKEN, text)
    wanted = [word.group().lower() for word in _first(TOKEN, match)]
    matcher = SequenceMatcher(None, wanted, [token.group().lower() for token in tokens], autojunk=False)
    least = min(SHORTEST_RUN, len(wanted))
    runs = [run for run in matcher.get_matching_blocks() if run.size >= max(1, least)]
    return [Span(tokens[run.b].start(), tokens[run.b + run.size - 1].end()) for run in runs]


def _first(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    return list(islice(pattern.finditer(text), MOST_WORDS))


def _shortened(words: list[str], *, first: bool, last: bool) -> str:
    """Words in common, without those far from any difference."""
    before, after = (0 if first else WORDS_AROUND), (0 if last else WORDS_AROUND)
    if len(words) <= before + after + 2:
        return _joined(words)
    shown = [_joined(words[:before]), "…", _joined(words[len(words) - after :])]
    return " ".join(part for part in shown if part)


def _joined(words: list[str]) -> str:
    """Words with a space between, but none between Chinese characters or before the marks that end a word."""
    return re.sub(rf"(?<=[{HAN}]) (?=[{HAN}])| (?={END})", "", " ".join(words))


# The evidence behind a question's fate, in full: its duplicates, its benchmark hits, its attempts and chains.

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
    steps = question_history(rows, identifier)
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
    source = read_manifest(rows.artifacts, "pull").facts.get("sources", {}).get(question["source"], {})
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
        "fate": _in_a_line(question_history(rows, row["question_id"])),
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
