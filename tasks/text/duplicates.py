"""Which questions of the whole pool are the same, from a few numbers a question; texts are read only where needed.

Equal forms are exact duplicates. Near duplicates are looked for among questions whose numbers, in their order, stand in
another question too, part by part: a part holds whole blocks of equal numbers, so that no pair is torn apart.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from tasks.core.shards import Shard, ShardsParams, Work, finish, run_shards
from tasks.text.ngrams import FACTOR, gram_hashes, whole_hashes
from tasks.text.tokens import NUMBER, Array, Number, jit, scan

# What tells whether two questions are the same: their form, their numbers, and their answer's form, as hashes.

HEADING = (
    r"(?i)^\s*(?:(?:example|problem|question|exercise|task|ex|no|例|题|第)\s*\.?\s*№?\s*\d+(?:[.\-]\d+)*\s*(?:题)?[.):：、]?"
    r"|[(\[]\d{1,4}[)\]]|№?\s*\d{1,4}(?:\.\d{1,4})*(?:[.)]\s|、))\s*(?:[(\[（]\s*\d+\s*(?:points?|marks?|分)\s*[)\]）])?\s*"
)
"""`Example 5.`, `3. (10 points)`, `12.4.`, `[7]`, `例3`: where a question stood, which is no part of it."""


def without_heading(texts: pl.Series) -> pl.Series:
    """The texts without the enumerator that stands before them, if anything is left."""
    rest = texts.str.replace(HEADING, "")
    return rest.zip_with(rest.str.contains(r"\p{L}"), texts)


def forms(texts: pl.Series) -> pl.DataFrame:
    """`form`: equal when only typesetting differs, and `numbers`: of the numbers in their order, 0 for none; UInt64."""
    tokens = scan(texts, symbols=True)
    return pl.DataFrame(
        {
            "form": whole_hashes(tokens.hashes, tokens.rows),
            "numbers": number_hashes(tokens.hashes, tokens.kinds, tokens.rows),
        },
        schema={"form": pl.UInt64, "numbers": pl.UInt64},
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


# Near duplicates: texts of one block that share most of their shingles.
#
# A block holds what has the same numbers in the same order: templated questions that differ in a digit are different
# questions, however alike their words are. Blocks are small, so within one every pair is compared by its exact
# Jaccard index; in a large block MinHash LSH (Broder, "On the resemblance and containment of documents", 1997; the
# package rensa) proposes the pairs, and the exact index decides.

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


PART_ROWS = 65_536
"""Questions a part, about."""
PART = pl.Schema({"row": pl.Int64, "question": pl.String, "numbers": pl.UInt64, "answer_form": pl.UInt64})


class Keys(NamedTuple):
    """What the questions of the pool are compared by; one entry a question, in the pool's order."""

    usable: Array
    """bool: not rejected by itself."""
    form: Array
    """uint64; 0 for a text without a token."""
    numbers: Array
    """uint64; 0 for a text without a number."""
    answer: Array
    """uint64, the form of the answer."""


class Duplicates(NamedTuple):
    """What each question of the pool repeats; one entry a question."""

    of: Array
    """int64: the earlier question it is like, by position; -1 when there is none."""
    similarity: Array
    """float64."""
    exact: Array
    """bool: the two differ in typesetting only."""
    agrees: Array
    """bool: and have the same answer."""
    root: Array
    """int64: the first question of its cluster; itself when it is in none."""
    clustered: Array
    """bool: its cluster has two questions or more."""
    agrees_with_root: Array
    """bool."""
    disputed: Array
    """bool: in its cluster answers disagree."""


class Place(NamedTuple):
    """Where to compare part by part."""

    folder: Path
    identity: str
    shards: ShardsParams


class PartParams(NamedTuple):
    """How near is near."""

    shingle: int
    threshold: float


def find_duplicates(keys: Keys, texts: Iterable[pl.Series], near: PartParams, place: Place | None) -> Duplicates:
    """Exact and near duplicates.

    Args:
        texts: the questions, some at a time, in the pool's order.
        place: for a pool that does not fit into memory; None compares here and now.
    """
    of = _exact(keys)
    exact = of >= 0
    similarity = exact.astype(np.float64)
    among = _candidates(keys, exact)
    if among.any():
        rows, mates, share = (
            _here(keys, texts, among, near) if place is None else _parts(keys, texts, among, near, place)
        )
        of[rows], similarity[rows] = mates, share
    return _clusters(of, similarity, exact, keys.answer)


def _exact(keys: Keys) -> Array:
    """For each question: the first of the same form, -1 when that is itself."""
    rows = np.flatnonzero(keys.usable & (keys.form != 0))
    _, start, group = np.unique(keys.form[rows], return_index=True, return_inverse=True)
    first = rows[start[group]]
    of = np.full(len(keys.form), -1, np.int64)
    of[rows] = np.where(first == rows, -1, first)
    return of


def _candidates(keys: Keys, exact: Array) -> Array:
    """Nothing outside a block of two can be a near duplicate, which leaves little to compare.

    Without any number there is too little to tell a reworded question from another one ("arrange the letters of the
    word PROOF").
    """
    among: Array = keys.usable & ~exact & (keys.numbers != 0)
    _, group, count = np.unique(keys.numbers[among], return_inverse=True, return_counts=True)
    among[among] = count[group] > 1
    return among


def _here(keys: Keys, texts: Iterable[pl.Series], among: Array, near: PartParams) -> tuple[Array, ...]:
    rows = np.flatnonzero(among)
    found = near_duplicates(
        without_heading(pl.concat(texts).gather(rows)), keys.numbers[rows], keys.answer[rows], *near
    )
    hits = np.flatnonzero(found.of >= 0)
    return rows[hits], rows[found.of[hits]], found.similarity[hits]


def _parts(keys: Keys, texts: Iterable[pl.Series], among: Array, near: PartParams, place: Place) -> tuple[Array, ...]:
    count = int(among.sum()) // PART_ROWS + 1
    files = _write_parts(keys, texts, among, count, place.folder / "parts")
    work = Work("clean, near duplicates", place.folder / "found", compare_part, near, place.identity)
    done = run_shards(work, [Shard(str(file), part_content) for file in files], place.shards)
    found = pl.concat(pl.read_parquet(shard / "near.parquet") for shard in done)
    finish(place.folder / "parts")
    return found["row"].to_numpy(), found["of"].to_numpy(), found["similarity"].to_numpy()


def _write_parts(keys: Keys, texts: Iterable[pl.Series], among: Array, count: int, folder: Path) -> list[Path]:
    """Spread the candidates over `count` files by their numbers."""
    from tasks.core.tables import TableWriter

    finish(folder)
    folder.mkdir(parents=True)
    files = [folder / f"{part:05d}.parquet" for part in range(count)]
    writers = [TableWriter(file, PART, row_group=PART_ROWS // 16) for file in files]
    start = 0
    for some in texts:
        rows = np.flatnonzero(among[start : start + len(some)])
        at = rows + start
        table = pl.DataFrame(
            {"row": at, "question": some.gather(rows), "numbers": keys.numbers[at], "answer_form": keys.answer[at]},
            schema=PART,
        )
        for (part,), own in table.group_by(pl.col("numbers") % count, maintain_order=True):
            writers[int(str(part))].add(own)
        start += len(some)
    for writer in writers:
        writer.close()
    return files


def part_content(file: str) -> bytes:
    """The part itself: it is written anew by every run."""
    return Path(file).read_bytes()


def compare_part(file: str, near: PartParams) -> dict[str, pl.DataFrame]:
    """The near duplicates of a part: `row`, `of`, `similarity`."""
    part = pl.read_parquet(file)
    found = near_duplicates(
        without_heading(part["question"]), part["numbers"].to_numpy(), part["answer_form"].to_numpy(), *near
    )
    hits = np.flatnonzero(found.of >= 0)
    rows = part["row"].to_numpy()
    return {"near": pl.DataFrame({"row": rows[hits], "of": rows[found.of[hits]], "similarity": found.similarity[hits]})}


def _clusters(of: Array, similarity: Array, exact: Array, answer: Array) -> Duplicates:
    found, own = of >= 0, np.arange(len(of))
    agrees = answer == answer[np.where(found, of, own)]
    gone = found & (exact | agrees)
    while (found & gone[of]).any():
        # What goes for an earlier question goes for the one that stays.
        of = np.where(found & gone[of], of[of], of)
    root = np.where(found, of, own)
    while True:
        # What a question is like may itself be like an earlier one, which stays for its other answer.
        above = np.where(found[root], of[root], root)
        if (above == root).all():
            break
        root = above
    clustered = found.copy()
    clustered[root[found]] = True
    agrees_with_root = answer == answer[root]
    disputed = np.zeros(len(of), np.bool_)
    disputed[root[~agrees_with_root]] = True
    disputed = disputed[root]
    return Duplicates(of, similarity, exact, agrees, root, clustered, agrees_with_root, disputed)
