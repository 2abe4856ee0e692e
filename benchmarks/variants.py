"""Variants of real questions, made by the hundred thousand a second: columns in, columns out.

Every sentence is a list of codes into one dictionary of strings: literal text, or a slot for a number of so many digits
or for a first name. A variant is a list of sentences with every slot drawn anew.
"""

import random
import re
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmarks.rewrites import retypeset

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
    """Of a literal its place in the dictionary; of a slot a hash of what stood there."""
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
