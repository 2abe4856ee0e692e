"""The loop over the bytes of texts, with what only LaTeX has: commands and braces; compiled by numba."""

import numpy as np

from tasks.pool.commands import ALIAS, BINARY, ENVIRONMENT, FRACTION, SIGN, SKIP, TEXT, WORDS
from tasks.pool.compiled import Array, Number, jit
from tasks.pool.letters import HAN
from tasks.pool.tokens import (
    ALPHA,
    BACKSLASH,
    BEYOND,
    CLASSES,
    CLASSES_BUT_SYMBOLS,
    CLOSE,
    DIGIT,
    GAP,
    NOTHING,
    NUMBER,
    OPEN,
    OPERATOR,
    OPERATOR_SIGN,
    SYMBOL,
    VARIABLE,
    WORD,
    code_point,
    hash_short,
    hash_sign,
    mix,
    read_name,
    read_number,
    read_operator,
    read_word,
)

DEEPEST = 64
"""Braces nested deeper than this are not told apart."""


@jit
def _lookup(keys: Array, name: Number) -> Number:
    slot = np.int64(mix(name) & np.uint64(len(keys) - 1))
    while keys[slot] != 0:
        if keys[slot] == name:
            return slot
        slot = (slot + 1) & (len(keys) - 1)
    return -1


@jit
def _spaces(data: Array, at: Number, end: Number) -> Number:
    while at < end and data[at] <= 32:
        at += 1
    return at


@jit
def _past_group(data: Array, at: Number, end: Number) -> Number:
    """The byte after `{...}` at `at`; `at` when there is none."""
    if at < end and data[at] == 123:
        stop = at
        while stop < end and data[stop] != 125:
            stop += 1
        return min(stop + 1, end)
    return at


@jit
def _plain(what: Number, data: Array, at: Number, end: Number, letters: Array) -> Number:
    """The token at `at` that is neither a command nor a brace: its hash, its kind, and the byte after it."""
    if what == ALPHA:
        value, stop, short = read_word(data, at, end, letters)
        return value, VARIABLE if short else WORD, stop
    if what == OPERATOR_SIGN:
        return read_operator(data, at, end)
    if what == DIGIT:
        value, stop = read_number(data, at, end)
        return value, NUMBER, stop
    if what == BEYOND:
        point, after = code_point(data, at, end)
        letter = letters[min(point, len(letters) - 1)]
        if letter > HAN:
            value, stop, short = read_word(data, at, end, letters)
            return value, VARIABLE if short else WORD, stop
        return hash_sign(point), WORD if letter == HAN else NOTHING, after
    return hash_sign(data[at]), SYMBOL, at + 1


@jit
def _command(
    data: Array, at: Number, end: Number, letters: Array, keys: Array, actions: Array, values: Array
) -> Number:
    """What the backslash at `at` begins: a token's hash and kind, the byte after it, and what is to be done."""
    name, stop = read_name(data, at + 1, end, np.uint8(0))
    if stop == at + 1:
        # `\{` and `\}` are set braces, `\%`, `\|` stand for themselves; `\`, `\,`, `\$` set type.
        sign = data[stop] if stop < end else np.uint8(0)
        real = sign == 123 or sign == 125 or sign == 124 or sign == 37
        return hash_sign(sign), SYMBOL if real else NOTHING, min(stop + 1, end), SKIP
    slot = _lookup(keys, name)
    if slot < 0:
        # A text in capitals throughout has `\FRAC`.
        slot = _lookup(keys, read_name(data, at + 1, end, np.uint8(32))[0])
    action = actions[slot] if slot >= 0 else np.uint8(WORDS)
    if action == SKIP:
        return name, NOTHING, stop, SKIP
    if action == TEXT or action == FRACTION:
        return name, NOTHING, _spaces(data, stop, end), action
    if action == ENVIRONMENT:
        return name, NOTHING, _past_group(data, stop, end), action
    if action == BINARY:
        return values[slot], OPERATOR, stop, action
    if action == SIGN:
        return values[slot], SYMBOL, stop, action
    if action == ALIAS:
        return values[slot], WORD, stop, action
    value, stop, _ = read_word(data, at + 1, stop, letters)
    return value, WORD, stop, action


@jit
def _close(count: Number, first: Number, hashes: Array, kinds: Array, starts: Array, ends: Array) -> Number:
    """End a group that the bracket `first` opened (-1: none): how many tokens there are, and the kind of what ends it.

    At most one token needs no brackets: `x^{2}` is `x^2`.
    """
    if first < 0:
        return count, NOTHING
    if count - first > 2:
        return count, SYMBOL
    if count - first == 2:
        hashes[first], kinds[first] = hashes[first + 1], kinds[first + 1]
        starts[first], ends[first] = starts[first + 1], ends[first + 1]
    return count - 1, NOTHING


@jit
def scan_texts(
    data: Array, offsets: Array, letters: Array, keys: Array, actions: Array, values: Array, symbols: Number,
    hashes: Array, kinds: Array, starts: Array, ends: Array, rows: Array,
) -> Number:  # fmt: skip
    """Fill the token arrays; returns how many tokens there are.

    One loop with its state in local variables: as two functions it took a quarter longer.
    """
    opened, numerator = np.empty(DEEPEST, np.int64), np.empty(DEEPEST, np.bool_)
    stroke, left, right = hash_sign(47), hash_sign(40), hash_sign(41)
    classes = CLASSES if symbols else CLASSES_BUT_SYMBOLS
    last_kind = SYMBOL if symbols else OPERATOR
    count = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        # `single`: arguments of `\frac12` still to come, one sign each.
        depth, as_text, over, single = 0, False, False, 0
        while at < end:
            what = classes[data[at]]
            if what == GAP:
                at += 1
                continue
            divide = False
            if what == OPEN:
                value, kind, stop = left, NOTHING if as_text else SYMBOL, at + 1
                if depth < DEEPEST:
                    opened[depth], numerator[depth] = count if symbols and not as_text else -1, over
                depth, as_text, over, single = depth + 1, False, False, 0
            elif what == CLOSE:
                depth -= 1
                kind = NOTHING
                if depth >= 0 and depth < DEEPEST:
                    divide = numerator[depth]
                    count, kind = _close(count, opened[depth], hashes, kinds, starts, ends)
                value, stop, depth = right, at + 1, max(depth, 0)
            elif what == BACKSLASH:
                value, kind, stop, action = _command(data, at, end, letters, keys, actions, values)
                braced = stop < end and data[stop] == 123
                as_text = action == TEXT and braced
                over = action == FRACTION and braced
                if action == FRACTION:
                    single = 0 if braced else 2
            elif single > 0 and (what == ALPHA or what == DIGIT):
                value = hash_short(data[at] | 32 if what == ALPHA else data[at])
                kind, stop = VARIABLE if what == ALPHA else NUMBER, at + 1
            else:
                value, kind, stop = _plain(what, data, at, end, letters)
            if kind <= last_kind:
                hashes[count], kinds[count], starts[count], ends[count] = value, kind, at, stop
                count += 1
                divide |= single == 2
                single = max(single - 1, 0)
            if divide:
                hashes[count], kinds[count], starts[count], ends[count] = stroke, OPERATOR, at, stop
                count += 1
            at = stop
        rows[row + 1] = count
    return count
