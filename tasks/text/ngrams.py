"""What texts share with benchmark items: n-grams of tokens, by several rules in one pass over the text.

A rule says how long its n-grams are, whether numbers and variables' names count, and how much must be in common. An
n-gram that many items share ("find the number of ordered pairs of positive") is no evidence of leakage: a rule can
leave it out as boilerplate. The share is measured on what remains, against the shorter of the two texts, so that a
longer text around an item is found as well as a part of one (the containment of Broder, "On the resemblance and
containment of documents", 1997). A text shorter than n tokens has no n-gram; it is compared whole, and so is every
other text: an equal one is always a hit, of the rule `whole`.

An n-gram is a 64-bit number: a polynomial in its tokens' hashes, modulo 2^64, which rolls on by one token at a time.
The functions over arrays are compiled by numba.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, NamedTuple

import numpy as np
import polars as pl
from pydantic import AfterValidator, Field, PositiveInt

from tasks.core.params import Params
from tasks.text.tokens import NOTHING, NUMBER, VARIABLE, Array, Number, Scratch, Tokens, jit, scan

FACTOR = np.uint64(0x9E3779B97F4A7C15)
SPREAD = np.uint64(0xD6E8FEB86659FD93)
ANY_NUMBER, ANY_VARIABLE = np.uint64(0x94D049BB133111EB), np.uint64(0xBF58476D1CE4E5B9)
ONE = np.uint64(1)
SIX = np.uint64(6)
LOW = np.uint64(63)


class Table(NamedTuple):
    """The n-grams of the items under one rule; a tuple of arrays, which compiled code takes as it is."""

    keys: Array
    """uint64, open addressing; 0 is empty."""
    numbers: Array
    """int32, the number of the n-gram in each slot."""
    bits: Array
    """uint64: a Bloom filter of one hash over the n-grams, which most n-grams of a text do not pass."""
    bounds: Array
    """int64: n-gram g occurs in the items members[bounds[g]] to members[bounds[g + 1]]; in none when boilerplate."""
    members: Array
    """int32, items by position."""
    sizes: Array
    """int64, how many different n-grams that are no boilerplate each item has."""


def _masks() -> tuple[Array, Array]:
    """For each kind of token: the bits of its hash that a masked rule keeps, and those it sets."""
    keep, put = np.full(NOTHING, 0xFFFFFFFFFFFFFFFF, np.uint64), np.zeros(NOTHING, np.uint64)
    keep[[NUMBER, VARIABLE]] = 0
    put[[NUMBER, VARIABLE]] = ANY_NUMBER, ANY_VARIABLE
    return keep, put


KEEP, PUT = _masks()


@jit
def _token(hashes: Array, kinds: Array, at: Number, masked: Number) -> Number:
    # Without a branch, which the processor could not predict.
    return (hashes[at] & KEEP[kinds[at]]) | PUT[kinds[at]] if masked else hashes[at]


@jit
def power_of(exponent: Number) -> Number:
    """FACTOR to the power of `exponent`."""
    value = ONE
    for _ in range(exponent):
        value *= FACTOR
    return value


@jit
def nonzero(gram: Number) -> Number:
    """0 marks an empty slot."""
    return gram if gram != np.uint64(0) else ONE


@jit
def text_hashes(hashes: Array, rows: Array) -> Number:
    """The hash of each text's tokens in their order (uint64, one a text); 0 for a text without any."""
    out = np.zeros(len(rows) - 1, np.uint64)
    for row in range(len(rows) - 1):
        value = np.uint64(0)
        for at in range(rows[row], rows[row + 1]):
            value = value * FACTOR + hashes[at]
        if rows[row + 1] > rows[row]:
            out[row] = nonzero(value * SPREAD + np.uint64(rows[row + 1] - rows[row]))
    return out


@jit
def roll(
    gram: Number, hashes: Array, kinds: Array, at: Number, begin: Number, n: Number, masked: Number, power: Number
) -> Number:
    """The n-gram that ends with token `at`, from the one before; whole once `at - begin` is n - 1.

    Args:
        begin: the first token of the text.
        power: `power_of(n)`.
    """
    gram = gram * FACTOR + _token(hashes, kinds, at, masked)
    if at - begin >= n:
        gram -= power * _token(hashes, kinds, at - n, masked)
    return gram


@jit
def gram_hashes(hashes: Array, kinds: Array, rows: Array, n: Number, masked: Number) -> Number:
    """Every n-gram of every text: the text's position (int32) and the n-gram (uint64)."""
    total = 0
    for row in range(len(rows) - 1):
        total += max(rows[row + 1] - rows[row] - n + 1, 0)
    at_row, grams = np.empty(total, np.int32), np.empty(total, np.uint64)
    power, count = power_of(n), 0
    for row in range(len(rows) - 1):
        gram = np.uint64(0)
        for at in range(rows[row], rows[row + 1]):
            gram = roll(gram, hashes, kinds, at, rows[row], n, masked, power)
            if at - rows[row] >= n - 1:
                at_row[count], grams[count] = row, nonzero(gram)
                count += 1
    return at_row, grams


@jit
def hash_table(grams: Array, sparse: Number) -> Number:
    """Open addressing over different n-grams: the first three of `Table`."""
    size = 64
    while size * 4 < max(len(grams), 1) * sparse:
        size *= 2
    keys, numbers = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    bits = np.zeros(max(size * 4 // 64, 1), np.uint64)
    for number in range(len(grams)):
        place = grams[number] * SPREAD
        bit = place >> np.uint64(unused_bits(len(bits) * 64))
        bits[np.int64(bit >> SIX)] |= ONE << (bit & LOW)
        slot = np.int64(place >> np.uint64(unused_bits(size)))
        while keys[slot] != np.uint64(0):
            slot = (slot + 1) & (size - 1)
        keys[slot], numbers[slot] = grams[number], number
    return keys, numbers, bits


@jit
def unused_bits(size: Number) -> Number:
    """How far to shift a 64-bit hash to get a position in a power of two."""
    bits = 64
    while size > 1:
        size //= 2
        bits -= 1
    return bits


@jit
def lookup(gram: Number, table: Number, bit_shift: Number, slot_shift: Number) -> Number:
    """The number of the n-gram, or -1 when no item has it.

    Args:
        table: a `Table`.
        bit_shift: `unused_bits` of its filter.
        slot_shift: `unused_bits` of its keys.
    """
    place = gram * SPREAD
    bit = place >> bit_shift
    if (table.bits[np.int64(bit >> SIX)] >> (bit & LOW)) & ONE == np.uint64(0):
        return -1
    slot = np.int64(place >> slot_shift)
    while table.keys[slot] != np.uint64(0):
        if table.keys[slot] == gram:
            return np.int64(table.numbers[slot])
        slot = (slot + 1) & (len(table.keys) - 1)
    return -1


@jit
def match(
    hashes: Array,
    kinds: Array,
    rows: Array,
    known: Number,
    n: Number,
    masked: Number,
    min_share: Number,
    min_common: Number,
    table: Number,
) -> Number:
    """For each text that shares enough with an item: its position, the item it shares most with, and the share.

    Of items with an equal share the one with more n-grams in common wins, then the first.

    Args:
        known: hashes, kinds and rows of as many texts: an n-gram of a text's known text is not in common.
        table: a `Table`.
    """
    texts = len(rows) - 1
    seen, stamps = _ngram_scratch(rows)
    last_row = np.full(len(table.bounds), -1, np.int64)
    common, touched = np.zeros(len(table.sizes) + 1, np.int32), np.empty(len(table.sizes) + 1, np.int64)
    at_rows, items, shares = np.empty(texts, np.int64), np.empty(texts, np.int64), np.empty(texts, np.float64)
    found = 0
    for row in range(texts):
        begin, end = rows[row], rows[row + 1]
        # As if the text had been read up to here: an n-gram counts the first time that it is met.
        _mark(known, row, n, masked, table, last_row, row)
        reached, boilerplate = _count(hashes, kinds, begin, end, n, masked, table, row, last_row, common, touched)
        most, largest = 0, 0
        for place in range(reached):
            most, largest = max(most, common[touched[place]]), max(largest, table.sizes[touched[place]])
        if most >= min_common:
            # The smaller of both sizes counts, so a text larger than every item it reaches is not counted to its end.
            enough = largest + boilerplate
            own = _different(hashes, kinds, begin, end, n, masked, seen, stamps, row, enough) - boilerplate
            item, share = _best(touched[:reached], common, own, table.sizes, min_share, min_common)
            if item >= 0:
                at_rows[found], items[found], shares[found] = row, item, share
                found += 1
        for place in range(reached):
            common[touched[place]] = 0
    return at_rows[:found], items[:found], shares[:found]


@jit
def _mark(texts: Number, row: Number, n: Number, masked: Number, table: Number, marks: Array, mark: Number) -> None:
    """Set `marks` of every n-gram of a text that occurs in an item and is no boilerplate."""
    hashes, kinds, rows = texts
    begin, end = rows[row], rows[row + 1]
    if end - begin < n:
        return
    bit_shift = np.uint64(unused_bits(len(table.bits) * 64))
    slot_shift = np.uint64(unused_bits(len(table.keys)))
    gram, power = np.uint64(0), power_of(n)
    for at in range(begin, end):
        gram = roll(gram, hashes, kinds, at, begin, n, masked, power)
        if at - begin >= n - 1:
            number = lookup(nonzero(gram), table, bit_shift, slot_shift)
            if number >= 0 and table.bounds[number] < table.bounds[number + 1]:
                marks[number] = mark


@jit
def _count(
    hashes: Array, kinds: Array, begin: Number, end: Number, n: Number, masked: Number, table: Number, row: Number,
    last_row: Array, common: Array, touched: Array,
) -> Number:  # fmt: skip
    """Count into `common` the different n-grams of a text that each item has; lists those items in `touched`.

    Returns:
        How many items, and how many different n-grams that are boilerplate.
    """
    bit_shift = np.uint64(unused_bits(len(table.bits) * 64))
    slot_shift = np.uint64(unused_bits(len(table.keys)))
    gram, power, reached, boilerplate = np.uint64(0), power_of(n), 0, 0
    for at in range(begin, end):
        gram = roll(gram, hashes, kinds, at, begin, n, masked, power)
        if at - begin < n - 1:
            continue
        number = lookup(nonzero(gram), table, bit_shift, slot_shift)
        if number < 0 or last_row[number] == row:
            continue
        last_row[number] = row
        boilerplate += table.bounds[number] == table.bounds[number + 1]
        for place in range(table.bounds[number], table.bounds[number + 1]):
            item = table.members[place]
            if common[item] == 0:
                touched[reached] = item
                reached += 1
            common[item] += 1
    return reached, boilerplate


@jit
def _best(touched: Array, common: Array, own: Number, sizes: Array, min_share: Number, min_common: Number) -> Number:
    """The item that shares most of the shorter text, and the share; -1 when none shares enough."""
    best, best_share, best_common = -1, 0.0, 0
    for item in touched:
        count = common[item]
        share = count / min(own, sizes[item])
        if count < min_common or share < min_share:
            continue
        better = share > best_share or (share == best_share and count > best_common)
        if better or (share == best_share and count == best_common and item < best):
            best, best_share, best_common = item, share, count
    return best, best_share


@jit
def _ngram_scratch(rows: Array) -> Number:
    """Scratch arrays for the n-grams of the longest text, twice their number."""
    longest = 1
    for row in range(len(rows) - 1):
        longest = max(longest, rows[row + 1] - rows[row])
    size = 2
    while size < 2 * longest:
        size *= 2
    return np.zeros(size, np.uint64), np.full(size, -1, np.int64)


@jit
def _different(
    hashes: Array, kinds: Array, begin: Number, end: Number, n: Number, masked: Number, seen: Array, stamps: Array,
    stamp: Number, enough: Number,
) -> Number:  # fmt: skip
    """How many different n-grams a text has, or `enough`."""
    size, power, gram, count = len(seen), power_of(n), np.uint64(0), 0
    shift = np.uint64(unused_bits(size))
    for at in range(begin, end):
        gram = roll(gram, hashes, kinds, at, begin, n, masked, power)
        if at - begin < n - 1:
            continue
        slot = np.int64((gram * SPREAD) >> shift)
        while stamps[slot] == stamp and seen[slot] != gram:
            slot = (slot + 1) & (size - 1)
        if stamps[slot] != stamp:
            stamps[slot], seen[slot] = stamp, gram
            count += 1
            if count == enough:
                break
    return count


@jit
def longest_run(
    hashes: Array, kinds: Array, rows: Array, known: Number, n: Number, masked: Number, table: Number, at_rows: Array,
    items: Array,
) -> Number:  # fmt: skip
    """For each hit: the first and the last token (int64, hits x 2) of the longest run in common with the item."""
    spans = np.zeros((len(at_rows), 2), np.int64)
    last_hit = np.full(len(table.bounds), -1, np.int64)
    bit_shift = np.uint64(unused_bits(len(table.bits) * 64))
    slot_shift = np.uint64(unused_bits(len(table.keys)))
    power = power_of(n)
    for hit in range(len(at_rows)):
        begin, end = rows[at_rows[hit]], rows[at_rows[hit] + 1]
        _mark(known, at_rows[hit], n, masked, table, last_hit, hit)
        gram, first, longest = np.uint64(0), -1, -1
        for at in range(begin, end):
            gram = roll(gram, hashes, kinds, at, begin, n, masked, power)
            if at - begin < n - 1:
                continue
            number = lookup(nonzero(gram), table, bit_shift, slot_shift)
            if number < 0 or last_hit[number] == hit or not _has(table, number, items[hit]):
                first = -1
                continue
            if first < 0:
                first = at - n + 1
            if at - first > longest:
                longest = at - first
                spans[hit, 0], spans[hit, 1] = first, at
    return spans


@jit
def _has(table: Number, number: Number, item: Number) -> Number:
    """Whether the n-gram occurs in the item."""
    has = False
    for place in range(table.bounds[number], table.bounds[number + 1]):
        has |= table.members[place] == item
    return has


WHOLE = "whole"
CHUNK = 32_768
"""Texts scanned at a time: their tokens take some 30 MB."""
CHUNK_BYTES = 1 << 24
"""The most bytes of text scanned at a time, give or take one text: of long texts there are fewer in a chunk."""
KNOWN = "known"
SPARSE = 16
"""Bits of the first filter, and slots of the table, per n-gram: 16 and 4."""
OVERLAPS = pl.Schema(
    {"question_id": pl.String, "rule": pl.String, "item_id": pl.String, "match": pl.String, "share": pl.Float64}
)
_HITS = {"row": pl.Int64, "item": pl.Int64, "share": pl.Float64, "match": pl.String}
EVIDENCE = ("benchmark", "item_id", "rule", "match", "share")


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
    """An n-gram that occurs in more benchmark items than this is no evidence; null: every n-gram is. Questions made
    from templates need it: all of them share their wording."""
    drops: bool = True
    """Whether a hit rejects the text, or is only reported."""


def _with_distinct_names(rules: tuple[OverlapRule, ...]) -> tuple[OverlapRule, ...]:
    names = [WHOLE, *(rule.name for rule in rules)]
    if len(set(names)) < len(names):
        raise ValueError(f"rules need different names, and `{WHOLE}` is taken; found {', '.join(names[1:])}")
    return rules


OverlapRules = Annotated[tuple[OverlapRule, ...], AfterValidator(_with_distinct_names)]
"""Rules of one pass, each with a name of its own."""


class RuleIndex(NamedTuple):
    """The items' n-grams under one rule."""

    rule: OverlapRule
    table: Table


class OverlapIndex(NamedTuple):
    """The benchmarks, ready to be matched against."""

    item_ids: pl.Series
    """In ascending order."""
    wholes: Array
    """uint64, ascending: the hash of each different whole text."""
    whole_items: Array
    """int64, the first item with that text, by position."""
    rules: tuple[RuleIndex, ...]


def build_index(items: pl.DataFrame, rules: Sequence[OverlapRule]) -> OverlapIndex:
    """Index the items (`item_id`, `question`)."""
    ordered = items.sort("item_id")
    tokens = scan(ordered["question"])
    wholes, first = np.unique(text_hashes(tokens.hashes, tokens.rows), return_index=True)
    real = wholes != 0
    return OverlapIndex(
        ordered["item_id"], wholes[real], first[real], tuple(_rule_index(tokens, rule) for rule in rules)
    )


def _rule_index(tokens: Tokens, rule: OverlapRule) -> RuleIndex:
    rows, hashes = gram_hashes(tokens.hashes, tokens.kinds, tokens.rows, rule.n, rule.masked)
    pairs = pl.DataFrame({"item": rows, "gram": hashes}).unique().sort("gram", "item")
    texts = len(tokens.rows) - 1
    grams = pairs.group_by("gram", maintain_order=True).agg(pl.col("item"))
    evidence = pl.col("item").list.len() <= (rule.boilerplate_items or texts)
    grams = grams.with_columns(item=pl.when(evidence).then("item").otherwise(pl.lit([], pl.List(pl.Int32))))
    counts = grams["item"].list.len().to_numpy()
    members = grams["item"].explode(empty_as_null=False).to_numpy().astype(np.int32)
    bounds = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    keys, numbers, bits = hash_table(grams["gram"].to_numpy(), SPARSE)
    sizes = np.bincount(members, minlength=texts)
    return RuleIndex(rule, Table(keys, numbers, bits, bounds, members, sizes))


def find_overlaps(questions: pl.DataFrame, index: OverlapIndex, threads: int = 1) -> pl.DataFrame:
    """What every question (`question_id`, `question`) shares with the items (OVERLAPS).

    At most one hit a question and rule: the item that it shares most with. In the order of the questions, and of the
    rules, `whole` first.

    Args:
        questions: may have a text `known` too: an n-gram of that text does not count as shared.
        threads: the compiled parts run in parallel.
    """
    columns = ["question_id", "question", *([KNOWN] if KNOWN in questions.columns else [])]
    chunks, own = _chunks(questions.select(columns)), threading.local()
    with ThreadPoolExecutor(threads, initializer=lambda: setattr(own, "scratch", Scratch())) as pool:
        found = list(pool.map(lambda chunk: _find(chunk, index, own.scratch), chunks))
    return pl.concat([OVERLAPS.to_frame(), *found])


def _chunks(questions: pl.DataFrame) -> Iterator[pl.DataFrame]:
    size = pl.col("question").cast(pl.String).str.len_bytes().fill_null(0).cast(pl.Int64)
    place = questions.select(bytes=size.cum_sum() // CHUNK_BYTES, texts=pl.int_range(pl.len()) // CHUNK)
    first = 0
    for length in place.to_struct().rle().struct.field("len"):
        yield questions.slice(first, length)
        first += length


def _find(questions: pl.DataFrame, index: OverlapIndex, scratch: Scratch) -> pl.DataFrame:
    tokens = scan(questions["question"], scratch=scratch)
    known = scan(questions[KNOWN]) if KNOWN in questions.columns else scan(pl.repeat("", len(questions), eager=True))
    rows, items = _equal_texts(tokens, index)
    parts = [(WHOLE, rows, items, np.ones(len(rows)), [_whole_text(tokens, row) for row in rows])]
    for rule in index.rules:
        at, best, shares = _match(tokens, known, rule)
        parts.append((rule.rule.name, at, best, shares, _longest_match(tokens, known, rule, at, best)))
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


def _equal_texts(tokens: Tokens, index: OverlapIndex) -> tuple[Array, Array]:
    """Texts whose tokens are those of an item: their rows, and the items."""
    hashes = text_hashes(tokens.hashes, tokens.rows)
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


def _longest_match(tokens: Tokens, known: Tokens, index: RuleIndex, rows: Array, items: Array) -> list[str]:
    """The longest run of tokens in common with the item, as the text has it."""
    rule, texts = index.rule, (*_arrays(tokens), _arrays(known))
    spans = longest_run(*texts, rule.n, rule.masked, index.table, rows, items)
    return [tokens.text(first, last) for first, last in spans.tolist()]


def _whole_text(tokens: Tokens, row: int) -> str:
    return tokens.text(tokens.rows[row], tokens.rows[row + 1] - 1)


def annotate_hits(found: pl.DataFrame, items: pl.DataFrame, rules: Sequence[OverlapRule]) -> pl.DataFrame:
    """The overlaps found (OVERLAPS), each with the `benchmark` of its item and whether its rule `drops`.

    Args:
        items: `item_id`, `benchmark`.
    """
    drops = {WHOLE: True} | {rule.name: rule.drops for rule in rules}
    named = found.join(items.select("item_id", "benchmark"), on="item_id", how="left", maintain_order="left")
    return named.with_columns(drops=pl.col("rule").replace_strict(drops, return_dtype=pl.Boolean))


def rejections(hits: pl.DataFrame, key: str, reason: str) -> pl.DataFrame:
    """For each text (its id in the column `key`) with a hit that drops: `reason`, and the first such hit as `evidence`.

    The evidence is JSON: benchmark, item, rule, the text in common, the share in common.
    """
    first = hits.filter("drops").unique(key, keep="first", maintain_order=True)
    shown = pl.struct(pl.col("share").round(3) if name == "share" else name for name in EVIDENCE)
    return first.select(key, pl.lit(reason).alias("reason"), shown.struct.json_encode().alias("evidence"))


class RuleCounts:
    """Counts of what each rule hits, over all texts."""

    def __init__(self, rules: Sequence[OverlapRule], key: str, texts: str) -> None:
        """`key` is the column with a text's id; `texts` is what they are called, such as `questions`."""
        self._key, self._texts = key, texts
        self._facts: dict[str, dict[str, Any]] = {
            name: {"drops": drops, texts: 0, "only_by_this_rule": 0, "benchmarks": {}}
            for name, drops in [(WHOLE, True), *((rule.name, rule.drops) for rule in rules)]
        }

    def add(self, hits: pl.DataFrame) -> None:
        """Count the hits (HIT or LEAK) of some texts; all hits of a text are among them."""
        alone = hits.filter(pl.len().over(self._key) == 1)["rule"].value_counts()
        for rule, count in alone.iter_rows():
            self._facts[rule]["only_by_this_rule"] += count
        for rule, benchmark, count in hits.group_by("rule", "benchmark").len().iter_rows():
            facts = self._facts[rule]
            facts[self._texts] += count
            facts["benchmarks"][benchmark] = facts["benchmarks"].get(benchmark, 0) + count

    def facts(self) -> dict[str, dict[str, Any]]:
        """For the manifest: per rule, the benchmarks in order of name."""
        return {
            rule: facts | {"benchmarks": dict(sorted(facts["benchmarks"].items()))}
            for rule, facts in self._facts.items()
        }
