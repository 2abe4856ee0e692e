r"""Questions to measure with: the real pool, the benchmarks, and as many realistic variants as one likes.

    python -m benchmarks.pool_data [--data ../shared/data] [--rows 200000] [--joined 1] [--repeated 0] [--out FOLDER]

prints what the variants look like and how fast they are made; with --out it writes them as JSONL shards.

A variant has its numbers and names changed (equal ones alike), is typeset anew in half of the cases, and may put
one question's setting before another question's last sentence. All is drawn from a seed and the variant's place.

They are made by the hundred thousand a second, columns in, columns out: every sentence is a list of codes into one
dictionary of strings: literal text, or a slot for a number of so many digits or for a first name. A variant is a list
of sentences with every slot drawn anew.
"""

import argparse
import json
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmarks.rewrites import retypeset
from tasks.records.benchmark import ITEM, item_id
from tasks.records.question import question_id

Ints = NDArray[np.int64]

NAMES = re.findall(
    r"\w+",
    """John James Mark Tom Mary Bob Jack Bill Tim Mike Jerry Peter Sam Jason Sarah Janet Tony Matt Jim Michael Steve
    Jenny Joe Jane Billy Ben Martha Sally Carla Harry Paul Jake Anna Frank Hannah Josh Susan Lisa Emily Adam Jill Alex
    Maria Carl Jackson Karen Jacob Betty Alice Andy Nancy Max Jimmy Rachel Jeff Kim Ryan Tina George Annie Randy Amanda
    Julia Andrew Henry Ali Jessica Rick Kevin Tommy Bobby Brian Greg Marcus Jenna Thomas Kyle David Oliver Jeremy Chris
    Beth Johnny Emma Lily Fred Julie Ken Sara Roger Carrie Toby Megan Amy Jean Danny Janice Justin William Linda Rose
    Martin Grace Kelly Dave Lucy Jordan Carson Aaron Jamie Ann Carlos Gerald Carly Daniel Simon""",
)
SLOT = re.compile(rf"(\d+|\b(?:{'|'.join(NAMES)})\b)")
LATEX = re.compile(r"[\\^_]")
"""Without any of them a `$` is money."""
SENTENCE_END = re.compile(r"(?<=[.?!])\s+")
DIGITS = 4
"""Longer numbers become one of four digits."""
SIZES = (8, 90, 900, 9000, len(NAMES))
"""How many strings each kind of slot draws from: numbers of 1 to 4 digits, names."""
STARTS = np.cumsum((0, *SIZES))
"""Where they begin in the dictionary; the literals come after."""
CAPACITY = 10**9
"""Ways to fill the slots of a question, below which it is only used in part: or its variants would repeat."""
GOLDEN = 0.618
"""Multiples of this share of a range fall all over it."""
MIX = np.uint64(0x9E3779B97F4A7C15)


class Sentences(NamedTuple):
    """All sentences, flat: the tokens of sentence s are those from `start[s]` on, `length[s]` of them."""

    code: Ints
    """Of a literal its place in the dictionary; of a slot a hash of what was there."""
    kind: Ints
    """Of a slot its place in SIZES; -1 of a literal."""
    start: Ints
    length: Ints


class Chosen(NamedTuple):
    """The sentences of the rows that are made, in order."""

    row: Ints
    sentence: Ints


class Templates(NamedTuple):
    """Questions as runs of sentences: those from `start` on, `length` of them."""

    start: Ints
    length: Ints


def drawn_strings() -> list[str]:
    """What slots are filled with, in the order of STARTS."""
    numbers = [
        str(number) for low, high in ((2, 10), (10, 100), (100, 1000), (1000, 10000)) for number in range(low, high)
    ]
    return [*numbers, *NAMES]


def split_sentences(question: str) -> list[str]:
    """The sentences of a question; none ends inside a formula."""
    made: list[str] = []
    for piece in SENTENCE_END.split(question):
        if made and (made[-1].count("$") % 2 or made[-1].count("\\[") != made[-1].count("\\]")):
            made[-1] += " " + piece
        else:
            made.append(piece)
    return made


class Maker:
    """Makes variants of the given questions; the same ones for the same seed and places."""

    def __init__(self, questions: list[str], seed: int = 0) -> None:
        self.seed = seed
        texts = [text for text in questions if "[asy]" not in text]
        generator = random.Random(seed)
        texts = list(dict.fromkeys([*texts, *(retypeset(text, generator) for text in texts if LATEX.search(text))]))
        split = [split_sentences(text) for text in texts]
        self.sentences, self.strings = _tokenise([sentence for sentences in split for sentence in sentences])
        length = np.array([len(sentences) for sentences in split], dtype=np.int64)
        every = Templates(np.cumsum(length) - length, length)
        self.wholes = _chosen(every, self._capacity(every) >= CAPACITY)
        self.settings = _chosen(every, (length > 1) & _first([" ".join(sentences[:-1]) for sentences in split]))
        self.lasts = _chosen(every, _first([sentences[-1] for sentences in split]))
        assert len(self.wholes.start), "no question has numbers enough to vary"
        assert len(self.settings.start), "no question has two sentences"

    def _capacity(self, every: Templates) -> NDArray[np.float64]:
        """In how many ways the slots of each question can be filled: equal slots are filled alike."""
        made = np.ones(len(every.start))
        for place, (start, length) in enumerate(zip(*every, strict=True)):
            tokens = slice(self.sentences.start[start], _end(self.sentences, start + length - 1))
            slots = set(zip(self.sentences.kind[tokens], self.sentences.code[tokens], strict=True))
            made[place] = np.prod([float(SIZES[kind]) for kind, _ in slots if kind >= 0])
        return made

    def make(self, start: int, rows: int) -> pl.DataFrame:
        """The variants at the places from `start` on: `question`, `answer`."""
        generator = np.random.default_rng((self.seed, start))
        chosen = self._choose(start, rows, generator)
        length = self.sentences.length[chosen.sentence]
        token, owner = spans(self.sentences.start[chosen.sentence], length), np.repeat(chosen.row, length)
        codes = self._fill(token, owner, generator.integers(0, 2**63, rows, dtype=np.uint64))
        ends = np.searchsorted(owner, np.arange(rows + 1)).astype(np.int64)
        lists = pa.LargeListArray.from_arrays(pa.array(ends), self.strings.take(pa.array(codes)))
        question = pl.from_arrow(pc.binary_join(lists, ""))
        assert isinstance(question, pl.Series)
        answer = pl.Series(generator.integers(0, 1000, rows)).cast(pl.String)
        return pl.DataFrame({"question": question.str.strip_chars(), "answer": answer})

    def _choose(self, start: int, rows: int, generator: np.random.Generator) -> Chosen:
        """Whole questions at even places; at odd ones a setting before another's last sentence, no such pair twice."""
        place = np.arange(start, start + rows)
        single = place % 2 == 0
        whole = generator.integers(0, len(self.wholes.start), rows)
        lasts = len(self.lasts.start)
        pairs = len(self.settings.start) * lasts
        pair = place * _coprime(int(pairs * GOLDEN), pairs) % pairs
        setting, last = pair // lasts, pair % lasts
        first = np.where(single, self.wholes.start[whole], self.settings.start[setting])
        count = np.where(single, self.wholes.length[whole], self.settings.length[setting] - 1)
        row = np.concatenate([np.repeat(np.arange(rows), count), np.flatnonzero(~single)])
        end = (self.lasts.start + self.lasts.length - 1)[last]
        order = np.argsort(row, kind="stable")
        return Chosen(row[order], np.concatenate([spans(first, count), end[~single]])[order])

    def _fill(self, token: Ints, owner: Ints, lot: NDArray[np.uint64]) -> Ints:
        """Codes into the dictionary; equal slots of a row draw the same."""
        code, kind = self.sentences.code[token], self.sentences.kind[token]
        slot = kind >= 0
        hashed = (code[slot].astype(np.uint64) ^ lot[owner[slot]]) * MIX
        hashed = (hashed ^ (hashed >> np.uint64(29))) * MIX >> np.uint64(33)
        size = np.array(SIZES, dtype=np.uint64)[kind[slot]]
        code[slot] = STARTS[kind[slot]] + (hashed % size).astype(np.int64)
        return code


def _tokenise(sentences: list[str]) -> tuple[Sentences, pa.Array]:
    strings = {text: place for place, text in enumerate(drawn_strings())}
    known = len(strings)
    codes: list[int] = []
    kinds: list[int] = []
    lengths: list[int] = []
    for sentence in sentences:
        # Slots stand at the odd places of the split.
        pieces = SLOT.split(sentence + " ")
        for place, piece in enumerate(pieces):
            if place % 2:
                kinds.append(min(len(piece), DIGITS) - 1 if piece.isdigit() else len(SIZES) - 1)
                codes.append(hash_of(piece))
            else:
                kinds.append(-1)
                codes.append(strings.setdefault("\0" + piece, len(strings)))
        lengths.append(len(pieces))
    length = np.array(lengths, dtype=np.int64)
    flat = Sentences(np.array(codes), np.array(kinds), np.cumsum(length) - length, length)
    return flat, pa.array([text if place < known else text[1:] for text, place in strings.items()])


def hash_of(text: str) -> int:
    """A number that is the same in every process."""
    return int.from_bytes(text.encode()[:7], "little")


def _first(texts: list[str]) -> NDArray[np.bool_]:
    """Which of the texts stand for the first time, whatever is in their slots."""
    return pl.Series([SLOT.sub("0", text) for text in texts]).is_first_distinct().to_numpy()


def _chosen(templates: Templates, which: NDArray[np.bool_]) -> Templates:
    return Templates(templates.start[which], templates.length[which])


def _end(sentences: Sentences, sentence: int) -> int:
    return int(sentences.start[sentence] + sentences.length[sentence])


def _coprime(number: int, other: int) -> int:
    while np.gcd(number, other) != 1:
        number += 1
    return number


def spans(start: Ints, length: Ints) -> Ints:
    """The numbers from each start on, so many of them, one run after the other."""
    offset = np.cumsum(length) - length
    return np.arange(int(length.sum())) - np.repeat(offset, length) + np.repeat(start, length)


DATA = Path("../shared/data")
BATCH = 200_000
QUESTIONS = pl.Schema({"question_id": pl.String, "source": pl.String, "question": pl.String, "answer": pl.String})
CHINESE = ("gaokao", "grade_school_math")


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSON list or of JSON lines."""
    text = path.read_text(encoding="utf-8")
    rows = json.loads(text) if path.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    return list(rows)


def text_of(row: dict[str, Any]) -> str:
    return str(row.get("question") or row["problem"]).strip()


def real_questions(folder: Path) -> pl.DataFrame:
    """The real pool (QUESTIONS): every file of `folder`/pool, equal texts of a source once."""
    rows = []
    for path in sorted((folder / "pool").iterdir()):
        for row in read(path):
            # GSM8K's answer is a text that ends in the final one.
            answer = str(row["answer"]).rpartition("####")[2].strip()
            rows.append((question_id(path.stem, text_of(row)), path.stem, text_of(row), answer))
    return pl.DataFrame(rows, schema=QUESTIONS, orient="row").unique("question_id", keep="first", maintain_order=True)


def benchmark_items(folder: Path) -> pl.DataFrame:
    """Every file of `folder`/benchmarks as ITEM, equal texts of a benchmark once."""
    rows = []
    for path in sorted((folder / "benchmarks").iterdir()):
        language = "zh" if path.stem in CHINESE else "en"
        for line, row in enumerate(read(path), 1):
            gold = str(row.get("choice_answer") or row["answer"])
            given = item_id(path.stem, text_of(row))
            rows.append((given, path.stem, text_of(row), gold, "auto", language, f"{path.name}:{line}", *[None] * 5))
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
        # Of the batch before, so that a copy is in another shard than what it repeats; the first has none before.
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
