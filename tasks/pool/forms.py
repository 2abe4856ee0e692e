"""What tells whether two questions are the same: their form, their numbers, and their answer's form, as hashes."""

import numpy as np
import polars as pl

from tasks.pool.compiled import Array, Number, jit
from tasks.pool.grams import FACTOR, whole_hashes
from tasks.pool.scan import NUMBER, scan

HEADING = (
    r"(?i)^\s*(?:(?:example|problem|question|exercise|task|ex|no|例|题|第)\s*\.?\s*№?\s*\d+(?:[.\-]\d+)*\s*(?:题)?[.):：、]?"
    r"|[(\[]\d{1,4}[)\]]|№?\s*\d{1,4}(?:\.\d{1,4})*(?:[.)]\s|、))\s*(?:[(\[（]\s*\d+\s*(?:points?|marks?|分)\s*[)\]）])?\s*"
)
"""`Example 5.`, `3. (10 points)`, `12.4.`, `[7]`, `例3`: where a question stood, which is no part of it."""


def without_heading(texts: pl.Series) -> pl.Series:
    """The texts without the enumerator that stands before them, if anything is left."""
    rest = texts.str.replace(HEADING, "")
    return rest.zip_with(rest.str.contains(r"\p{L}"), texts)


def forms(texts: pl.Series) -> pl.DataFrame:
    """`form`: equal when only typesetting differs, and `numbers`: of the numbers in their order, 0 for none; UInt64."""
    tokens = scan(texts, symbols=True)
    return pl.DataFrame(
        {
            "form": whole_hashes(tokens.hashes, tokens.rows),
            "numbers": number_hashes(tokens.hashes, tokens.kinds, tokens.rows),
        },
        schema={"form": pl.UInt64, "numbers": pl.UInt64},
    )


@jit
def number_hashes(hashes: Array, kinds: Array, rows: Array) -> Number:
    """The hash of each text's numbers in their order (uint64, one a text); 0 for a text without any."""
    out = np.zeros(len(rows) - 1, np.uint64)
    for row in range(len(rows) - 1):
        value = np.uint64(0)
        for at in range(rows[row], rows[row + 1]):
            if kinds[at] == NUMBER:
                value = value * FACTOR + hashes[at]
        out[row] = value
    return out
