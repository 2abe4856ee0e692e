r"""Question text as tokens, in one pass over its bytes: the words, numbers and operators that typesetting hides.

`$x^{2}+1$`, `x^2 + 1` and `x² + 1` give the same tokens, and so do `\frac{1}{2}`, `\dfrac12` and `1/2`. Words are
lower case, a Chinese character is a word of its own, a number is whole (`1,000` is `1000`), LaTeX commands lose
their backslash, what only sets type (`\left`, `$`, `\,`, `\text`) is gone. Brackets are kept apart as symbols:
n-grams leave them out, and the duplicate keys of `clean` need them. Braces around several tokens count as brackets.

A token is a 64-bit hash of its text, which takes eight bytes at a time, packed into one number, and is spread over all
bits at the end. Compiled by numba: over 100 MB of text a second on one core, where regular expressions manage five.

In this order: Unicode folding, the table of LaTeX commands, single tokens, the loop over texts, `scan`.
"""

import functools
import unicodedata
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
import polars as pl

F = TypeVar("F", bound=Callable[..., Any])
Array = np.ndarray[Any, np.dtype[Any]]
Number = Any
"""A number, or a few of them: numba infers the types, annotations of compiled functions only distinguish arrays from
numbers."""

jit = cast(Callable[[F], F], numba.njit(cache=True, nogil=True, boundscheck=False))
"""Cached next to the source, so that a worker starts in a fraction of a second; without the interpreter's lock, so that
threads run in parallel."""

OTHER, HAN = range(2)
POINTS = 0x30000
"""Characters below this have an entry in `letter_table`; those beyond are no letters."""
# fmt: off
GREEK = [
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "omicron", "pi", "rho", "varsigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega",
]
SIGNS = {
    "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "÷": "/", "⁄": "/", "∕": "/", "−": "-", "–": "-", "—": "-",
    "‐": "-", "‑": "-", "≤": "<=", "⩽": "<=", "≥": ">=", "⩾": ">=", "≠": "!=", "√": r" \sqrt ", "∞": r" \infty ",
    "∈": r" \in ", "∉": r" \notin ", "∠": r" \angle ", "△": r" \triangle ", "°": r"^\circ ", "…": " ",
    "∑": r" \sum ", "∏": r" \prod ", "∫": r" \int ", "∪": r" \cup ", "∩": r" \cap ", "⊂": r" \subset ",
    "⊆": r" \subseteq ", "→": r" \to ", "⇒": r" \implies ", "±": r" \pm ", "≈": r" \approx ", "≡": r" \equiv ",
    "≅": r" \cong ", "∼": r" \sim ", "⌊": r" \lfloor ", "⌋": r" \rfloor ", "⌈": r" \lceil ", "⌉": r" \rceil ",
    "∣": "|", "∥": r" \parallel ", "⊥": r" \perp ", "∀": r" \forall ", "∃": r" \exists ", "ϕ": r" \phi ",
    "ϵ": r" \epsilon ", "ϑ": r" \theta ", "′": "'", "″": "''",
    # Signs without width, and the soft hyphen: nobody sees them.
    "\u200b": "", "\u200c": "", "\u200d": "", "\u200e": "", "\u200f": "", "\u2060": "", "\ufeff": "", "\u00ad": "",
}
# fmt: on
SUPERSCRIPTS = r"([⁰¹²³⁴⁵⁶⁷⁸⁹]+)"


def fold(texts: pl.Series) -> pl.Series:
    """The texts with signs beyond ASCII replaced by their LaTeX or ASCII equivalents.

    Texts in ASCII are left as they are. Case is kept: the scanner recognises names in capitals by it.
    """
    beyond = texts.str.len_bytes() != texts.str.len_chars()
    if not beyond.any():
        return texts
    some = texts.filter(beyond)
    # Superscripts first: the normal form would turn x² into x2.
    some = some.str.replace_all(SUPERSCRIPTS, "^$1").str.replace_many(_replacements())
    left = some.str.len_bytes() != some.str.len_chars()
    # The normal form of a letter in a mathematical alphabet is a plain one, which may have to be replaced in its turn.
    normal = some.filter(left).str.normalize("NFKC").str.replace_many(_replacements())
    some = some.scatter(left.arg_true(), normal)
    return texts.scatter(beyond.arg_true(), some)


@functools.cache
def _replacements() -> dict[str, str]:
    names = {chr(0x3B1 + index): f" \\{name} " for index, name in enumerate(GREEK)}
    capitals = {chr(0x391 + index): f" \\{name} " for index, name in enumerate(GREEK) if name != "varsigma"}
    return SIGNS | names | capitals


@functools.cache
def letter_table() -> Array:
    """For every character: OTHER, HAN (a word by itself), or its lower case (part of a word).

    int32; the last entry is for all characters beyond.
    """
    table = np.zeros(POINTS + 1, np.int32)
    for point in range(128, POINTS):
        if unicodedata.category(chr(point))[0] in "LMN":
            low = chr(point).lower()
            table[point] = HAN if _is_han(point) else ord(low) if len(low) == 1 else point
    return table


def _is_han(point: int) -> bool:
    return 0x3400 <= point <= 0x9FFF or 0xF900 <= point <= 0xFAFF or 0x20000 <= point < POINTS


WORDS, SKIP, TEXT, ENVIRONMENT, FRACTION, ALIAS, BINARY, SIGN = range(8)
"""What the scanner does with a LaTeX command: take the name as a word (any command not listed below); nothing; read the
group as plain text; leave the group out; put a stroke between two groups; take another name; take an operator; take a
sign that n-grams leave out."""

SETTING = (
    "left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr displaystyle textstyle scriptstyle"
    " limits nolimits quad qquad hspace vspace hfill newline par noindent rm bf it sf tt ldots dots cdots dotsc dotsb"
    " vdots ddots nonumber hline centering item medskip smallskip bigskip allowbreak middle"
)
TEXTS = (
    "text textbf textit textrm textsf texttt textup textnormal mathrm mathbf mathit mathsf mathtt mathbb mathcal"
    " mathfrak mathscr boldsymbol bm mbox hbox emph operatorname underline overline boxed"
)
FRACTIONS = "frac dfrac tfrac cfrac"
ENVIRONMENTS = "begin end label tag ref"
ALIASES = {
    "dbinom": "binom", "tbinom": "binom", "bmod": "mod", "pmod": "mod", "varepsilon": "epsilon", "vartheta": "theta",
    "varphi": "phi", "varnothing": "emptyset", "rightarrow": "to", "longrightarrow": "to", "Rightarrow": "implies",
    "land": "wedge", "lor": "vee", "degree": "circ",
}  # fmt: skip
OPERATORS = {
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=",
    "geq": ">=", "geqslant": ">=", "ne": "!=", "neq": "!=", "lt": "<", "gt": ">",
}  # fmt: skip
BRACKETS = {"mid": "|", "vert": "|", "lvert": "|", "rvert": "|", "lbrace": "{", "rbrace": "}", "colon": ":"}
SLOTS = 1024
SEED_INT, PRIME_INT, MIX_INT = 0xCBF29CE484222325, 0x9FB21C651E98DF25, 0xFF51AFD7ED558CCD
WRAP, EQUALS_INT = (1 << 64) - 1, 0x2545F4914F6CDD1D


def hash_name(name: str) -> int:
    """As the scanner hashes a word: eight bytes at a time, after a leading 1."""
    value, packed = SEED_INT, 1
    for byte in name.encode():
        if packed >> 56:
            value, packed = ((value ^ packed) * PRIME_INT) & WRAP, 1
        packed = (packed << 8) | byte
    return ((value ^ packed) * PRIME_INT) & WRAP


def mixed(value: int) -> int:
    """As the scanner spreads a token's hash over all bits."""
    value ^= value >> 32
    value = (value * MIX_INT) & WRAP
    return value ^ (value >> 32)


@functools.cache
def command_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Open addressing over names: `keys` (uint64, 0 is empty), `actions` (uint8), `values` (uint64, the token's
    hash)."""
    keys, actions, values = np.zeros(SLOTS, np.uint64), np.zeros(SLOTS, np.uint8), np.zeros(SLOTS, np.uint64)
    for name, action, value in _entries():
        key = hash_name(name)
        slot = mixed(key) & (SLOTS - 1)
        while keys[slot]:
            slot = (slot + 1) & (SLOTS - 1)
        keys[slot], actions[slot], values[slot] = key, action, value
    return keys, actions, values


def _entries() -> list[tuple[str, int, int]]:
    listed = ((SETTING, SKIP), (TEXTS, TEXT), (FRACTIONS, FRACTION), (ENVIRONMENTS, ENVIRONMENT))
    plain = [(name, action, 0) for names, action in listed for name in names.split()]
    alias = [(name, ALIAS, mixed(hash_name(other.lower()))) for name, other in ALIASES.items()]
    signs = [(name, SIGN, _operator_hash(sign)) for name, sign in BRACKETS.items()]
    return plain + alias + signs + [(name, BINARY, _operator_hash(sign)) for name, sign in OPERATORS.items()]


def _operator_hash(sign: str) -> int:
    """As the scanner hashes one sign, or one and `=`."""
    value = mixed(((SEED_INT ^ ord(sign[0])) * PRIME_INT) & WRAP)
    return value ^ EQUALS_INT if len(sign) == 2 else value


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
TWO_LETTERS = (
    "am", "an", "as", "at", "be", "by", "cm", "do", "ft", "go", "he", "if", "in", "is", "it", "kg", "km", "ln", "mm",
    "me", "my", "no", "of", "on", "or", "pm", "so", "to", "up", "us", "we",
)  # fmt: skip


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
    """Add up to eight packed bytes to a hash."""
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
    """Add bytes to a hash, eight at a time; `packed` holds those not yet added, after a leading 1."""
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
    """Hash of the command's name at `at`, as `hash_name` forms it, and the byte after it.

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


MAX_DEPTH = 64
"""Braces nested deeper than this are not matched."""


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
    """What the backslash at `at` begins: a token's hash and kind, the byte after it, and the action."""
    name, stop = read_name(data, at + 1, end, np.uint8(0))
    if stop == at + 1:
        # `\{` and `\}` are set braces, `\%`, `\|` are those signs; `\`, `\,`, `\$` set type.
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
    opened, numerator = np.empty(MAX_DEPTH, np.int64), np.empty(MAX_DEPTH, np.bool_)
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
                if depth < MAX_DEPTH:
                    opened[depth], numerator[depth] = count if symbols and not as_text else -1, over
                depth, as_text, over, single = depth + 1, False, False, 0
            elif what == CLOSE:
                depth -= 1
                kind = NOTHING
                if depth >= 0 and depth < MAX_DEPTH:
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


class Tokens(NamedTuple):
    """The tokens of some texts, one after the other."""

    hashes: Array
    """uint64, of the token's lower-case text."""
    kinds: Array
    """uint8: WORD, VARIABLE, NUMBER, OPERATOR or SYMBOL."""
    starts: Array
    """int32, its first byte in `data`."""
    ends: Array
    """int32, the byte after its last."""
    rows: Array
    """int64, texts + 1 long: text i has the tokens from rows[i] to rows[i + 1]."""
    data: Array
    """uint8: the texts as UTF-8, folded (see `fold`)."""

    def text(self, first: int, last: int) -> str:
        """The text from token `first` to token `last`, both included."""
        return self.data[self.starts[first] : self.ends[last]].tobytes().decode("utf-8", "replace")


class Scratch:
    """Memory that one scan after another reuses, instead of allocating it each time."""

    def __init__(self) -> None:
        self._arrays: tuple[Array, ...] = ()

    def arrays(self, size: int) -> tuple[Array, ...]:
        """Hashes, kinds, starts and ends, each for so many tokens."""
        if not self._arrays or len(self._arrays[0]) < size:
            self._arrays = tuple(np.empty(size, kind) for kind in (np.uint64, np.uint8, np.int32, np.int32))
        return self._arrays


def scan(texts: pl.Series, symbols: bool = False, scratch: Scratch | None = None) -> Tokens:
    """The tokens of every text; a null is an empty text.

    Args:
        symbols: with brackets and other signs, or without.
        scratch: memory for the tokens; the next scan with the same one overwrites them.
    """
    import pyarrow as pa

    folded = fold(texts.fill_null("")).to_arrow().cast(pa.large_string())
    buffers = folded.buffers()
    offsets = np.frombuffer(buffers[1], np.int64)[folded.offset : folded.offset + len(folded) + 1]
    data = np.frombuffer(buffers[2] or b"", np.uint8)
    size = int(offsets[-1] - offsets[0]) if len(offsets) else 0
    # No token is shorter than a byte, and a fraction's stroke and a bracket are the only ones without one of their own.
    most = size + size // 2 + len(folded) + 8
    hashes, kinds, starts, ends = (scratch or Scratch()).arrays(most)
    rows = np.zeros(len(folded) + 1, np.int64)
    count = scan_texts(data, offsets, letter_table(), *command_table(), symbols, hashes, kinds, starts, ends, rows)
    return Tokens(hashes[:count], kinds[:count], starts[:count], ends[:count], rows, data)
