"""Which questions of the whole pool are the same, from a few numbers a question; texts are read only where needed.

Equal forms are exact duplicates. Near duplicates are looked for among questions whose numbers, in their order, stand in
another question too, part by part: a part holds whole blocks of equal numbers, so that no pair is torn apart.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from tasks.pool.compiled import Array
from tasks.pool.forms import without_heading
from tasks.pool.near import near_duplicates
from tasks.pool.shards import Shard, ShardsParams, Work, finish, run_shards

PART_ROWS = 65_536
"""Questions a part, about."""
PART = pl.Schema({"row": pl.Int64, "question": pl.String, "numbers": pl.UInt64, "answer_form": pl.UInt64})


class Keys(NamedTuple):
    """What the questions of the pool are compared by; one entry a question, in the pool's order."""

    usable: Array
    """bool: not rejected by itself."""
    form: Array
    """uint64; 0 for a text without a token."""
    numbers: Array
    """uint64; 0 for a text without a number."""
    answer: Array
    """uint64, the form of the answer."""


class Duplicates(NamedTuple):
    """What each question of the pool repeats; one entry a question."""

    of: Array
    """int64: the earlier question it is like, by position; -1 when there is none."""
    similarity: Array
    """float64."""
    exact: Array
    """bool: the two differ in typesetting only."""
    agrees: Array
    """bool: and have the same answer."""
    root: Array
    """int64: the first question of its cluster; itself when it is in none."""
    clustered: Array
    """bool: its cluster has two questions or more."""
    agrees_with_root: Array
    """bool."""
    disputed: Array
    """bool: in its cluster answers disagree."""


class Place(NamedTuple):
    """Where to compare part by part."""

    folder: Path
    identity: str
    shards: ShardsParams


class PartParams(NamedTuple):
    """How near is near."""

    shingle: int
    threshold: float


def find_duplicates(keys: Keys, texts: Iterable[pl.Series], near: PartParams, place: Place | None) -> Duplicates:
    """Exact and near duplicates.

    Args:
        texts: the questions, some at a time, in the pool's order.
        place: for a pool that does not fit into memory; None compares here and now.
    """
    of = _exact(keys)
    exact = of >= 0
    similarity = exact.astype(np.float64)
    among = _candidates(keys, exact)
    if among.any():
        rows, mates, share = (
            _here(keys, texts, among, near) if place is None else _parts(keys, texts, among, near, place)
        )
        of[rows], similarity[rows] = mates, share
    return _clusters(of, similarity, exact, keys.answer)


def _exact(keys: Keys) -> Array:
    """For each question: the first of the same form, -1 when that is itself."""
    rows = np.flatnonzero(keys.usable & (keys.form != 0))
    _, start, group = np.unique(keys.form[rows], return_index=True, return_inverse=True)
    first = rows[start[group]]
    of = np.full(len(keys.form), -1, np.int64)
    of[rows] = np.where(first == rows, -1, first)
    return of


def _candidates(keys: Keys, exact: Array) -> Array:
    """Nothing outside a block of two can be a near duplicate, which leaves little to compare.

    Without any number there is too little to tell a reworded question from another one ("arrange the letters of the
    word PROOF").
    """
    among: Array = keys.usable & ~exact & (keys.numbers != 0)
    _, group, count = np.unique(keys.numbers[among], return_inverse=True, return_counts=True)
    among[among] = count[group] > 1
    return among


def _here(keys: Keys, texts: Iterable[pl.Series], among: Array, near: PartParams) -> tuple[Array, ...]:
    rows = np.flatnonzero(among)
    found = near_duplicates(
        without_heading(pl.concat(texts).gather(rows)), keys.numbers[rows], keys.answer[rows], *near
    )
    hits = np.flatnonzero(found.of >= 0)
    return rows[hits], rows[found.of[hits]], found.similarity[hits]


def _parts(keys: Keys, texts: Iterable[pl.Series], among: Array, near: PartParams, place: Place) -> tuple[Array, ...]:
    count = int(among.sum()) // PART_ROWS + 1
    files = _write_parts(keys, texts, among, count, place.folder / "parts")
    work = Work("clean, near duplicates", place.folder / "found", compare_part, near, place.identity)
    done = run_shards(work, [Shard(str(file), part_content) for file in files], place.shards)
    found = pl.concat(pl.read_parquet(shard / "near.parquet") for shard in done)
    finish(place.folder / "parts")
    return found["row"].to_numpy(), found["of"].to_numpy(), found["similarity"].to_numpy()


def _write_parts(keys: Keys, texts: Iterable[pl.Series], among: Array, count: int, folder: Path) -> list[Path]:
    """Spread the candidates over `count` files by their numbers."""
    from tasks.pool.tables import TableWriter

    finish(folder)
    folder.mkdir(parents=True)
    files = [folder / f"{part:05d}.parquet" for part in range(count)]
    writers = [TableWriter(file, PART, row_group=PART_ROWS // 16) for file in files]
    start = 0
    for some in texts:
        rows = np.flatnonzero(among[start : start + len(some)])
        at = rows + start
        table = pl.DataFrame(
            {"row": at, "question": some.gather(rows), "numbers": keys.numbers[at], "answer_form": keys.answer[at]},
            schema=PART,
        )
        for (part,), own in table.group_by(pl.col("numbers") % count, maintain_order=True):
            writers[int(str(part))].add(own)
        start += len(some)
    for writer in writers:
        writer.close()
    return files


def part_content(file: str) -> bytes:
    """The part itself: it is written anew by every run."""
    return Path(file).read_bytes()


def compare_part(file: str, near: PartParams) -> dict[str, pl.DataFrame]:
    """The near duplicates of a part: `row`, `of`, `similarity`."""
    part = pl.read_parquet(file)
    found = near_duplicates(
        without_heading(part["question"]), part["numbers"].to_numpy(), part["answer_form"].to_numpy(), *near
    )
    hits = np.flatnonzero(found.of >= 0)
    rows = part["row"].to_numpy()
    return {"near": pl.DataFrame({"row": rows[hits], "of": rows[found.of[hits]], "similarity": found.similarity[hits]})}


def _clusters(of: Array, similarity: Array, exact: Array, answer: Array) -> Duplicates:
    found, own = of >= 0, np.arange(len(of))
    agrees = answer == answer[np.where(found, of, own)]
    gone = found & (exact | agrees)
    while (found & gone[of]).any():
        # What goes for an earlier question goes for the one that stays.
        of = np.where(found & gone[of], of[of], of)
    root = np.where(found, of, own)
    while True:
        # What a question is like may itself be like an earlier one, which stays for its other answer.
        above = np.where(found[root], of[root], root)
        if (above == root).all():
            break
        root = above
    clustered = found.copy()
    clustered[root[found]] = True
    agrees_with_root = answer == answer[root]
    disputed = np.zeros(len(of), np.bool_)
    disputed[root[~agrees_with_root]] = True
    disputed = disputed[root]
    return Duplicates(of, similarity, exact, agrees, root, clustered, agrees_with_root, disputed)
