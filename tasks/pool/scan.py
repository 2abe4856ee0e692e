r"""Question text as tokens, in one pass over its bytes: the words, numbers and operators that typesetting hides.

`$x^{2}+1$`, `x^2 + 1` and `x² + 1` give the same tokens, and so do `\frac{1}{2}`, `\dfrac12` and `1/2`. Words are lower
case, a Chinese character is a word of its own, a number is whole (`1,000` is `1000`), LaTeX commands lose their
backslash, what only sets type (`\left`, `$`, `\,`, `\text`) is gone. Brackets are kept apart as symbols: n-grams leave
them out, and the canonical form of `clean` needs them. Braces around several tokens count as brackets.

Compiled by numba: over 100 MB of text a second on one core, where regular expressions manage five.
"""

from typing import NamedTuple

import numba
import numpy as np
import polars as pl

from tasks.pool.commands import ALIAS, BINARY, ENVIRONMENT, FRACTION, SIGN, SKIP, TEXT, command_table
from tasks.pool.letters import HAN, LETTER, fold, letter_table

WORD, VARIABLE, NUMBER, OPERATOR, SYMBOL = range(5)
"""Kinds of token: a word; one letter, or up to four capitals as in `triangle ABC`; a number; one of `+-*/=<>^` or a
relation such as `<=`; brackets and other signs, which n-grams leave out."""

SEED, PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
MIX = np.uint64(0xFF51AFD7ED558CCD)
SHIFT = np.uint64(32)
DEEPEST = 64
"""Braces nested deeper than this are not told apart."""
CAPITALS = 4

GAP, ALPHA, DIGIT, SIGN_OR_OPERATOR, BACKSLASH, OPEN, CLOSE, BEYOND = range(8)
"""What a byte can begin."""


def _byte_classes() -> np.ndarray:
    table = np.full(256, GAP, np.uint8)
    for characters, kind in (
        ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", ALPHA),
        ("0123456789", DIGIT),
        ("+-*/=<>^!#%():@[]|", SIGN_OR_OPERATOR),
        ("\\", BACKSLASH),
        ("{", OPEN),
        ("}", CLOSE),
    ):
        table[list(characters.encode())] = kind
    table[128:] = BEYOND
    return table


CLASSES = _byte_classes()
jit = numba.njit(cache=True, nogil=True, boundscheck=False)


class Tokens(NamedTuple):
    """The tokens of some texts, one after the other."""

    hashes: np.ndarray
    """uint64, of the token's lower-case text."""
    kinds: np.ndarray
    """uint8: WORD, VARIABLE, NUMBER, OPERATOR or SYMBOL."""
    starts: np.ndarray
    """int64, its first byte in `data`."""
    ends: np.ndarray
    """int64, the byte after its last."""
    rows: np.ndarray
    """int64, texts + 1 long: text i has the tokens from rows[i] to rows[i + 1]."""
    data: np.ndarray
    """uint8: the texts as UTF-8, folded (see `letters.fold`)."""

    def text(self, first: int, last: int) -> str:
        """What stands from token `first` to token `last`, both included."""
        return self.data[self.starts[first] : self.ends[last]].tobytes().decode("utf-8", "replace")


def scan(texts: pl.Series, symbols: bool = False) -> Tokens:
    """The tokens of every text; a null is an empty text.

    Args:
        symbols: with brackets and other signs, or without.
    """
    import pyarrow as pa

    folded = fold(texts.fill_null("")).to_arrow().cast(pa.large_string())
    buffers = folded.buffers()
    offsets = np.frombuffer(buffers[1], np.int64)[folded.offset : folded.offset + len(folded) + 1]
    data = np.frombuffer(buffers[2] or b"", np.uint8)
    size = int(offsets[-1] - offsets[0]) if len(offsets) else 0
    # No token is shorter than a byte, and a fraction's stroke and a bracket are the only ones without one of their own.
    room = size + size // 2 + len(folded) + 8
    hashes, kinds = np.empty(room, np.uint64), np.empty(room, np.uint8)
    starts, ends = np.empty(room, np.int64), np.empty(room, np.int64)
    rows = np.zeros(len(folded) + 1, np.int64)
    count = _scan(data, offsets, letter_table(), *command_table(), symbols, hashes, kinds, starts, ends, rows)
    return Tokens(hashes[:count], kinds[:count], starts[:count], ends[:count], rows, data)


@jit
def _mix(value: int) -> int:
    """Spread what a byte-wise hash leaves in the low bits over all of them."""
    value ^= value >> SHIFT
    value *= MIX
    return value ^ (value >> SHIFT)


@jit
def _is_letter(byte: int) -> bool:
    return (byte | 32) >= 97 and (byte | 32) <= 122


@jit
def _is_digit(byte: int) -> bool:
    return byte >= 48 and byte <= 57


@jit
def _code_point(data, at, end):
    """The character that starts at `at`, and the byte after it; malformed UTF-8 cannot come from a polars string."""
    first = np.int64(data[at])
    if first < 0xE0 and at + 1 < end:
        return ((first & 31) << 6) | (np.int64(data[at + 1]) & 63), at + 2
    if first < 0xF0 and at + 2 < end:
        return ((first & 15) << 12) | ((np.int64(data[at + 1]) & 63) << 6) | (np.int64(data[at + 2]) & 63), at + 3
    if at + 3 < end:
        high = ((first & 7) << 18) | ((np.int64(data[at + 1]) & 63) << 12)
        return high | ((np.int64(data[at + 2]) & 63) << 6) | (np.int64(data[at + 3]) & 63), at + 4
    return 0, end


@jit
def _digits(data, at, end):
    """The byte after a run of digits."""
    while at < end and _is_digit(data[at]):
        at += 1
    return at


@jit
def _thousands(data, at, end):
    r"""Where the three digits after a thousands comma (`,`, `,\!` or `{,}`) at `at` begin; -1 when there is none."""
    if at + 3 < end and data[at] == 44:
        begin = at + 3 if data[at + 1] == 92 and data[at + 2] == 33 else at + 1
    elif at + 3 < end and data[at] == 123 and data[at + 1] == 44 and data[at + 2] == 125:
        begin = at + 3
    else:
        return -1
    return begin if _digits(data, begin, end) == begin + 3 else -1


@jit
def _number(data, at, end):
    """Hash of the number at `at`, without thousands marks, and the byte after it."""
    value = SEED
    stop = _digits(data, at, end)
    short = stop - at <= 3
    for place in range(at, stop):
        value = (value ^ np.uint64(data[place])) * PRIME
    begin = _thousands(data, stop, end) if short else -1
    while begin >= 0:
        stop = begin + 3
        for place in range(begin, stop):
            value = (value ^ np.uint64(data[place])) * PRIME
        begin = _thousands(data, stop, end)
    if stop + 1 < end and data[stop] == 46 and _is_digit(data[stop + 1]):
        after = _digits(data, stop + 1, end)
        for place in range(stop, after):
            value = (value ^ np.uint64(data[place])) * PRIME
        stop = after
    return _mix(value), stop


@jit
def _word(data, at, end, letters):
    """Hash of the run of letters at `at` in lower case, the byte after it, and whether it can be a variable's name."""
    value, begin, small = SEED, at, np.uint8(0)
    while at < end:
        byte = data[at]
        if CLASSES[byte] == ALPHA:
            small |= byte & 32
            value = (value ^ np.uint64(byte | 32)) * PRIME
            at += 1
        elif byte >= 128:
            point, after = _code_point(data, at, end)
            if letters[min(point, len(letters) - 1)] != LETTER:
                break
            small = np.uint8(32)
            for place in range(at, after):
                value = (value ^ np.uint64(data[place])) * PRIME
            at = after
        else:
            break
    return _mix(value), at, at - begin == 1 or (small == 0 and at - begin <= CAPITALS)


@jit
def _operator(data, at, end):
    """Hash of the operator at `at` and the byte after it; `**` is `^`, `==` is `=`; 0 when there is none."""
    byte = data[at]
    after = data[at + 1] if at + 1 < end else np.uint8(0)
    if (byte == 60 or byte == 62 or byte == 33) and after == 61:
        return _mix((SEED ^ np.uint64(byte)) * PRIME ^ np.uint64(61)), at + 2
    if byte == 42 and after == 42:
        return _mix((SEED ^ np.uint64(94)) * PRIME), at + 2
    if byte == 61 and after == 61:
        return _mix((SEED ^ np.uint64(61)) * PRIME), at + 2
    if byte == 43 or byte == 45 or byte == 42 or byte == 47 or byte == 61 or byte == 60 or byte == 62 or byte == 94:
        return _mix((SEED ^ np.uint64(byte)) * PRIME), at + 1
    return np.uint64(0), at


@jit
def _command_name(data, at, end):
    stop = at
    value = SEED
    while stop < end and _is_letter(data[stop]):
        value = (value ^ np.uint64(data[stop])) * PRIME
        stop += 1
    return value, stop


@jit
def _lookup(keys, name):
    slot = np.int64(_mix(name) & np.uint64(len(keys) - 1))
    while keys[slot] != 0:
        if keys[slot] == name:
            return slot
        slot = (slot + 1) & (len(keys) - 1)
    return -1


@jit
def _spaces(data, at, end):
    while at < end and data[at] <= 32:
        at += 1
    return at


@jit
def _past_group(data, at, end):
    """The byte after `{...}` at `at`; `at` when there is none."""
    if at < end and data[at] == 123:
        stop = at
        while stop < end and data[stop] != 125:
            stop += 1
        return min(stop + 1, end)
    return at


@jit
def _put(count, value, kind, start, end, hashes, kinds, starts, ends):
    hashes[count], kinds[count], starts[count], ends[count] = value, kind, start, end
    return count + 1


@jit
def _close(count, first, right, at, hashes, kinds, starts, ends):
    """End the group whose bracket is token `first`; one token needs no brackets: `x^{2}` is `x^2`."""
    if count - first > 2:
        return _put(count, right, SYMBOL, at, at + 1, hashes, kinds, starts, ends)
    if count - first == 2:
        hashes[first], kinds[first] = hashes[first + 1], kinds[first + 1]
        starts[first], ends[first] = starts[first + 1], ends[first + 1]
    return count - 1


@jit
def _scan(data, offsets, letters, keys, actions, values, symbols, hashes, kinds, starts, ends, rows):
    """Fill the token arrays; returns how many tokens there are."""
    opened = np.empty(DEEPEST, np.int64)
    numerator = np.empty(DEEPEST, np.bool_)
    stroke = _mix((SEED ^ np.uint64(47)) * PRIME)
    left, right = _mix((SEED ^ np.uint64(40)) * PRIME), _mix((SEED ^ np.uint64(41)) * PRIME)
    count = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        depth, plain_group, fraction, single = 0, False, False, 0
        while at < end:
            byte = data[at]
            kind_of_byte = CLASSES[byte]
            if kind_of_byte == GAP:
                at += 1
                continue
            if single > 0 and byte > 32 and byte != 123 and byte != 92:
                # `\frac12`: each argument is one sign.
                if _is_letter(byte) or _is_digit(byte):
                    value = _mix((SEED ^ np.uint64(byte | 32 if _is_letter(byte) else byte)) * PRIME)
                    kind = VARIABLE if _is_letter(byte) else NUMBER
                    count = _put(count, value, kind, at, at + 1, hashes, kinds, starts, ends)
                    if single == 2:
                        count = _put(count, stroke, OPERATOR, at, at + 1, hashes, kinds, starts, ends)
                    single -= 1
                    at += 1
                    continue
                single = 0
            if kind_of_byte == ALPHA:
                value, stop, short = _word(data, at, end, letters)
                kind = VARIABLE if short else WORD
                count = _put(count, value, kind, at, stop, hashes, kinds, starts, ends)
                at = stop
            elif kind_of_byte == DIGIT:
                value, stop = _number(data, at, end)
                count = _put(count, value, NUMBER, at, stop, hashes, kinds, starts, ends)
                at = stop
            elif kind_of_byte == BACKSLASH:
                name, stop = _command_name(data, at + 1, end)
                if stop == at + 1:
                    # `\{` and `\}` are set braces, `\%`, `\|` stand for themselves; `\\`, `\,`, `\$` set type.
                    sign = data[stop] if stop < end else np.uint8(0)
                    if symbols and (sign == 123 or sign == 125 or sign == 124 or sign == 37):
                        value = _mix((SEED ^ np.uint64(sign)) * PRIME)
                        count = _put(count, value, SYMBOL, at, stop + 1, hashes, kinds, starts, ends)
                    at = min(stop + 1, end)
                    continue
                slot = _lookup(keys, name)
                action = actions[slot] if slot >= 0 else 0
                if action == SKIP:
                    at = stop
                elif action == TEXT:
                    plain_group = True
                    at = _spaces(data, stop, end)
                    plain_group = at < end and data[at] == 123
                elif action == ENVIRONMENT:
                    at = _past_group(data, stop, end)
                elif action == FRACTION:
                    at = _spaces(data, stop, end)
                    fraction = at < end and data[at] == 123
                    single = 0 if fraction else 2
                else:
                    value, kind = values[max(slot, 0)], WORD
                    if action == BINARY or action == SIGN:
                        kind = OPERATOR if action == BINARY else SYMBOL
                    elif action != ALIAS:
                        value, stop, _ = _word(data, at + 1, stop, letters)
                    if symbols or kind != SYMBOL:
                        count = _put(count, value, kind, at, stop, hashes, kinds, starts, ends)
                    if single == 2:
                        count = _put(count, stroke, OPERATOR, at, at + 1, hashes, kinds, starts, ends)
                    single = max(single - 1, 0)
                    at = stop
            elif kind_of_byte == OPEN:
                if depth < DEEPEST:
                    opened[depth], numerator[depth] = count if symbols and not plain_group else -1, fraction
                    if symbols and not plain_group:
                        count = _put(count, left, SYMBOL, at, at + 1, hashes, kinds, starts, ends)
                depth += 1
                plain_group, fraction, single = False, False, 0
                at += 1
            elif kind_of_byte == CLOSE:
                depth -= 1
                if depth >= 0 and depth < DEEPEST:
                    if opened[depth] >= 0:
                        count = _close(count, opened[depth], right, at, hashes, kinds, starts, ends)
                    if numerator[depth]:
                        count = _put(count, stroke, OPERATOR, at, at + 1, hashes, kinds, starts, ends)
                depth = max(depth, 0)
                at += 1
            elif kind_of_byte == BEYOND:
                point, after = _code_point(data, at, end)
                letter = letters[min(point, len(letters) - 1)]
                if letter == LETTER:
                    value, stop, short = _word(data, at, end, letters)
                    count = _put(count, value, VARIABLE if short else WORD, at, stop, hashes, kinds, starts, ends)
                    at = stop
                else:
                    if letter == HAN:
                        value = _mix((SEED ^ np.uint64(point)) * PRIME)
                        count = _put(count, value, WORD, at, after, hashes, kinds, starts, ends)
                    at = after
            else:
                value, stop = _operator(data, at, end)
                if stop > at:
                    count = _put(count, value, OPERATOR, at, stop, hashes, kinds, starts, ends)
                    at = stop
                else:
                    if symbols:
                        value = _mix((SEED ^ np.uint64(byte)) * PRIME)
                        count = _put(count, value, SYMBOL, at, at + 1, hashes, kinds, starts, ends)
                    at += 1
        rows[row + 1] = count
    return count
