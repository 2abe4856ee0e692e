"""Single tokens out of bytes: words, numbers, operators, each as a 64-bit hash; compiled by numba.

A hash takes eight bytes at a time, packed into one number, and is spread over all bits at the end.
"""

import numpy as np

from tasks.pool.compiled import Array, Number, jit
from tasks.pool.letters import HAN

WORD, VARIABLE, NUMBER, OPERATOR, SYMBOL, NOTHING = range(6)
"""Kinds of token: a word; one letter, `xy`, or up to four capitals as in `triangle ABC`; a number; one of `+-*/=<>^` or
a relation such as `<=`; brackets and other signs, which n-grams leave out."""

SEED, PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x9FB21C651E98DF25)
MIX = np.uint64(0xFF51AFD7ED558CCD)
SHIFT, SIXTEEN, EIGHT, NONE, BYTE = (np.uint64(number) for number in (32, 16, 8, 0, 255))
TOP = np.uint64(1 << 56)
EQUALS = np.uint64(0x2545F4914F6CDD1D)
"""What turns the hash of `<` into that of `<=`."""
CAPITALS = 4

GAP, ALPHA, DIGIT, OPERATOR_SIGN, SYMBOL_SIGN, BACKSLASH, OPEN, CLOSE, BEYOND = range(9)
"""What a byte can begin."""


def _byte_classes() -> np.ndarray:
    table = np.full(256, GAP, np.uint8)
    for characters, kind in (
        ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", ALPHA),
        ("0123456789", DIGIT),
        ("+-*/=<>^!", OPERATOR_SIGN),
        ("#%():@[]|", SYMBOL_SIGN),
        ("\\", BACKSLASH),
        ("{", OPEN),
        ("}", CLOSE),
    ):
        table[list(characters.encode())] = kind
    table[128:] = BEYOND
    return table


CLASSES = _byte_classes()
CLASSES_BUT_SYMBOLS = np.where(CLASSES == SYMBOL_SIGN, GAP, CLASSES).astype(np.uint8)
TWO_LETTERS = [
    "am",
    "an",
    "as",
    "at",
    "be",
    "by",
    "cm",
    "do",
    "ft",
    "go",
    "he",
    "if",
    "in",
    "is",
    "it",
    "kg",
    "km",
    "ln",
    "mm",
    "me",
    "my",
    "no",
    "of",
    "on",
    "or",
    "pm",
    "so",
    "to",
    "up",
    "us",
    "we",
]


def _pairs() -> np.ndarray:
    """26 x 26: the pairs of letters that are a word; others, such as `xy`, are a product of variables."""
    table = np.zeros((26, 26), np.bool_)
    for word in TWO_LETTERS:
        table[ord(word[0]) - 97, ord(word[1]) - 97] = True
    return table


PAIRS = _pairs()


@jit
def mix(value: Number) -> Number:
    """Spread what a byte-wise hash leaves in the low bits over all of them."""
    value ^= value >> SHIFT
    value *= MIX
    return value ^ (value >> SHIFT)


@jit
def join(value: Number, packed: Number) -> Number:
    """Take up to eight packed bytes into a hash."""
    return (value ^ packed) * PRIME


@jit
def hash_sign(byte: Number) -> Number:
    """Hash of a token of one byte."""
    return mix(join(SEED, np.uint64(byte)))


@jit
def hash_short(byte: Number) -> Number:
    """Hash of a word or number of one byte, as longer ones are hashed."""
    return mix(join(SEED, np.uint64(256) | np.uint64(byte)))


@jit
def is_letter(byte: Number) -> Number:
    """Whether the byte is an ASCII letter."""
    return (byte | 32) >= 97 and (byte | 32) <= 122


@jit
def _is_digit(byte: Number) -> Number:
    return byte >= 48 and byte <= 57


@jit
def code_point(data: Array, at: Number, end: Number) -> Number:
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
def past_digits(data: Array, at: Number, end: Number) -> Number:
    """The byte after a run of digits."""
    while at < end and _is_digit(data[at]):
        at += 1
    return at


@jit
def _thousands(data: Array, at: Number, end: Number) -> Number:
    r"""Where the three digits after a thousands comma (`,`, `,\!` or `{,}`) at `at` begin; -1 when there is none."""
    if at + 3 < end and data[at] == 44:
        begin = at + 3 if data[at + 1] == 92 and data[at + 2] == 33 else at + 1
    elif at + 3 < end and data[at] == 123 and data[at + 1] == 44 and data[at + 2] == 125:
        begin = at + 3
    else:
        return -1
    return begin if past_digits(data, begin, end) == begin + 3 else -1


@jit
def read_number(data: Array, at: Number, end: Number) -> Number:
    """Hash of the number at `at`, without thousands marks, and the byte after it."""
    stop = past_digits(data, at, end)
    begin = _thousands(data, stop, end) if stop - at <= 3 else -1
    value, packed = pack(data, at, stop, SEED, np.uint64(1))
    while begin >= 0:
        stop = begin + 3
        value, packed = pack(data, begin, stop, value, packed)
        begin = _thousands(data, stop, end)
    if stop + 1 < end and data[stop] == 46 and _is_digit(data[stop + 1]):
        after = past_digits(data, stop + 1, end)
        value, packed = pack(data, stop, after, value, packed)
        stop = after
    return mix(join(value, packed)), stop


@jit
def pack(data: Array, at: Number, end: Number, value: Number, packed: Number) -> Number:
    """Take bytes into a hash, eight at a time; `packed` holds those that wait, after a leading 1."""
    for place in range(at, end):
        if packed >= TOP:
            value, packed = join(value, packed), np.uint64(1)
        packed = (packed << EIGHT) | np.uint64(data[place])
    return value, packed


@jit
def read_word(data: Array, at: Number, end: Number, letters: Array) -> Number:
    """Hash of the run of letters at `at` in lower case, the byte after it, and whether it can be a variable's name."""
    value, packed, begin = SEED, np.uint64(1), at
    small: Number = np.uint8(0)
    while at < end:
        byte = data[at]
        if CLASSES[byte] == ALPHA:
            small |= byte & 32
            if packed >= TOP:
                value, packed = join(value, packed), np.uint64(1)
            packed = (packed << EIGHT) | np.uint64(byte | 32)
            at += 1
        elif byte >= 128:
            point, after = code_point(data, at, end)
            low = np.uint64(letters[min(point, len(letters) - 1)])
            if low <= HAN:
                break
            small = np.uint8(32)
            # Three bytes hold any character.
            for shift in (SIXTEEN, EIGHT, NONE):
                if packed >= TOP:
                    value, packed = join(value, packed), np.uint64(1)
                packed = (packed << EIGHT) | ((low >> shift) & BYTE)
            at = after
        else:
            break
    size = at - begin
    if size == 2 and small != 0 and data[begin] < 128:
        short = not PAIRS[(data[begin] | 32) - 97, (data[begin + 1] | 32) - 97]
    else:
        short = size == 1 or (small == 0 and size <= CAPITALS)
    return mix(join(value, packed)), at, short


@jit
def read_operator(data: Array, at: Number, end: Number) -> Number:
    """Hash of the operator at `at`, its kind, and the byte after it; `**` is `^`, `==` is `=`, `!` a symbol."""
    byte = data[at]
    after = data[at + 1] if at + 1 < end else np.uint8(0)
    if after == 61 and (byte == 60 or byte == 62 or byte == 33):
        return hash_sign(byte) ^ EQUALS, OPERATOR, at + 2
    if after == byte and (byte == 42 or byte == 61):
        return hash_sign(94 if byte == 42 else 61), OPERATOR, at + 2
    return hash_sign(byte), SYMBOL if byte == 33 else OPERATOR, at + 1


@jit
def read_name(data: Array, at: Number, end: Number, low: Number) -> Number:
    """Hash of the command's name at `at`, as `commands.hash_name` forms it, and the byte after it.

    Args:
        low: 32 to take capitals as small letters, else 0.
    """
    value, packed = SEED, np.uint64(1)
    while at < end and is_letter(data[at]):
        if packed >= TOP:
            value, packed = join(value, packed), np.uint64(1)
        packed = (packed << EIGHT) | np.uint64(data[at] | low)
        at += 1
    return join(value, packed), at
