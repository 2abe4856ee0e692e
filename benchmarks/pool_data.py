r"""Questions to measure with: the real pool, the benchmarks, and as many realistic variants as one likes.

    python -m benchmarks.pool_data [--data ../shared/data] [--rows 200000] [--joined 1] [--repeated 0] [--out FOLDER]

prints what the variants look like and how fast they are made; with --out it writes them as JSONL shards.

A variant has its numbers and names changed (equal ones alike), is typeset anew in half of the cases, and may put
one question's setting before another question's last sentence. All is drawn from a seed and the variant's place.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from benchmarks.variants import MIX, Maker
from tasks.records.benchmark import ITEM, item_id
from tasks.records.question import question_id

DATA = Path("../shared/data")
BATCH = 200_000
QUESTIONS = pl.Schema({"question_id": pl.String, "source": pl.String, "question": pl.String, "answer": pl.String})
CHINESE = ("gaokao", "grade_school_math")


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON list or of JSON lines."""
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    return list(rows)


def asked(row: dict[str, Any]) -> str:
    return str(row.get("question") or row["problem"]).strip()


def real_questions(folder: Path) -> pl.DataFrame:
    """The real pool (QUESTIONS): every file of `folder`/pool, equal texts of a source once."""
    rows = []
    for path in sorted((folder / "pool").iterdir()):
        for row in read(path):
            # GSM8K's answer is a text that ends in the final one.
            answer = str(row["answer"]).rpartition("####")[2].strip()
            rows.append((question_id(path.stem, asked(row)), path.stem, asked(row), answer))
    return pl.DataFrame(rows, schema=QUESTIONS, orient="row").unique("question_id", keep="first", maintain_order=True)


def benchmark_items(folder: Path) -> pl.DataFrame:
    """Every file of `folder`/benchmarks as ITEM, equal texts of a benchmark once."""
    rows = []
    for path in sorted((folder / "benchmarks").iterdir()):
        language = "zh" if path.stem in CHINESE else "en"
        for line, row in enumerate(read(path), 1):
            gold = str(row.get("choice_answer") or row["answer"])
            given = item_id(path.stem, asked(row))
            rows.append((given, path.stem, asked(row), gold, "auto", language, f"{path.name}:{line}", *[None] * 5))
    return pl.DataFrame(rows, schema=ITEM, orient="row").unique("item_id", keep="first", maintain_order=True)


class Shape(NamedTuple):
    """What the variants of a pool are to be like."""

    joined: int = 1
    """Variants written one after the other into one question: 2 makes texts of twice the length."""
    repeated: float = 0.0
    """Share of the variants that say what an earlier one said: other spaces, case and LaTeX, the same answer."""


PLAIN = Shape()


def batches(real: pl.DataFrame, rows: int, seed: int = 0, shape: Shape = PLAIN) -> Iterator[pl.DataFrame]:
    """`rows` questions (QUESTIONS) in frames of at most 200,000: the real ones first, then variants of them."""
    maker = Maker(real["question"].to_list(), seed)
    yield real.head(rows)
    before = None
    for start in range(0, rows - real.height, BATCH):
        made = _joined(maker, start, min(BATCH, rows - real.height - start), shape.joined)
        # Of the batch before, so that a copy stands in another shard than what it repeats; the first has none before.
        many = int(made.height * shape.repeated)
        copies = _retyped(made.slice(many, many) if before is None else before.head(many))
        before = made
        made = pl.concat([made.head(made.height - copies.height), copies])
        yield made.select(ids(start, made.height), pl.lit("made").alias("source"), "question", "answer")


def ids(start: int, rows: int) -> pl.Series:
    """A `question_id` for each place from `start` on, none twice and in the form of a real one."""
    # An odd factor, so that no two places get the same number.
    numbers = np.arange(start + 1, start + rows + 1, dtype=np.uint64) * MIX
    digits = np.frombuffer(numbers.tobytes().hex().encode(), "S16").astype(str)
    return ("q_" + pl.Series(digits)).alias("question_id")


def _joined(maker: Maker, start: int, rows: int, joined: int) -> pl.DataFrame:
    single = maker.make(start * joined, rows * joined)
    texts = [single["question"].gather_every(joined, offset) for offset in range(joined)]
    return pl.select(pl.concat_str(texts, separator=" ").alias("question"), single["answer"].gather_every(joined))


def _retyped(made: pl.DataFrame) -> pl.DataFrame:
    text = (
        pl.col("question").str.replace_all("\\frac", "\\dfrac", literal=True).str.replace_all(" ", "  ", literal=True)
    )
    return made.with_columns(text.str.to_lowercase())


def variants(real: pl.DataFrame, rows: int, seed: int = 0, shape: Shape = PLAIN) -> pl.DataFrame:
    """`batches`, in one frame."""
    return pl.concat(batches(real, rows, seed, shape))


def write_shards(folder: Path, real: pl.DataFrame, rows: int, seed: int = 0, shape: Shape = PLAIN) -> list[Path]:
    """`rows` questions as JSONL files (`question`, `answer`), one a batch, in bounded memory."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, batch in enumerate(batches(real, rows, seed, shape)):
        paths.append(folder / f"questions-{number:05d}.jsonl")
        batch.select("question", "answer").write_ndjson(paths[-1])
    return paths


def mean_chars(questions: pl.DataFrame) -> float:
    return float(questions["question"].str.len_chars().sum() / questions.height)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with pool/ and benchmarks/")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--joined", type=int, default=1, help="variants a question: 2 gives texts of twice the length")
    parser.add_argument("--out", type=Path, help="write JSONL shards here")
    parser.add_argument("--repeated", type=float, default=0.0, help="share of the variants that repeat an earlier one")
    options = parser.parse_args()
    shape = Shape(options.joined, options.repeated)
    real = real_questions(options.data)
    print(f"real: {real.height} questions of {mean_chars(real):.0f} characters on average")
    started = time.perf_counter()
    if options.out:
        write_shards(options.out, real, options.rows, shape=shape)
    else:
        made = variants(real, options.rows, shape=shape)
        print(f"made: {mean_chars(made):.0f} characters, {made['question'].n_unique()} different")
        for question in made["question"].sample(5, seed=1):
            print("  -", " ".join(question.split()))
    print(f"{options.rows} questions in {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
