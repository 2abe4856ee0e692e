"""Near duplicates: texts of one block that share most of their shingles.

A block holds what has the same numbers in the same order: templated questions that differ in a digit are different
questions, however alike their words are. Blocks are small, so within one every pair is compared by its exact Jaccard
index; in a large block MinHash LSH (Broder, "On the resemblance and containment of documents", 1997; the package rensa)
proposes the pairs, and the exact index decides.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from tasks.pool.grams import gram_hashes, jit
from tasks.pool.scan import scan

LARGE = 512
"""Texts in a block from which on LSH proposes."""
PERMUTATIONS = 128
BANDS = 32
"""Of 4 rows: a pair with Jaccard index 0.7 is proposed with probability 0.9998."""
SEED = 1


class Near(NamedTuple):
    """For each text."""

    of: np.ndarray
    """int64, the earlier text it is near to, by position; -1 when there is none."""
    similarity: np.ndarray
    """float64, the Jaccard index of their shingles."""


def near_duplicates(texts: pl.Series, blocks: np.ndarray, answers: np.ndarray, shingle: int, threshold: float) -> Near:
    """Which texts are near an earlier one that stays.

    A text goes when it is near one that stays and has the same answer. Where only the answers differ it stays, and refers
    to the first it is near to.

    Args:
        blocks: uint64, the block of each text.
        answers: uint64, equal for equal answers.
        shingle: tokens a shingle; a shorter text is one shingle.
        threshold: smallest Jaccard index that counts.
    """
    values, bounds = shingles(texts, shingle)
    order = np.argsort(blocks, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], blocks[order][1:] != blocks[order][:-1]])) if len(order) else order
    ends = np.append(starts[1:], len(order))
    of, similarity = np.full(len(order), -1, np.int64), np.zeros(len(order))
    gone = np.zeros(len(order), np.bool_)
    small = ends - starts < LARGE
    _all_pairs(order, starts[small], ends[small], values, bounds, answers, threshold, of, similarity, gone)
    for start, end in zip(starts[~small].tolist(), ends[~small].tolist(), strict=True):
        members = order[start:end]
        proposed, cuts = _proposed(members, values, bounds, threshold)
        _some_pairs(members, proposed, cuts, values, bounds, answers, threshold, of, similarity, gone)
    return Near(of, similarity)


def shingles(texts: pl.Series, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The different shingles of each text, ascending (uint64), and where each text's begin (int64, texts + 1)."""
    tokens = scan(texts, symbols=True)
    rows, values = gram_hashes(tokens.hashes, tokens.kinds, tokens.rows, size, False)
    short = np.flatnonzero((np.diff(tokens.rows) < size) & (np.diff(tokens.rows) > 0))
    whole = [_combined(tokens.hashes[tokens.rows[row] : tokens.rows[row + 1]]) for row in short.tolist()]
    rows = np.concatenate([rows.astype(np.int64), short])
    table = pl.DataFrame({"row": rows, "value": np.concatenate([values, np.array(whole, np.uint64)])})
    table = table.unique().sort("row", "value")
    bounds = np.searchsorted(table["row"].to_numpy(), np.arange(len(texts) + 1))
    return table["value"].to_numpy(), bounds


def _combined(hashes: np.ndarray) -> int:
    value = 0
    for each in hashes.tolist():
        value = (value * 0x9E3779B97F4A7C15 + each) & 0xFFFFFFFFFFFFFFFF
    return value


def _proposed(
    members: np.ndarray, values: np.ndarray, bounds: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """For each member: the earlier ones that share a band with it, ascending, as positions among the members."""
    from rensa import RMinHash, RMinHashLSH

    sets = [_as_tokens(values[bounds[row] : bounds[row + 1]]) for row in members.tolist()]
    sketches = RMinHash.from_token_sets(sets, num_perm=PERMUTATIONS, seed=SEED)
    index = RMinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, num_bands=BANDS)
    index.insert_many(sketches)
    found = [sorted(each for each in near if each < own) for own, near in enumerate(index.query_all(sketches))]
    cuts = np.concatenate([[0], np.cumsum([len(near) for near in found])]).astype(np.int64)
    return np.array([each for near in found for each in near], np.int64), cuts


def _as_tokens(values: np.ndarray) -> list[bytes]:
    raw = values.tobytes()
    return [raw[at : at + 8] for at in range(0, len(raw), 8)]


@jit
def _jaccard(values, bounds, left, right, threshold):
    """Shared shingles over all shingles; 0 when it cannot reach the threshold."""
    at, stop = bounds[left], bounds[left + 1]
    other, other_stop = bounds[right], bounds[right + 1]
    one, two = stop - at, other_stop - other
    if one == 0 or two == 0 or min(one, two) < threshold * max(one, two):
        return 0.0
    common = 0
    while at < stop and other < other_stop:
        if values[at] == values[other]:
            common += 1
            at += 1
            other += 1
        elif values[at] < values[other]:
            at += 1
        else:
            other += 1
    return common / (one + two - common)


@jit
def _compare(text, earlier, values, bounds, answers, threshold, of, similarity, gone):
    """Note that `text` is near `earlier`, if it is; true when `text` goes."""
    if gone[earlier]:
        return False
    share = _jaccard(values, bounds, earlier, text, threshold)
    if share < threshold:
        return False
    same = answers[earlier] == answers[text]
    if same or of[text] < 0:
        of[text], similarity[text] = earlier, share
    gone[text] = same
    return same


@jit
def _all_pairs(order, starts, ends, values, bounds, answers, threshold, of, similarity, gone):
    for block in range(len(starts)):
        for later in range(starts[block] + 1, ends[block]):
            for earlier in range(starts[block], later):
                text, other = order[later], order[earlier]
                if _compare(text, other, values, bounds, answers, threshold, of, similarity, gone):
                    break


@jit
def _some_pairs(members, proposed, cuts, values, bounds, answers, threshold, of, similarity, gone):
    for later in range(len(members)):
        for place in range(cuts[later], cuts[later + 1]):
            other = members[proposed[place]]
            if _compare(members[later], other, values, bounds, answers, threshold, of, similarity, gone):
                break
