"""N-gram overlap with the benchmarks, on columns: every n-gram is one 64-bit number, found by a join.

An n-gram that many items share ("find the number of ordered pairs of positive") says nothing about leakage: it can be
left out as boilerplate. How much of a text must be shared is measured on the n-grams that remain, against the shorter
of the two texts, so that a longer question around an item is found as well as a part of one. A text shorter than n
words has no n-gram; it is compared whole, and so is every other text: an equal one is always a hit.
"""

from typing import NamedTuple

import polars as pl

from tasks.pool.text import plain, words

FACTOR = 0x9E3779B97F4A7C15
CHUNK = 20_000
HITS = {"question_id": pl.String, "item_id": pl.String, "rule": pl.String, "match": pl.String, "share": pl.Float64}


class Index(NamedTuple):
    """The benchmarks, ready to be matched against."""

    n: int
    grams: pl.DataFrame
    """`gram`, `item_id`: the distinct n-grams of each item, without boilerplate."""
    sizes: pl.DataFrame
    """`item_id`, `item_size`: how many of those it has."""
    boilerplate: pl.DataFrame
    """`gram`: those left out."""
    wholes: pl.DataFrame
    """`whole`, `item_id`: each whole text, the first item where several are equal."""


def build(items: pl.DataFrame, n: int, boilerplate_items: int | None) -> Index:
    """Index the items (`item_id`, `question`).

    Args:
        boilerplate_items: an n-gram of more different items than this is left out; None leaves out nothing.
    """
    worded = _worded(items.select(pl.col("item_id").alias("id"), "question"))
    every = _grams(worded, n).select("gram", pl.col("id").alias("item_id")).unique(maintain_order=True)
    many = every.group_by("gram").len().filter(pl.col("len") > (boilerplate_items or items.height))
    grams = every.join(many, on="gram", how="anti", maintain_order="left")
    sizes = grams.group_by("item_id").len("item_size")
    wholes = worded.select(_whole(), pl.col("id").alias("item_id")).filter(pl.col("whole") != "")
    return Index(n, grams, sizes, many.select("gram"), wholes.unique("whole", keep="first", maintain_order=True))


def find(questions: pl.DataFrame, index: Index, min_share: float) -> pl.DataFrame:
    """At most one hit a question (`question_id`, `question`): the item that it shares most with.

    Args:
        min_share: smallest share of the shorter text's n-grams; 0 makes a single common n-gram a hit.
    """
    chunks = [_find(chunk, index, min_share) for chunk in questions.iter_slices(CHUNK)]
    return pl.concat(chunks) if chunks else pl.DataFrame(schema=HITS)


def _find(questions: pl.DataFrame, index: Index, min_share: float) -> pl.DataFrame:
    worded = _worded(questions.select(pl.col("question_id").alias("id"), "question"))
    equal = worded.select("id", _whole()).join(index.wholes, on="whole", maintain_order="left")
    equal = equal.select(
        "id", "item_id", pl.lit("whole").alias("rule"), pl.col("whole").alias("match"), pl.lit(1.0).alias("share")
    )
    rest = worded.join(equal, on="id", how="anti", maintain_order="left")
    hits = pl.concat([equal, _overlaps(rest, index, min_share)])
    return hits.rename({"id": "question_id"})


def _overlaps(worded: pl.DataFrame, index: Index, min_share: float) -> pl.DataFrame:
    grams = _grams(worded, index.n)
    shared = grams.join(index.grams, on="gram", maintain_order="left")
    touched = grams.join(shared.select("id").unique(), on="id", how="semi")
    own = (
        touched.join(index.boilerplate, on="gram", how="anti")
        .group_by("id")
        .agg(pl.col("gram").n_unique().alias("size"))
    )
    counts = shared.group_by("id", "item_id", maintain_order=True).agg(
        pl.col("gram").n_unique().alias("common"), pl.col("at").first()
    )
    smaller = pl.min_horizontal("size", "item_size")
    scored = (
        counts.join(own, on="id")
        .join(index.sizes, on="item_id")
        .with_columns((pl.col("common") / smaller).alias("share"))
    )
    best = scored.filter(pl.col("share") >= min_share).sort(
        "share", "common", "item_id", descending=[True, True, False]
    )
    best = best.unique("id", keep="first", maintain_order=True).join(worded, on="id")
    match = pl.col("words").list.slice(pl.col("at"), index.n).list.join(" ").alias("match")
    return best.select("id", "item_id", pl.lit("ngram").alias("rule"), match, "share")


def _worded(texts: pl.DataFrame) -> pl.DataFrame:
    return texts.select("id", words(plain(pl.col("question"))).alias("words"))


def _whole() -> pl.Expr:
    return pl.col("words").list.join(" ").alias("whole")


def _grams(worded: pl.DataFrame, n: int) -> pl.DataFrame:
    """Every n-gram as `gram`, with the `id` of its text and its first word's position `at`."""
    long = worded.filter(pl.col("words").list.len() >= n)
    at = pl.int_ranges(pl.col("words").list.len(), dtype=pl.UInt32).alias("at")
    flat = long.select(pl.int_range(pl.len(), dtype=pl.UInt32).alias("row"), at, "words").explode("at", "words")
    flat = flat.select("row", "at", pl.col("words").hash(seed=0).alias("word"))
    gram = pl.col("word")
    for offset in range(1, n):
        # Wraps modulo 2^64, as a polynomial hash should.
        gram = gram * pl.lit(FACTOR, dtype=pl.UInt64) + pl.col("word").shift(-offset)
    inside = pl.col("row").shift(-(n - 1)) == pl.col("row")
    rolled = flat.select("row", "at", gram.alias("gram"), inside.alias("inside")).filter("inside")
    return rolled.select(long["id"].gather(rolled["row"]), "at", "gram")
