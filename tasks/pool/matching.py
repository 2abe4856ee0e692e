"""Texts against the table of a rule: what each shares with the items; compiled by numba."""

import numpy as np

from tasks.pool.compiled import Array, Number, jit
from tasks.pool.grams import SPREAD, look_up, nonzero, power_of, roll, unused_bits


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
    seen, stamps = _scratch(rows)
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
    """Set `marks` of every n-gram of a text that stands in an item and is no boilerplate."""
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
            number = look_up(nonzero(gram), table, bit_shift, slot_shift)
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
        number = look_up(nonzero(gram), table, bit_shift, slot_shift)
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
def _scratch(rows: Array) -> Number:
    """Room for the n-grams of the longest text, twice."""
    longest = 1
    for row in range(len(rows) - 1):
        longest = max(longest, rows[row + 1] - rows[row])
    room = 2
    while room < 2 * longest:
        room *= 2
    return np.zeros(room, np.uint64), np.full(room, -1, np.int64)


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
            number = look_up(nonzero(gram), table, bit_shift, slot_shift)
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
    """Whether the n-gram stands in the item."""
    has = False
    for place in range(table.bounds[number], table.bounds[number + 1]):
        has |= table.members[place] == item
    return has
