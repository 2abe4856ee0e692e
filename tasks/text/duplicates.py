"""Exact and near duplicates of the whole pool, from a few hashes a question; texts are read only where needed.

Questions with equal hashes of their tokens are exact duplicates. Near duplicates share most of their shingles and are
searched for within a block, which holds what has the same numbers in the same order: templated questions that differ in
a digit are different questions, however alike their words are. Blocks are small, so within one every pair is compared
by its exact Jaccard index; in a large block MinHash LSH (Broder, "On the resemblance and containment of documents",
1997; the package rensa) proposes the pairs, and the exact index decides. A pool that does not fit into memory is
compared part by part; a part holds whole blocks, so that no pair is split.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from tasks.core.shards import Job, Shard, ShardsParams, run_shards
from tasks.text.ngrams import FACTOR, gram_hashes, text_hashes
from tasks.text.tokens import NUMBER, Array, Number, jit, scan

HEADING = (
    r"(?i)^\s*(?:(?:example|problem|question|exercise|task|ex|no|例|题|第)\s*\.?\s*№?\s*\d+(?:[.\-]\d+)*\s*(?:题)?[.):：、]?"
    r"|[(\[]\d{1,4}[)\]]|№?\s*\d{1,4}(?:\.\d{1,4})*(?:[.)]\s|、))\s*(?:[(\[（]\s*\d+\s*(?:points?|marks?|分)\s*[)\]）])?\s*"
)
"""`Example 5.`, `3. (10 points)`, `12.4.`, `[7]`, `例3`: a question's number in its source, which is no part of it."""


def without_heading(texts: pl.Series) -> pl.Series:
    """The texts without the enumerator that precedes them, if anything is left."""
    rest = texts.str.replace(HEADING, "")
    return rest.zip_with(rest.str.contains(r"\p{L}"), texts)


def duplicate_keys(texts: pl.Series) -> pl.DataFrame:
    """Two hashes (UInt64) of each text: `text_hash`, equal when only typesetting differs, and `numbers_hash`, of its
    numbers in their order, 0 for none."""
    tokens = scan(texts, symbols=True)
    return pl.DataFrame(
        {
            "text_hash": text_hashes(tokens.hashes, tokens.rows),
            "numbers_hash": number_hashes(tokens.hashes, tokens.kinds, tokens.rows),
        },
        schema={"text_hash": pl.UInt64, "numbers_hash": pl.UInt64},
    )


@jit
def number_hashes(hashes: Array, kinds: Array, rows: Array) -> Number:
    """The hash of each text's numbers in their order (uint64, one a text); 0 for a text without any."""
    out = np.zeros(len(rows) - 1, np.uint64)
    for row in range(len(rows) - 1):
        value = np.uint64(0)
        for at in range(rows[row], rows[row + 1]):
            if kinds[at] == NUMBER:
                value = value * FACTOR + hashes[at]
        out[row] = value
    return out


LARGE = 512
"""Texts in a block from which on LSH proposes the pairs."""
PERMUTATIONS = 128
BANDS = 32
"""Of 4 rows: a pair with Jaccard index 0.7 is proposed with probability 0.9998."""
SEED = 1
SLICE = 512
"""Texts of a large block that are compared at a time."""


class NearDuplicates(NamedTuple):
    """For each text."""

    earlier: Array
    """int64, the earlier text it is near to, by position; -1 when there is none."""
    similarity: Array
    """float64, the Jaccard index of their shingles."""


class ShingleSets(NamedTuple):
    """The different shingles of each text."""

    values: Array
    """uint64, those of each text ascending."""
    bounds: Array
    """int64, texts + 1: where each text's begin in `values`."""


class Comparison(NamedTuple):
    """The state of a comparison; all arrays have one entry a text."""

    answers: Array
    earlier: Array
    similarity: Array
    dropped: Array
    """bool: near a text that is kept, with the same answer."""


def near_duplicates(texts: pl.Series, blocks: Array, answers: Array, shingle: int, threshold: float) -> NearDuplicates:
    """Which texts are near an earlier one that is kept.

    A text is dropped when it is near a kept one with the same answer. Where only the answers differ it is kept, and
    refers to the first it is near to.

    Args:
        blocks: uint64, the block of each text.
        answers: uint64, equal for equal answers.
        shingle: tokens a shingle; a shorter text is one shingle.
        threshold: smallest Jaccard index that counts.
    """
    sets, count = shingles(texts, shingle), len(texts)
    order = np.argsort(blocks, kind="stable")
    starts = np.flatnonzero(np.concatenate([[count > 0], blocks[order][1:] != blocks[order][:-1]]))
    ends = np.append(starts[1:], count)[: len(starts)]
    state = Comparison(answers, np.full(count, -1, np.int64), np.zeros(count), np.zeros(count, np.bool_))
    small = ends - starts < LARGE
    _all_pairs(order, starts[small], ends[small], sets, threshold, state)
    for start, end in zip(starts[~small].tolist(), ends[~small].tolist(), strict=True):
        _large_block(order[start:end], sets, threshold, state)
    return NearDuplicates(state.earlier, state.similarity)


def shingles(texts: pl.Series, size: int) -> ShingleSets:
    """The different shingles of each text: its runs of `size` tokens, or the whole of a shorter one."""
    tokens = scan(texts, symbols=True)
    rows, values = gram_hashes(tokens.hashes, tokens.kinds, tokens.rows, size, False)
    lengths = np.diff(tokens.rows)
    short = np.flatnonzero((lengths < size) & (lengths > 0))
    rows = np.concatenate([rows.astype(np.int64), short])
    values = np.concatenate([values, text_hashes(tokens.hashes, tokens.rows)[short]])
    table = pl.DataFrame({"row": rows, "value": values}).unique().sort("row", "value")
    return ShingleSets(table["value"].to_numpy(), np.searchsorted(table["row"].to_numpy(), np.arange(len(texts) + 1)))


def _large_block(members: Array, sets: ShingleSets, threshold: float, state: Comparison) -> None:
    """Compare a block slice by slice with the earlier texts that are kept, so that a thousand alike texts are no
    million pairs."""
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, num_bands=BANDS)
    for start in range(0, len(members), SLICE):
        own = members[start : start + SLICE]
        tokens = [_token_bytes(sets.values[sets.bounds[row] : sets.bounds[row + 1]]) for row in own.tolist()]
        sketches = RMinHash.from_token_sets(tokens, num_perm=PERMUTATIONS, seed=SEED)
        before = [sorted(near) for near in index.query_all(sketches)]
        cuts = np.concatenate([[0], np.cumsum([len(near) for near in before])]).astype(np.int64)
        proposed = np.array([each for near in before for each in near], np.int64)
        _some_pairs(members, start, proposed, cuts, sets, threshold, state)
        kept = np.flatnonzero(~state.dropped[own]).tolist()
        index.insert_pairs([(start + at, sketches[at]) for at in kept])


def _token_bytes(values: Array) -> list[bytes]:
    raw = values.tobytes()
    return [raw[at : at + 8] for at in range(0, len(raw), 8)]


@jit
def _jaccard(sets: Number, left: Number, right: Number, threshold: Number) -> Number:
    """Shared shingles over all shingles; 0 when it cannot reach the threshold."""
    at, stop = sets.bounds[left], sets.bounds[left + 1]
    other, other_stop = sets.bounds[right], sets.bounds[right + 1]
    one, two = stop - at, other_stop - other
    if one == 0 or two == 0 or min(one, two) < threshold * max(one, two):
        return 0.0
    common = 0
    while at < stop and other < other_stop:
        left_value, right_value = sets.values[at], sets.values[other]
        common += left_value == right_value
        at += left_value <= right_value
        other += right_value <= left_value
    return common / (one + two - common)


@jit
def _compare(text: Number, earlier: Number, sets: Number, threshold: Number, state: Number) -> Number:
    """Record that `text` is near `earlier`, if it is; true when `text` is dropped."""
    if state.dropped[earlier]:
        return False
    share = _jaccard(sets, earlier, text, threshold)
    if share < threshold:
        return False
    same = state.answers[earlier] == state.answers[text]
    if same or state.earlier[text] < 0:
        state.earlier[text], state.similarity[text] = earlier, share
    state.dropped[text] = same
    return same


@jit
def _all_pairs(order: Array, starts: Array, ends: Array, sets: Number, threshold: Number, state: Number) -> Number:
    for block in range(len(starts)):
        for later in range(starts[block] + 1, ends[block]):
            for earlier in range(starts[block], later):
                if _compare(order[later], order[earlier], sets, threshold, state):
                    break


@jit
def _some_pairs(
    members: Array, start: Number, proposed: Array, cuts: Array, sets: Number, threshold: Number, state: Number
) -> Number:
    """Compare a slice of a block, from `start` on: each text with those proposed, then with earlier ones of the
    slice."""
    for at in range(len(cuts) - 1):
        text, dropped = members[start + at], False
        for place in range(cuts[at], cuts[at + 1]):
            dropped = _compare(text, members[proposed[place]], sets, threshold, state)
            if dropped:
                break
        for earlier in range(start, start + at):
            if dropped:
                break
            dropped = _compare(text, members[earlier], sets, threshold, state)


PART_ROWS = 65_536
"""Questions a part, about."""
PART = pl.Schema({"row": pl.Int64, "question": pl.String, "numbers_hash": pl.UInt64, "answer_hash": pl.UInt64})


class Keys(NamedTuple):
    """What the questions of the pool are compared by; one entry a question, in the pool's order."""

    usable: Array
    """bool: not rejected by itself."""
    text: Array
    """uint64; 0 for a text without a token."""
    numbers: Array
    """uint64; 0 for a text without a number."""
    answer: Array
    """uint64, the hash of the answer's text."""


class Duplicates(NamedTuple):
    """Which question each one of the pool repeats; one entry a question."""

    earlier: Array
    """int64: the earlier question it is an exact or near duplicate of, by position; -1 when there is none."""
    similarity: Array
    """float64."""
    exact: Array
    """bool: the two differ in typesetting only."""
    agrees: Array
    """bool: the two have the same answer."""
    root: Array
    """int64: the first question of its cluster; itself when it is in none."""
    clustered: Array
    """bool: its cluster has two questions or more."""
    agrees_with_root: Array
    """bool."""
    disputed: Array
    """bool: in its cluster answers disagree."""


class Spill(NamedTuple):
    """Where a pool that does not fit into memory is compared part by part."""

    folder: Path
    digest: str
    shards: ShardsParams


class NearParams(NamedTuple):
    """When two questions of a block are near duplicates."""

    shingle: int
    threshold: float


def find_duplicates(keys: Keys, texts: Iterable[pl.Series], near: NearParams, spill: Spill | None) -> Duplicates:
    """Exact and near duplicates.

    Args:
        texts: the questions, some at a time, in the pool's order.
        spill: for a pool that does not fit into memory; None compares it in memory.
    """
    earlier = _exact(keys)
    exact = earlier >= 0
    similarity = exact.astype(np.float64)
    among = _candidates(keys, exact)
    if among.any():
        rows, mates, share = (
            _in_memory(keys, texts, among, near) if spill is None else _in_parts(keys, texts, among, near, spill)
        )
        earlier[rows], similarity[rows] = mates, share
    return _clusters(earlier, similarity, exact, keys.answer)


def _exact(keys: Keys) -> Array:
    """For each question: the first with an equal text, -1 when that is itself."""
    rows = np.flatnonzero(keys.usable & (keys.text != 0))
    _, start, group = np.unique(keys.text[rows], return_index=True, return_inverse=True)
    first = rows[start[group]]
    earlier = np.full(len(keys.text), -1, np.int64)
    earlier[rows] = np.where(first == rows, -1, first)
    return earlier


def _candidates(keys: Keys, exact: Array) -> Array:
    """Those in a block of at least two, which leaves little to compare.

    Without any number there is too little evidence that a question is another one reworded ("arrange the letters of
    the word PROOF").
    """
    among: Array = keys.usable & ~exact & (keys.numbers != 0)
    _, group, count = np.unique(keys.numbers[among], return_inverse=True, return_counts=True)
    among[among] = count[group] > 1
    return among


def _in_memory(keys: Keys, texts: Iterable[pl.Series], among: Array, near: NearParams) -> tuple[Array, ...]:
    rows = np.flatnonzero(among)
    found = near_duplicates(
        without_heading(pl.concat(texts).gather(rows)), keys.numbers[rows], keys.answer[rows], *near
    )
    hits = np.flatnonzero(found.earlier >= 0)
    return rows[hits], rows[found.earlier[hits]], found.similarity[hits]


def _in_parts(
    keys: Keys, texts: Iterable[pl.Series], among: Array, near: NearParams, spill: Spill
) -> tuple[Array, ...]:
    count = int(among.sum()) // PART_ROWS + 1
    files = _write_parts(keys, texts, among, count, spill.folder / "parts")
    job = Job("clean, near duplicates", spill.folder / "found", compare_part, near, spill.digest)
    done = run_shards(job, [Shard(str(file), part_fingerprint) for file in files], spill.shards)
    found = pl.concat(pl.read_parquet(shard / "near.parquet") for shard in done)
    shutil.rmtree(spill.folder / "parts", ignore_errors=True)
    return found["row"].to_numpy(), found["earlier"].to_numpy(), found["similarity"].to_numpy()


def _write_parts(keys: Keys, texts: Iterable[pl.Series], among: Array, count: int, folder: Path) -> list[Path]:
    """Spread the candidates over `count` files by their numbers."""
    from tasks.core.tables import TableWriter

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = [folder / f"{part:05d}.parquet" for part in range(count)]
    writers = [TableWriter(file, PART, row_group=PART_ROWS // 16) for file in files]
    start = 0
    for some in texts:
        rows = np.flatnonzero(among[start : start + len(some)])
        at = rows + start
        table = pl.DataFrame(
            {
                "row": at,
                "question": some.gather(rows),
                "numbers_hash": keys.numbers[at],
                "answer_hash": keys.answer[at],
            },
            schema=PART,
        )
        for (part,), own in table.group_by(pl.col("numbers_hash") % count, maintain_order=True):
            writers[int(str(part))].add(own)
        start += len(some)
    for writer in writers:
        writer.close()
    return files


def part_fingerprint(file: str) -> bytes:
    """The part's bytes: every run writes it again."""
    return Path(file).read_bytes()


def compare_part(file: str, near: NearParams) -> dict[str, pl.DataFrame]:
    """The near duplicates of a part: `row`, `earlier`, `similarity`."""
    part = pl.read_parquet(file)
    found = near_duplicates(
        without_heading(part["question"]), part["numbers_hash"].to_numpy(), part["answer_hash"].to_numpy(), *near
    )
    hits = np.flatnonzero(found.earlier >= 0)
    rows = part["row"].to_numpy()
    return {
        "near": pl.DataFrame(
            {"row": rows[hits], "earlier": rows[found.earlier[hits]], "similarity": found.similarity[hits]}
        )
    }


def _clusters(earlier: Array, similarity: Array, exact: Array, answer: Array) -> Duplicates:
    found, own = earlier >= 0, np.arange(len(earlier))
    agrees = answer == answer[np.where(found, earlier, own)]
    dropped = found & (exact | agrees)
    while (found & dropped[earlier]).any():
        # A duplicate of a dropped question is a duplicate of the one kept for it.
        earlier = np.where(found & dropped[earlier], earlier[earlier], earlier)
    root = np.where(found, earlier, own)
    while True:
        # The earlier question may itself be near one before it, and kept for its other answer.
        above = np.where(found[root], earlier[root], root)
        if (above == root).all():
            break
        root = above
    clustered = found.copy()
    clustered[root[found]] = True
    agrees_with_root = answer == answer[root]
    disputed = np.zeros(len(earlier), np.bool_)
    disputed[root[~agrees_with_root]] = True
    disputed = disputed[root]
    return Duplicates(earlier, similarity, exact, agrees, root, clustered, agrees_with_root, disputed)
