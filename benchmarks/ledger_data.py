"""Responses to measure the ledger with: as many as one likes, the same each time."""

import random
import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.pool_data import real_questions
from tasks.engines.params import SamplingParams
from tasks.engines.protocol import make_request
from tasks.records.response import Response

MODEL = "m_" + "0" * 16
SAMPLES = 32
SAMPLING = SamplingParams(temperature=0.6)


class Maker:
    """Prompts and responses out of the sentences of real questions: they compress as mathematical prose does."""

    def __init__(self, data: Path) -> None:
        """Read the questions under `data`/pool."""
        questions = real_questions(data)["question"].to_list()
        self._sentences = [one for question in questions for one in re.split(r"(?<=[.?!])\s+", question) if one]

    def text(self, draw: random.Random, length: int) -> str:
        """Sentences with a number each, about `length` characters."""
        parts: list[str] = []
        size = 0
        while size < length:
            parts.append(f"{draw.choice(self._sentences)} So {draw.randrange(100_000)}.")
            size += len(parts[-1]) + 1
        return " ".join(parts)

    def prompt(self, question: int) -> str:
        """The prompt of a question, by number."""
        asked = self.text(random.Random(question), 200)
        return f"<|im_start|>system\nPlease reason step by step.<|im_end|>\n<|im_start|>user\n{asked}<|im_end|>\n"

    def responses(self, rows: int, low: int = 300, high: int = 1300) -> Iterator[Response]:
        """As many responses, SAMPLES a question, of `low` to `high` characters and a little more."""
        draw = random.Random(7)
        for row in range(rows):
            request = make_request(MODEL, self.prompt(row // SAMPLES), SAMPLING, row % SAMPLES)
            body = self.text(draw, draw.randrange(low, high))
            yield request.finish(body, "stop", 120, len(body) // 3, 4.2, -91.5, "vllm 0.32.0 cpu bfloat16")
