"""What a filter is: rows taken, each kept or rejected for a reason with its evidence, and a manifest with the counts.

A filter that looks at each row by itself is a `Filter`, in a module of its own: params, `decide`, its reasons in words.
One that compares rows with each other, or samples a model, decides in its own way and writes by `FilterWriter` or
`write_filter`.
"""

import importlib
import inspect
import sys
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from tasks.core.errors import LimoError
from tasks.core.files import publish
from tasks.core.params import Params
from tasks.core.shards import Job, ShardsParams, exclusive, run_shards, shards_digest
from tasks.core.stage import Stage, command_line, count_reasons, write_manifest
from tasks.core.tables import Group, TableWriter, read_group, row_groups

WHY = {"reason": pl.String(), "evidence": pl.String()}


class Rule(NamedTuple):
    """A reason to reject: when it holds, and what shows it."""

    reason: str
    holds: pl.Expr
    evidence: pl.Expr


def reject(rows: pl.DataFrame, rules: Sequence[Rule]) -> pl.DataFrame:
    """The rows with `reason` and `evidence` of the first rule that holds; null where none does."""
    return rows.with_columns(
        pl.coalesce([pl.when(rule.holds).then(pl.lit(rule.reason)) for rule in rules]).alias("reason"),
        pl.coalesce([pl.when(rule.holds).then(rule.evidence.fill_null("")) for rule in rules]).alias("evidence"),
    )


class FilterWriter:
    """Writes `kept.parquet`, `rejected.parquet` and the manifest of a filter whose rows come in parts."""

    def __init__(self, folder: Path, stage: Stage, schema: Mapping[str, Any], takes: Path | None = None) -> None:
        """`schema`: of the kept rows; rejected ones have `reason` and `evidence` too.

        Args:
            takes: the table whose rows are filtered; None: they come from outside.
        """
        self._folder, self._stage, self._takes = folder, stage, takes
        self.kept = TableWriter(folder / "kept.parquet", schema)
        self.rejected = TableWriter(folder / "rejected.parquet", {**schema, **WHY})
        self.sources: dict[str, Counter[str]] = {}
        """Of each source, in their order: rows per reason, `kept` for those without."""
        self._reasons: Counter[str] = Counter()

    def add(self, decided: pl.DataFrame) -> None:
        """Append rows with the columns `reason` (null: kept) and `evidence`."""
        rejected = decided.filter(pl.col("reason").is_not_null())
        self.kept.add(decided.filter(pl.col("reason").is_null()))
        self.rejected.add(rejected)
        self._reasons.update(count_reasons(rejected))
        if "source" in decided.columns:
            counts = decided.group_by("source", pl.col("reason").fill_null("kept"), maintain_order=True).len()
            for source, reason, count in counts.iter_rows():
                self.sources.setdefault(source, Counter())[reason] += count

    def close(self, facts: Mapping[str, Any] | None = None) -> None:
        """Write the rest, and the manifest; where rows have a `source`, its facts hold the counts of each source.

        Raises:
            LimoError: no row is kept; names the stage and how many each reason dropped.
        """
        self.kept.close()
        self.rejected.close()
        name, taken = self._stage.name, self.kept.height + self.rejected.height
        if not self.kept.height:
            ordered = sorted(self._reasons.items(), key=lambda item: (-item[1], item[0]))
            dropped = ", ".join(f"{count} {reason}" for reason, count in ordered) or "its input is empty"
            raise LimoError(
                f"{name}: no row is left of {taken} ({dropped}); loosen the section `{name}` of params.yaml"
            )
        sources = {"sources": self.sources} if self.sources else {}
        write_manifest(
            self._folder,
            self._stage,
            takes=self._takes,
            taken=taken,
            kept=self.kept.height,
            rejected=self._reasons,
            facts={**sources, **(facts or {})},
        )


def write_filter(
    folder: Path, stage: Stage, decided: pl.DataFrame, takes: Path, facts: Mapping[str, Any] | None = None
) -> None:
    """Write a filter whose rows are all there, as FilterWriter does.

    Args:
        decided: every row taken, with `reason` (null: kept) and `evidence` (what the reason rests on).
        takes: the table whose rows were filtered.

    Raises:
        LimoError: no row is kept.
    """
    writer = FilterWriter(folder, stage, decided.drop("reason", "evidence").schema, takes)
    writer.add(decided)
    writer.close(facts)


class Filter(NamedTuple):
    """A filter that looks at each row by itself: all that a new one needs beside its entry in dvc.yaml."""

    decide: Callable[[pl.DataFrame, Any], pl.DataFrame]
    """Rows, and params of the type of its second parameter, to the rows with `reason` (null: kept) and `evidence`. It
    is given a shard at a time, in several processes, so it is a function of a module."""
    takes: pl.Schema
    keeps: pl.Schema
    unit: str
    """What a row is: `questions`, `chains`, ...; also the option that names the table it takes."""
    reasons: Mapping[str, str]
    """Reason -> what it means, in words."""

    @property
    def stage(self) -> Stage:
        """Named after the module that `decide` is in."""
        return Stage(self.decide.__module__.rpartition(".")[2], self.unit, self.reasons)

    @property
    def sections(self) -> dict[str, type[Params]]:
        """The sections of params.yaml that it reads."""
        hints = typing.get_type_hints(self.decide)
        _, params = inspect.signature(self.decide).parameters
        return {self.stage.name: hints[params], "shards": ShardsParams}

    def main(self) -> None:
        """Its command line: `--UNIT TABLE --out FOLDER`."""
        spec = sys.modules["__main__"].__spec__
        # What was defined in `__main__` cannot be sent to another process.
        own: Filter = importlib.import_module(spec.name).FILTER if spec is not None else self
        command_line(own.run, own.sections, [own.unit, "out"], inspect.getmodule(own.decide))

    def run(self, params: Params, shards: ShardsParams, *, out: Path, **table: Path) -> None:
        """Filter the table given by the name of the unit, shard by shard."""
        (path,) = table.values()
        with exclusive(out):
            # A filter may import from any folder.
            code = map(str, Path(__file__).parents[1].rglob("*.py"))
            digest = shards_digest(*code, inspect.getfile(self.decide), params=params)
            job = Job(self.stage.name, out / ".shards", _decide_group, (self.decide, params), digest)
            done = run_shards(job, row_groups(path, self.takes), shards)
            with publish(out) as folder:
                writer = FilterWriter(folder, self.stage, self.keeps, path)
                for shard in done:
                    writer.add(pl.read_parquet(shard / "rows.parquet"))
                writer.close()


def _decide_group(
    group: Group, how: tuple[Callable[[pl.DataFrame, Any], pl.DataFrame], Params]
) -> dict[str, pl.DataFrame]:
    decide, params = how
    return {"rows": decide(read_group(group), params)}
