r"""LaTeX commands that only set type, or have several names for one meaning; every other is a word of its own."""

import functools

import numpy as np

WORDS, SKIP, TEXT, ENVIRONMENT, FRACTION, ALIAS, BINARY, SIGN = range(8)
"""What the scanner does: take the name as a word; nothing; read the group as plain text; leave the group out; put a
stroke between two groups; take another name; take an operator; take a sign that n-grams leave out."""

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
SEED, PRIME, MIX = 0xCBF29CE484222325, 0x9FB21C651E98DF25, 0xFF51AFD7ED558CCD
WRAP, EQUALS = (1 << 64) - 1, 0x2545F4914F6CDD1D


def hash_name(name: str) -> int:
    """As the scanner hashes a word: eight bytes at a time, after a leading 1."""
    value, packed = SEED, 1
    for byte in name.encode():
        if packed >> 56:
            value, packed = ((value ^ packed) * PRIME) & WRAP, 1
        packed = (packed << 8) | byte
    return ((value ^ packed) * PRIME) & WRAP


def mixed(value: int) -> int:
    """As the scanner spreads a token's hash over all bits."""
    value ^= value >> 32
    value = (value * MIX) & WRAP
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
    value = mixed(((SEED ^ ord(sign[0])) * PRIME) & WRAP)
    return value ^ EQUALS if len(sign) == 2 else value
