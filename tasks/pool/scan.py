r"""Question text as tokens, in one pass over its bytes: the words, numbers and operators that typesetting hides.

`$x^{2}+1$`, `x^2 + 1` and `x² + 1` give the same tokens, and so do `\frac{1}{2}`, `\dfrac12` and `1/2`. Words are lower
case, a Chinese character is a word of its own, a number is whole (`1,000` is `1000`), LaTeX commands lose their
backslash, what only sets type (`\left`, `$`, `\,`, `\text`) is gone. Brackets are kept apart as symbols: n-grams leave
them out, and the canonical form of `clean` needs them. Braces around several tokens count as brackets.

Compiled by numba: over 100 MB of text a second on one core, where regular expressions manage five.
"""

from typing import NamedTuple

import numpy as np
import polars as pl

from tasks.pool.commands import command_table
from tasks.pool.compiled import Array
from tasks.pool.letters import fold, letter_table
from tasks.pool.scan_loop import scan_texts
from tasks.pool.tokens import NOTHING, NUMBER, OPERATOR, SYMBOL, VARIABLE, WORD

__all__ = ["NOTHING", "NUMBER", "OPERATOR", "SYMBOL", "VARIABLE", "WORD", "Scratch", "Tokens", "scan"]


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
    """uint8: the texts as UTF-8, folded (see `letters.fold`)."""

    def text(self, first: int, last: int) -> str:
        """What stands from token `first` to token `last`, both included."""
        return self.data[self.starts[first] : self.ends[last]].tobytes().decode("utf-8", "replace")


class Scratch:
    """Memory that one scan after another may use, so that it is not asked for anew each time."""

    def __init__(self) -> None:
        """Nothing is held yet."""
        self._arrays: tuple[Array, ...] = ()

    def arrays(self, room: int) -> tuple[Array, ...]:
        """Hashes, kinds, starts and ends, with room for so many tokens."""
        if not self._arrays or len(self._arrays[0]) < room:
            self._arrays = tuple(np.empty(room, kind) for kind in (np.uint64, np.uint8, np.int32, np.int32))
        return self._arrays


def scan(texts: pl.Series, symbols: bool = False, scratch: Scratch | None = None) -> Tokens:
    """The tokens of every text; a null is an empty text.

    Args:
        symbols: with brackets and other signs, or without.
        scratch: where the tokens are put; they are lost with the next scan that is given the same.
    """
    import pyarrow as pa

    folded = fold(texts.fill_null("")).to_arrow().cast(pa.large_string())
    buffers = folded.buffers()
    offsets = np.frombuffer(buffers[1], np.int64)[folded.offset : folded.offset + len(folded) + 1]
    data = np.frombuffer(buffers[2] or b"", np.uint8)
    size = int(offsets[-1] - offsets[0]) if len(offsets) else 0
    # No token is shorter than a byte, and a fraction's stroke and a bracket are the only ones without one of their own.
    room = size + size // 2 + len(folded) + 8
    hashes, kinds, starts, ends = (scratch or Scratch()).arrays(room)
    rows = np.zeros(len(folded) + 1, np.int64)
    count = scan_texts(data, offsets, letter_table(), *command_table(), symbols, hashes, kinds, starts, ends, rows)
    return Tokens(hashes[:count], kinds[:count], starts[:count], ends[:count], rows, data)
