"""N-grams of tokens as 64-bit numbers, and their tables; compiled by numba.

An n-gram's number is a polynomial in its tokens' hashes, modulo 2^64, which rolls on by one token at a time.
"""

from typing import NamedTuple

import numpy as np

from tasks.pool.compiled import Array, Number, jit
from tasks.pool.tokens import NOTHING, NUMBER, VARIABLE

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
    """int64: n-gram g stands in the items members[bounds[g]] to members[bounds[g + 1]]; in none when boilerplate."""
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
    # Without a branch, which the processor could not foresee.
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
def whole_hashes(hashes: Array, rows: Array) -> Number:
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
def fill_table(grams: Array, sparse: Number) -> Number:
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
def look_up(gram: Number, table: Number, bit_shift: Number, slot_shift: Number) -> Number:
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
