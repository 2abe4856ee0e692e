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

from tasks.pool.commands import ALIAS, BINARY, ENVIRONMENT, FRACTION, SIGN, SKIP, TEXT, WORDS, command_table
from tasks.pool.letters import HAN, LETTER, fold, letter_table

WORD, VARIABLE, NUMBER, OPERATOR, SYMBOL, NOTHING = range(6)
"""Kinds of token: a word; one letter, `xy`, or up to four capitals as in `triangle ABC`; a number; one of `+-*/=<>^` or a
relation such as `<=`; brackets and other signs, which n-grams leave out."""

SEED, PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x9FB21C651E98DF25)
MIX = np.uint64(0xFF51AFD7ED558CCD)
SHIFT, EIGHT = np.uint64(32), np.uint64(8)
TOP = np.uint64(1 << 56)
EQUALS = np.uint64(0x2545F4914F6CDD1D)
"""What turns the hash of `<` into that of `<=`."""
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
TWO_LETTERS = "am an as at be by cm do ft go he if in is it kg km ln mm me my no of on or pm so to up us we".split()


def _pairs() -> np.ndarray:
    """26 x 26: the pairs of letters that are a word; others, such as `xy`, are a product of variables."""
    table = np.zeros((26, 26), np.bool_)
    for word in TWO_LETTERS:
        table[ord(word[0]) - 97, ord(word[1]) - 97] = True
    return table


PAIRS = _pairs()
jit = numba.njit(cache=True, nogil=True, boundscheck=False)


class Tokens(NamedTuple):
    """The tokens of some texts, one after the other."""

    hashes: np.ndarray
    """uint64, of the token's lower-case text."""
    kinds: np.ndarray
    """uint8: WORD, VARIABLE, NUMBER, OPERATOR or SYMBOL."""
    starts: np.ndarray
    """int32, its first byte in `data`."""
    ends: np.ndarray
    """int32, the byte after its last."""
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
    starts, ends = np.empty(room, np.int32), np.empty(room, np.int32)
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
def _joined(value, packed):
    """Take up to eight packed bytes into a hash."""
    return (value ^ packed) * PRIME


@jit
def _sign(byte):
    """Hash of a token of one byte."""
    return _mix(_joined(SEED, np.uint64(byte)))


@jit
def _short(byte):
    """Hash of a word or number of one byte, as longer ones are hashed."""
    return _mix(_joined(SEED, np.uint64(256) | np.uint64(byte)))


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
    stop = _digits(data, at, end)
    begin = _thousands(data, stop, end) if stop - at <= 3 else -1
    value, packed = _pack(data, at, stop, SEED, np.uint64(1))
    while begin >= 0:
        stop = begin + 3
        value, packed = _pack(data, begin, stop, value, packed)
        begin = _thousands(data, stop, end)
    if stop + 1 < end and data[stop] == 46 and _is_digit(data[stop + 1]):
        after = _digits(data, stop + 1, end)
        value, packed = _pack(data, stop, after, value, packed)
        stop = after
    return _mix(_joined(value, packed)), stop


@jit
def _pack(data, at, end, value, packed):
    """Take bytes into a hash, eight at a time; `packed` holds those that wait, after a leading 1."""
    for place in range(at, end):
        if packed >= TOP:
            value, packed = _joined(value, packed), np.uint64(1)
        packed = (packed << EIGHT) | np.uint64(data[place])
    return value, packed


@jit
def _word(data, at, end, letters):
    """Hash of the run of letters at `at` in lower case, the byte after it, and whether it can be a variable's name."""
    value, packed, begin, small = SEED, np.uint64(1), at, np.uint8(0)
    while at < end:
        byte = data[at]
        if CLASSES[byte] == ALPHA:
            small |= byte & 32
            if packed >= TOP:
                value, packed = _joined(value, packed), np.uint64(1)
            packed = (packed << EIGHT) | np.uint64(byte | 32)
            at += 1
        elif byte >= 128:
            point, after = _code_point(data, at, end)
            if letters[min(point, len(letters) - 1)] != LETTER:
                break
            small = np.uint8(32)
            value, packed = _pack(data, at, after, value, packed)
            at = after
        else:
            break
    size = at - begin
    if size == 2 and small != 0 and data[begin] < 128:
        short = not PAIRS[(data[begin] | 32) - 97, (data[begin + 1] | 32) - 97]
    else:
        short = size == 1 or (small == 0 and size <= CAPITALS)
    return _mix(_joined(value, packed)), at, short


@jit
def _operator(data, at, end):
    """Hash of the operator at `at` and the byte after it; `**` is `^`, `==` is `=`; 0 when there is none."""
    byte = data[at]
    after = data[at + 1] if at + 1 < end else np.uint8(0)
    if (byte == 60 or byte == 62 or byte == 33) and after == 61:
        return _sign(byte) ^ EQUALS, at + 2
    if byte == 42 and after == 42:
        return _sign(94), at + 2
    if byte == 61 and after == 61:
        return _sign(61), at + 2
    if byte == 43 or byte == 45 or byte == 42 or byte == 47 or byte == 61 or byte == 60 or byte == 62 or byte == 94:
        return _sign(byte), at + 1
    return np.uint64(0), at


@jit
def _command_name(data, at, end):
    stop = at
    while stop < end and _is_letter(data[stop]):
        stop += 1
    value, packed = _pack(data, at, stop, SEED, np.uint64(1))
    return _joined(value, packed), stop


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
def _plain(data, at, end, letters):
    """The token at `at` that is neither a command nor a brace: its hash, its kind, and the byte after it."""
    what = CLASSES[data[at]]
    if what == ALPHA:
        value, stop, short = _word(data, at, end, letters)
        return value, VARIABLE if short else WORD, stop
    if what == DIGIT:
        value, stop = _number(data, at, end)
        return value, NUMBER, stop
    if what == BEYOND:
        point, after = _code_point(data, at, end)
        letter = letters[min(point, len(letters) - 1)]
        if letter == LETTER:
            value, stop, short = _word(data, at, end, letters)
            return value, VARIABLE if short else WORD, stop
        return _sign(point), WORD if letter == HAN else NOTHING, after
    value, stop = _operator(data, at, end)
    if stop > at:
        return value, OPERATOR, stop
    return _sign(data[at]), SYMBOL, at + 1


@jit
def _command(data, at, end, letters, keys, actions, values):
    """What the backslash at `at` begins: a token's hash and kind, the byte after it, and what is to be done."""
    name, stop = _command_name(data, at + 1, end)
    if stop == at + 1:
        # `\{` and `\}` are set braces, `\%`, `\|` stand for themselves; `\`, `\,`, `\$` set type.
        sign = data[stop] if stop < end else np.uint8(0)
        real = sign == 123 or sign == 125 or sign == 124 or sign == 37
        return _sign(sign), SYMBOL if real else NOTHING, min(stop + 1, end), SKIP
    slot = _lookup(keys, name)
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
    value, stop, _ = _word(data, at + 1, stop, letters)
    return value, WORD, stop, action


@jit
def _close(count, first, hashes, kinds, starts, ends):
    """The number of tokens without the bracket `first`, which at most one token follows: `x^{2}` is `x^2`."""
    if count - first == 2:
        hashes[first], kinds[first] = hashes[first + 1], kinds[first + 1]
        starts[first], ends[first] = starts[first + 1], ends[first + 1]
    return count - 1


@jit
def _scan(data, offsets, letters, keys, actions, values, symbols, hashes, kinds, starts, ends, rows):
    """Fill the token arrays; returns how many tokens there are."""
    opened, numerator = np.empty(DEEPEST, np.int64), np.empty(DEEPEST, np.bool_)
    stroke, left, right = _sign(47), _sign(40), _sign(41)
    last_kind = SYMBOL if symbols else OPERATOR
    count = 0
    for row in range(len(offsets) - 1):
        at, end = offsets[row], offsets[row + 1]
        # `single`: arguments of `\frac12` still to come, one sign each.
        depth, as_text, over, single = 0, False, False, 0
        while at < end:
            what = CLASSES[data[at]]
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
                value, kind, stop = right, NOTHING, at + 1
                depth -= 1
                if depth >= 0 and depth < DEEPEST:
                    divide = numerator[depth]
                    if opened[depth] >= 0 and count - opened[depth] > 2:
                        kind = SYMBOL
                    elif opened[depth] >= 0:
                        count = _close(count, opened[depth], hashes, kinds, starts, ends)
                depth = max(depth, 0)
            elif what == BACKSLASH:
                value, kind, stop, action = _command(data, at, end, letters, keys, actions, values)
                braced = stop < end and data[stop] == 123
                as_text = action == TEXT and braced
                over = action == FRACTION and braced
                if action == FRACTION:
                    single = 0 if braced else 2
            elif single > 0 and (what == ALPHA or what == DIGIT):
                value = _short(data[at] | 32 if what == ALPHA else data[at])
                kind, stop = VARIABLE if what == ALPHA else NUMBER, at + 1
            else:
                value, kind, stop = _plain(data, at, end, letters)
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
