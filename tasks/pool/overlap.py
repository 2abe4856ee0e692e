"""What texts share with benchmark items: n-grams of tokens, by several rules in one pass over the text.

A rule says how long its n-grams are, whether numbers and variables' names count, and how much must be in common. An
n-gram that many items share ("find the number of ordered pairs of positive") says nothing about leakage: a rule can
leave it out as boilerplate. The share is measured on what remains, against the shorter of the two texts, so that a
longer text around an item is found as well as a part of one (the containment of Broder, "On the resemblance and
containment of documents", 1997). A text shorter than n tokens has no n-gram; it is compared whole, and so is every
other text: an equal one is always a hit, of the rule `whole`.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, NamedTuple

import numpy as np
import polars as pl
from pydantic import AfterValidator, Field, PositiveInt

from tasks.params import Params
from tasks.pool.compiled import Array
from tasks.pool.grams import Table, fill_table, gram_hashes, whole_hashes
from tasks.pool.matching import longest_run, match
from tasks.pool.scan import Scratch, Tokens, scan

WHOLE = "whole"
CHUNK = 32_768
"""Texts scanned at a time: their tokens take some 30 MB."""
CHUNK_BYTES = 1 << 24
"""The most bytes of text scanned at a time, give or take one text: of long texts there are fewer in a chunk."""
KNOWN = "known"
SPARSE = 16
"""Bits of the first filter, and slots of the table, per n-gram: 16 and 4."""
FOUND = pl.Schema(
    {"question_id": pl.String, "rule": pl.String, "item_id": pl.String, "match": pl.String, "share": pl.Float64}
)


class OverlapRule(Params):
    """When a text counts as containing a benchmark item, or a part of it."""

    name: str = Field(min_length=1, pattern=r"^\w+$")
    n: PositiveInt = 8
    """Tokens an n-gram. The paper matches n-grams and does not say how long; 8 is what open-r1 and s1 use."""
    masked: bool = False
    """Every number counts as the same number and every variable's name as the same name: finds changed ones."""
    min_share: float = Field(default=0.0, ge=0, le=1)
    """Smallest share of n-grams in common, of the shorter text's; 0: one n-gram is enough, as in the paper."""
    min_common: PositiveInt = 1
    """Fewest different n-grams in common."""
    boilerplate_items: PositiveInt | None = None
    """An n-gram that stands in more benchmark items than this is no evidence; null: every n-gram is. Questions made
    from templates need it: all of them share their wording."""
    drops: bool = True
    """Whether a hit rejects the text, or is only reported."""


def _named(rules: tuple[OverlapRule, ...]) -> tuple[OverlapRule, ...]:
    names = [WHOLE, *(rule.name for rule in rules)]
    if len(set(names)) < len(names):
        raise ValueError(f"rules need different names, and `{WHOLE}` is taken; found {', '.join(names[1:])}")
    return rules


Rules = Annotated[tuple[OverlapRule, ...], AfterValidator(_named)]
"""Rules of one pass, each with a name of its own."""


class RuleIndex(NamedTuple):
    """The items' n-grams under one rule."""

    rule: OverlapRule
    table: Table


class Index(NamedTuple):
    """The benchmarks, ready to be matched against."""

    item_ids: pl.Series
    """In ascending order."""
    wholes: Array
    """uint64, ascending: the hash of each different whole text."""
    whole_items: Array
    """int64, the first item with that text, by position."""
    rules: tuple[RuleIndex, ...]


def build(items: pl.DataFrame, rules: Sequence[OverlapRule]) -> Index:
    """Index the items (`item_id`, `question`)."""
    ordered = items.sort("item_id")
    tokens = scan(ordered["question"])
    wholes, first = np.unique(whole_hashes(tokens.hashes, tokens.rows), return_index=True)
    real = wholes != 0
    return Index(ordered["item_id"], wholes[real], first[real], tuple(_index(tokens, rule) for rule in rules))


def _index(tokens: Tokens, rule: OverlapRule) -> RuleIndex:
    rows, hashes = gram_hashes(tokens.hashes, tokens.kinds, tokens.rows, rule.n, rule.masked)
    pairs = pl.DataFrame({"item": rows, "gram": hashes}).unique().sort("gram", "item")
    texts = len(tokens.rows) - 1
    grams = pairs.group_by("gram", maintain_order=True).agg(pl.col("item"))
    telling = pl.col("item").list.len() <= (rule.boilerplate_items or texts)
    grams = grams.with_columns(item=pl.when(telling).then("item").otherwise(pl.lit([], pl.List(pl.Int32))))
    counts = grams["item"].list.len().to_numpy()
    members = grams["item"].explode(empty_as_null=False).to_numpy().astype(np.int32)
    bounds = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    keys, numbers, bits = fill_table(grams["gram"].to_numpy(), SPARSE)
    sizes = np.bincount(members, minlength=texts)
    return RuleIndex(rule, Table(keys, numbers, bits, bounds, members, sizes))


def find(questions: pl.DataFrame, index: Index, threads: int = 1) -> pl.DataFrame:
    """What every question (`question_id`, `question`) shares with the items (FOUND).

    At most one hit a question and rule: the item that it shares most with. In the order of the questions, and of the
    rules, `whole` first.

    Args:
        questions: may have a text `known` too: what the question shares with an item counts only where it does not
            stand in that text.
        threads: the compiled parts run beside each other.
    """
    columns = ["question_id", "question", *([KNOWN] if KNOWN in questions.columns else [])]
    chunks, own = _chunks(questions.select(columns)), threading.local()
    with ThreadPoolExecutor(threads, initializer=lambda: setattr(own, "scratch", Scratch())) as pool:
        found = list(pool.map(lambda chunk: _find(chunk, index, own.scratch), chunks))
    return pl.concat([FOUND.to_frame(), *found])


def _chunks(questions: pl.DataFrame) -> Iterator[pl.DataFrame]:
    size = pl.col("question").cast(pl.String).str.len_bytes().fill_null(0).cast(pl.Int64)
    place = questions.select(bytes=size.cum_sum() // CHUNK_BYTES, texts=pl.int_range(pl.len()) // CHUNK)
    first = 0
    for length in place.to_struct().rle().struct.field("len"):
        yield questions.slice(first, length)
        first += length


def _find(questions: pl.DataFrame, index: Index, scratch: Scratch) -> pl.DataFrame:
    tokens = scan(questions["question"], scratch=scratch)
    known = scan(questions[KNOWN]) if KNOWN in questions.columns else scan(pl.repeat("", len(questions), eager=True))
    rows, items = _equal(tokens, index)
    parts = [(WHOLE, rows, items, np.ones(len(rows)), [_whole_text(tokens, row) for row in rows])]
    for rule in index.rules:
        at, best, shares = _match(tokens, known, rule)
        parts.append((rule.rule.name, at, best, shares, _matched(tokens, known, rule, at, best)))
    hits = pl.concat(
        pl.DataFrame({"row": rows, "item": items, "share": shares, "match": texts}, schema=_HITS).with_columns(
            rule=pl.lit(name), order=pl.lit(order)
        )
        for order, (name, rows, items, shares, texts) in enumerate(parts)
    ).sort("row", "order")
    return hits.select(
        questions["question_id"].gather(hits["row"]),
        "rule",
        index.item_ids.gather(hits["item"]).alias("item_id"),
        "match",
        "share",
    )


_HITS = {"row": pl.Int64, "item": pl.Int64, "share": pl.Float64, "match": pl.String}


def _equal(tokens: Tokens, index: Index) -> tuple[Array, Array]:
    """Texts whose tokens are those of an item: their rows, and the items."""
    hashes = whole_hashes(tokens.hashes, tokens.rows)
    if not len(index.wholes):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    place = np.minimum(np.searchsorted(index.wholes, hashes), len(index.wholes) - 1)
    rows = np.flatnonzero(index.wholes[place] == hashes)
    return rows, index.whole_items[place[rows]]


def _arrays(tokens: Tokens) -> tuple[Array, Array, Array]:
    return tokens.hashes, tokens.kinds, tokens.rows


def _match(tokens: Tokens, known: Tokens, index: RuleIndex) -> tuple[Array, Array, Array]:
    rule, texts = index.rule, (*_arrays(tokens), _arrays(known))
    found: tuple[Array, Array, Array] = match(*texts, rule.n, rule.masked, rule.min_share, rule.min_common, index.table)
    return found


def _matched(tokens: Tokens, known: Tokens, index: RuleIndex, rows: Array, items: Array) -> list[str]:
    """The longest run of tokens in common with the item, as it stands in the text."""
    rule, texts = index.rule, (*_arrays(tokens), _arrays(known))
    spans = longest_run(*texts, rule.n, rule.masked, index.table, rows, items)
    return [tokens.text(first, last) for first, last in spans.tolist()]


def _whole_text(tokens: Tokens, row: int) -> str:
    return tokens.text(tokens.rows[row], tokens.rows[row + 1] - 1)
