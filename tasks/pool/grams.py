"""N-grams of tokens as 64-bit numbers, and the loops that look them up; compiled by numba.

An n-gram's number is a polynomial in its tokens' hashes, modulo 2^64, which rolls on by one token at a time.
"""

import numba
import numpy as np

from tasks.pool.scan import NOTHING, NUMBER, VARIABLE

FACTOR = np.uint64(0x9E3779B97F4A7C15)
SPREAD = np.uint64(0xD6E8FEB86659FD93)
ANY_NUMBER, ANY_VARIABLE = np.uint64(0x94D049BB133111EB), np.uint64(0xBF58476D1CE4E5B9)
ONE = np.uint64(1)
SIX = np.uint64(6)
LOW = np.uint64(63)

jit = numba.njit(cache=True, nogil=True, boundscheck=False)


def _masks() -> tuple[np.ndarray, np.ndarray]:
    """For each kind of token: the bits of its hash that a masked rule keeps, and those it sets."""
    keep, put = np.full(NOTHING, 0xFFFFFFFFFFFFFFFF, np.uint64), np.zeros(NOTHING, np.uint64)
    keep[[NUMBER, VARIABLE]] = 0
    put[[NUMBER, VARIABLE]] = ANY_NUMBER, ANY_VARIABLE
    return keep, put


KEEP, PUT = _masks()


@jit
def _token(hashes, kinds, at, masked):
    # Without a branch, which the processor could not foresee.
    return (hashes[at] & KEEP[kinds[at]]) | PUT[kinds[at]] if masked else hashes[at]


@jit
def _power(exponent):
    value = ONE
    for _ in range(exponent):
        value *= FACTOR
    return value


@jit
def _nonzero(gram):
    """0 marks an empty slot."""
    return gram if gram != np.uint64(0) else ONE


@jit
def whole_hashes(hashes, rows):
    """The hash of each text's tokens in their order (uint64, one a text); 0 for a text without any."""
    out = np.zeros(len(rows) - 1, np.uint64)
    for row in range(len(rows) - 1):
        value = np.uint64(0)
        for at in range(rows[row], rows[row + 1]):
            value = value * FACTOR + hashes[at]
        if rows[row + 1] > rows[row]:
            out[row] = _nonzero(value * SPREAD + np.uint64(rows[row + 1] - rows[row]))
    return out


@jit
def gram_hashes(hashes, kinds, rows, n, masked):
    """Every n-gram of every text: the text's position (int32) and the n-gram (uint64)."""
    total = 0
    for row in range(len(rows) - 1):
        total += max(rows[row + 1] - rows[row] - n + 1, 0)
    at_row, grams = np.empty(total, np.int32), np.empty(total, np.uint64)
    power, count = _power(n), 0
    for row in range(len(rows) - 1):
        gram = np.uint64(0)
        for at in range(rows[row], rows[row + 1]):
            gram = gram * FACTOR + _token(hashes, kinds, at, masked)
            if at - rows[row] >= n:
                gram -= power * _token(hashes, kinds, at - n, masked)
            if at - rows[row] >= n - 1:
                at_row[count], grams[count] = row, _nonzero(gram)
                count += 1
    return at_row, grams


@jit
def fill_table(grams, sparse):
    """Open addressing over different n-grams: `keys`, their positions, and the bits of the first filter."""
    size = 64
    while size * 4 < max(len(grams), 1) * sparse:
        size *= 2
    keys, numbers = np.zeros(size, np.uint64), np.zeros(size, np.int32)
    bits = np.zeros(max(size * 4 // 64, 1), np.uint64)
    for number in range(len(grams)):
        place = grams[number] * SPREAD
        bit = place >> np.uint64(_unused_bits(len(bits) * 64))
        bits[np.int64(bit >> SIX)] |= ONE << (bit & LOW)
        slot = np.int64(place >> np.uint64(_unused_bits(size)))
        while keys[slot] != np.uint64(0):
            slot = (slot + 1) & (size - 1)
        keys[slot], numbers[slot] = grams[number], number
    return keys, numbers, bits


@jit
def _unused_bits(size):
    """How far to shift a 64-bit hash to get a position in a power of two."""
    bits = 64
    while size > 1:
        size //= 2
        bits -= 1
    return bits


@jit
def _lookup(gram, keys, numbers, bits, bit_shift, slot_shift):
    """The number of the n-gram, or -1 when no item has it."""
    place = gram * SPREAD
    bit = place >> bit_shift
    if (bits[np.int64(bit >> SIX)] >> (bit & LOW)) & ONE == np.uint64(0):
        return -1
    slot = np.int64(place >> slot_shift)
    while keys[slot] != np.uint64(0):
        if keys[slot] == gram:
            return np.int64(numbers[slot])
        slot = (slot + 1) & (len(keys) - 1)
    return -1


@jit
def _different(hashes, kinds, begin, end, n, masked, seen, stamps, stamp, enough):
    """How many different n-grams a text has, or `enough`; `seen` and `stamps` are scratch, twice as long as the text."""
    size, power, gram, count = len(seen), _power(n), np.uint64(0), 0
    shift = np.uint64(_unused_bits(size))
    for at in range(begin, end):
        gram = gram * FACTOR + _token(hashes, kinds, at, masked)
        if at - begin >= n:
            gram -= power * _token(hashes, kinds, at - n, masked)
        if at - begin >= n - 1:
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
def _mark(texts, row, n, masked, keys, numbers, bits, bounds, marks, mark):
    """Set `marks` of every n-gram of a text that an item has, boilerplate apart."""
    hashes, kinds, rows = texts
    begin, end = rows[row], rows[row + 1]
    if end - begin < n:
        return
    bit_shift, slot_shift = np.uint64(_unused_bits(len(bits) * 64)), np.uint64(_unused_bits(len(keys)))
    power, gram = _power(n), np.uint64(0)
    for at in range(begin, end):
        gram = gram * FACTOR + _token(hashes, kinds, at, masked)
        if at - begin >= n:
            gram -= power * _token(hashes, kinds, at - n, masked)
        if at - begin >= n - 1:
            number = _lookup(_nonzero(gram), keys, numbers, bits, bit_shift, slot_shift)
            if number >= 0 and bounds[number] < bounds[number + 1]:
                marks[number] = mark


@jit
def match(texts, known, n, masked, min_share, min_common, keys, numbers, bits, bounds, members, sizes):
    """For each text that shares enough with an item: its position, the item it shares most with, and the share.

    Of items with an equal share the one with more n-grams in common wins, then the first. N-grams that stand in the
    known text of the same position are not in common. Texts are hashes, kinds and rows, as in `Tokens`.
    """
    hashes, kinds, rows = texts
    total, longest = len(rows) - 1, 1
    for row in range(total):
        longest = max(longest, rows[row + 1] - rows[row])
    room = 2
    while room < 2 * longest:
        room *= 2
    seen, stamps = np.zeros(room, np.uint64), np.full(room, -1, np.int64)
    last_row = np.full(len(bounds), -1, np.int64)
    common, touched = np.zeros(len(sizes) + 1, np.int32), np.empty(len(sizes) + 1, np.int64)
    out_row, out_item, out_share = np.empty(total, np.int64), np.empty(total, np.int64), np.empty(total, np.float64)
    bit_shift, slot_shift = np.uint64(_unused_bits(len(bits) * 64)), np.uint64(_unused_bits(len(keys)))
    power, found = _power(n), 0
    for row in range(total):
        begin, end = rows[row], rows[row + 1]
        gram, reached, boilerplate = np.uint64(0), 0, 0
        # As if the text had been read up to here: each n-gram counts the first time it is met.
        _mark(known, row, n, masked, keys, numbers, bits, bounds, last_row, row)
        for at in range(begin, end):
            gram = gram * FACTOR + _token(hashes, kinds, at, masked)
            if at - begin >= n:
                gram -= power * _token(hashes, kinds, at - n, masked)
            if at - begin >= n - 1:
                number = _lookup(_nonzero(gram), keys, numbers, bits, bit_shift, slot_shift)
                if number >= 0 and last_row[number] != row:
                    last_row[number] = row
                    boilerplate += bounds[number] == bounds[number + 1]
                    for place in range(bounds[number], bounds[number + 1]):
                        item = members[place]
                        if common[item] == 0:
                            touched[reached] = item
                            reached += 1
                        common[item] += 1
        if reached == 0:
            continue
        most, largest = 0, 0
        for place in range(reached):
            most, largest = max(most, common[touched[place]]), max(largest, sizes[touched[place]])
        if most < min_common:
            for place in range(reached):
                common[touched[place]] = 0
            continue
        # The smaller of both sizes counts, so a text larger than every item it reaches need not be counted to its end.
        enough = largest + boilerplate
        own = _different(hashes, kinds, begin, end, n, masked, seen, stamps, row, enough) - boilerplate
        best, best_share, best_common = -1, 0.0, 0
        for place in range(reached):
            item = touched[place]
            count = common[item]
            common[item] = 0
            share = count / min(own, sizes[item])
            if count < min_common or share < min_share:
                continue
            better = share > best_share or (share == best_share and count > best_common)
            if better or (share == best_share and count == best_common and item < best):
                best, best_share, best_common = item, share, count
        if best >= 0:
            out_row[found], out_item[found], out_share[found] = row, best, best_share
            found += 1
    return out_row[:found], out_item[:found], out_share[:found]


@jit
def longest_run(texts, known, n, masked, keys, numbers, bits, bounds, members, at_rows, at_items):
    """For each hit: the first and the last token (int64, hits x 2) of the longest run in common with the item."""
    hashes, kinds, rows = texts
    spans = np.zeros((len(at_rows), 2), np.int64)
    last_hit = np.full(len(bounds), -1, np.int64)
    bit_shift, slot_shift = np.uint64(_unused_bits(len(bits) * 64)), np.uint64(_unused_bits(len(keys)))
    power = _power(n)
    for hit in range(len(at_rows)):
        row, item = at_rows[hit], at_items[hit]
        begin, end = rows[row], rows[row + 1]
        _mark(known, row, n, masked, keys, numbers, bits, bounds, last_hit, hit)
        gram, first, longest = np.uint64(0), -1, -1
        for at in range(begin, end):
            gram = gram * FACTOR + _token(hashes, kinds, at, masked)
            if at - begin >= n:
                gram -= power * _token(hashes, kinds, at - n, masked)
            if at - begin < n - 1:
                continue
            number = _lookup(_nonzero(gram), keys, numbers, bits, bit_shift, slot_shift)
            shared = False
            if number >= 0 and last_hit[number] != hit:
                for place in range(bounds[number], bounds[number + 1]):
                    shared = shared or members[place] == item
            if not shared:
                first = -1
                continue
            if first < 0:
                first = at - n + 1
            if at - first > longest:
                longest = at - first
                spans[hit, 0], spans[hit, 1] = first, at
    return spans
