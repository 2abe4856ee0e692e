"""Near duplicates: texts of one block that share most of their shingles.

A block holds what has the same numbers in the same order: templated questions that differ in a digit are different
questions, however alike their words are. Blocks are small, so within one every pair is compared by its exact Jaccard
index; in a large block MinHash LSH (Broder, "On the resemblance and containment of documents", 1997; the package rensa)
proposes the pairs, and the exact index decides.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from tasks.pool.compiled import Array, Number, jit
from tasks.pool.grams import gram_hashes, whole_hashes
from tasks.pool.scan import scan

LARGE = 512
"""Texts in a block from which on LSH proposes."""
PERMUTATIONS = 128
BANDS = 32
"""Of 4 rows: a pair with Jaccard index 0.7 is proposed with probability 0.9998."""
SEED = 1
SLICE = 512
"""Texts of a large block that are compared at a time."""


class Near(NamedTuple):
    """For each text."""

    of: Array
    """int64, the earlier text it is near to, by position; -1 when there is none."""
    similarity: Array
    """float64, the Jaccard index of their shingles."""


class Sets(NamedTuple):
    """The different shingles of each text."""

    values: Array
    """uint64, those of each text ascending."""
    bounds: Array
    """int64, texts + 1: where each text's begin in `values`."""


class Compared(NamedTuple):
    """What is known of the texts while they are compared; all arrays have one entry a text."""

    answers: Array
    of: Array
    similarity: Array
    gone: Array
    """bool: near a text that stays, with the same answer."""


def near_duplicates(texts: pl.Series, blocks: Array, answers: Array, shingle: int, threshold: float) -> Near:
    """Which texts are near an earlier one that stays.

    A text goes when it is near one that stays and has the same answer. Where only the answers differ it stays, and
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
    state = Compared(answers, np.full(count, -1, np.int64), np.zeros(count), np.zeros(count, np.bool_))
    small = ends - starts < LARGE
    _all_pairs(order, starts[small], ends[small], sets, threshold, state)
    for start, end in zip(starts[~small].tolist(), ends[~small].tolist(), strict=True):
        _large_block(order[start:end], sets, threshold, state)
    return Near(state.of, state.similarity)


def shingles(texts: pl.Series, size: int) -> Sets:
    """The different shingles of each text: its runs of `size` tokens, or the whole of a shorter one."""
    tokens = scan(texts, symbols=True)
    rows, values = gram_hashes(tokens.hashes, tokens.kinds, tokens.rows, size, False)
    lengths = np.diff(tokens.rows)
    short = np.flatnonzero((lengths < size) & (lengths > 0))
    rows = np.concatenate([rows.astype(np.int64), short])
    values = np.concatenate([values, whole_hashes(tokens.hashes, tokens.rows)[short]])
    table = pl.DataFrame({"row": rows, "value": values}).unique().sort("row", "value")
    return Sets(table["value"].to_numpy(), np.searchsorted(table["row"].to_numpy(), np.arange(len(texts) + 1)))


def _large_block(members: Array, sets: Sets, threshold: float, state: Compared) -> None:
    """Compare a block slice by slice with those before that stay, so that a thousand alike texts are no million
    pairs."""
    from rensa import RMinHash, RMinHashLSH

    index = RMinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, num_bands=BANDS)
    for start in range(0, len(members), SLICE):
        own = members[start : start + SLICE]
        tokens = [_as_tokens(sets.values[sets.bounds[row] : sets.bounds[row + 1]]) for row in own.tolist()]
        sketches = RMinHash.from_token_sets(tokens, num_perm=PERMUTATIONS, seed=SEED)
        before = [sorted(near) for near in index.query_all(sketches)]
        cuts = np.concatenate([[0], np.cumsum([len(near) for near in before])]).astype(np.int64)
        proposed = np.array([each for near in before for each in near], np.int64)
        _some_pairs(members, start, proposed, cuts, sets, threshold, state)
        stay = np.flatnonzero(~state.gone[own]).tolist()
        index.insert_pairs([(start + at, sketches[at]) for at in stay])


def _as_tokens(values: Array) -> list[bytes]:
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
    """Note that `text` is near `earlier`, if it is; true when `text` goes."""
    if state.gone[earlier]:
        return False
    share = _jaccard(sets, earlier, text, threshold)
    if share < threshold:
        return False
    same = state.answers[earlier] == state.answers[text]
    if same or state.of[text] < 0:
        state.of[text], state.similarity[text] = earlier, share
    state.gone[text] = same
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
    """Compare a slice of a block, from `start` on: each text with those proposed, then with those before in the
    slice."""
    for at in range(len(cuts) - 1):
        text, goes = members[start + at], False
        for place in range(cuts[at], cuts[at + 1]):
            goes = _compare(text, members[proposed[place]], sets, threshold, state)
            if goes:
                break
        for earlier in range(start, start + at):
            if goes:
                break
            goes = _compare(text, members[earlier], sets, threshold, state)
