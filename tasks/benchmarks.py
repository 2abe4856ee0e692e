"""Pull the benchmarks into one schema.

Reads the benchmarks that params.yaml lists, in the same forms as the sources of `pull`; a generator gives questions of
its evaluation split. Writes items.parquet (ITEM), rejected.parquet (ITEM, reason, evidence) and a manifest. An item
without a gold, or with one that is not of the kind its rules declare, cannot be scored, and one that repeats another
would count twice.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

import polars as pl
from pydantic import field_validator, model_validator

from tasks.core.errors import LimoError
from tasks.core.files import publish
from tasks.core.params import Params
from tasks.core.stage import Stage, count_reasons, stage_main, write_manifest
from tasks.grading.golds import Gold, misfit, read_gold
from tasks.grading.rules import Rules
from tasks.records.benchmark import ITEM, QUESTION_MARK, item_id
from tasks.sources.rows import SourceRow, read_source
from tasks.sources.source import BENCHMARKS, SourceParams, check_names

OPTION_LETTER = re.compile(r"^[A-J]\. ")
GOLD_COLUMNS = ("gold_kind", "gold_value", "gold_unit")
DECIDED = pl.Schema([*ITEM.items(), ("reason", pl.String()), ("evidence", pl.String())])


STAGE = Stage(
    "benchmarks",
    "items",
    {
        "empty_question": "the row has no question",
        "no_gold": "the row has no gold",
        "repeated_row": "the benchmark has the same question in an earlier row",
        "gold_not_of_kind": "its gold is not of the kind that the benchmark's rules declare",
    },
)


class BenchmarkParams(SourceParams):
    """One benchmark: a source, and how its items are graded."""

    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = BENCHMARKS

    rules: Rules = Rules()
    """How answers are graded; items whose answer is the letter of an option are of kind `choice` by themselves."""
    system: str | None = None
    """The system message of its prompts; null: that of the section `chat`. Paper: one for all."""
    prompt: str | None = None
    """The prompt, with `{question}` where the question goes; null: the question alone, as the paper does."""
    language: Literal["en", "zh"] = "en"

    @field_validator("prompt")
    @classmethod
    def _holds_the_question(cls, prompt: str | None) -> str | None:
        if prompt is not None and QUESTION_MARK not in prompt:
            raise ValueError(f"say where the question goes: a prompt needs {QUESTION_MARK}")
        return prompt


class BenchmarksParams(Params):
    """What the base and the trained model are measured on, and what the pool is kept free of."""

    suite: tuple[BenchmarkParams, ...]

    @model_validator(mode="after")
    def _names(self) -> Self:
        check_names(self.suite)
        return self


class FirstSeen(NamedTuple):
    """The first row with a question."""

    origin: str
    gold: str | None


def decide(benchmark: BenchmarkParams, rows: list[SourceRow]) -> pl.DataFrame:
    """The rows of one benchmark as items, with `reason` and `evidence` where one cannot be used."""
    seen: dict[str, FirstSeen] = {}
    decided: list[dict[str, Any]] = []
    for row in rows:
        rules = _rules(benchmark, row)
        gold = read_gold(row.answer, rules) if row.answer is not None else None
        reason, evidence = _rejection(row, seen, gold, rules)
        if reason is None:
            seen[row.question] = FirstSeen(row.origin, row.answer)
        decided.append(
            {
                "item_id": item_id(benchmark.name, _identity(benchmark, row)),
                "benchmark": benchmark.name,
                "question": row.question,
                "gold": row.answer,
                "kind": rules.text(),
                "language": benchmark.language,
                "origin": row.origin,
                "system": benchmark.system,
                "prompt": benchmark.prompt,
                **dict(zip(GOLD_COLUMNS, gold or (None,) * 3, strict=True)),
                "reason": reason,
                "evidence": evidence,
            }
        )
    return pl.DataFrame(decided, schema=DECIDED)


def _rules(benchmark: BenchmarkParams, row: SourceRow) -> Rules:
    return benchmark.rules.model_copy(update={"kind": "choice"}) if row.choice else benchmark.rules


def _identity(benchmark: BenchmarkParams, row: SourceRow) -> str:
    """What an item's id is made of: its question, with options sorted: the same for every `shuffle_seed`."""
    if not benchmark.fields.distractors:
        return row.question
    return "\n".join(sorted(OPTION_LETTER.sub("", line) for line in row.question.splitlines()))


def _rejection(
    row: SourceRow, seen: dict[str, FirstSeen], gold: Gold | None, rules: Rules
) -> tuple[str, str] | tuple[None, None]:
    if not row.question:
        return "empty_question", row.origin
    if row.answer is None:
        return "no_gold", row.cell or ""
    if row.question in seen:
        first = seen[row.question]
        other = "" if first.gold == row.answer else f", whose gold is {first.gold}, not {row.answer}"
        return "repeated_row", first.origin + other
    if gold is not None and misfit(gold, rules):
        return "gold_not_of_kind", f"{row.answer} is {gold.kind}, not {rules.kind}"
    return None, None


def run(benchmarks: BenchmarksParams, *, work: Path, out: Path) -> None:
    """Read every benchmark, in order."""
    decided, facts = [], {}
    for index, benchmark in enumerate(benchmarks.suite):
        key = f"benchmarks.suite.{index}"
        part = decide(benchmark, read_source(benchmark, "eval", key, work))
        rejected = count_reasons(part.filter(pl.col("reason").is_not_null()))
        kept = part.height - sum(rejected.values())
        if not kept:
            raise LimoError(
                f"benchmark `{benchmark.name}` has no usable item ({rejected}); see `{key}.fields` in params.yaml"
            )
        golds = _tally(part.filter(pl.col("reason").is_null())["gold_kind"])
        facts[benchmark.name] = {"items": kept, "golds": golds, "rejected": rejected} | _options(benchmark, part)
        decided.append(part)
    with publish(out) as folder:
        _write(folder, pl.concat(decided), {"benchmarks": facts})


def _options(benchmark: BenchmarkParams, decided: pl.DataFrame) -> dict[str, Any]:
    """How options were shuffled, and how often each letter is the right one."""
    if not benchmark.fields.distractors:
        return {}
    letters = _tally(decided.filter(pl.col("reason").is_null())["gold"])
    return {"shuffle_seed": benchmark.fields.shuffle_seed, "letters": letters}


def _tally(values: pl.Series) -> dict[str, int]:
    return dict(values.value_counts().sort(values.name).rows())


def _write(folder: Path, decided: pl.DataFrame, facts: dict[str, Any]) -> None:
    items = decided.filter(pl.col("reason").is_null()).select(ITEM.names())
    rejected = decided.filter(pl.col("reason").is_not_null())
    items.write_parquet(folder / "items.parquet")
    rejected.write_parquet(folder / "rejected.parquet")
    counts = count_reasons(rejected)
    write_manifest(folder, STAGE, taken=decided.height, kept=items.height, rejected=counts, facts=facts)


if __name__ == "__main__":
    stage_main(run)
