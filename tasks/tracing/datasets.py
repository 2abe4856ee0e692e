"""The run's data sets as MLflow knows them: name, digest, rows, columns, where they lie.

The records stay where they are; `mlflow.data.from_polars` would read a pool of ten million questions to count its rows.
"""

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import polars as pl

from tasks.files import read_table
from tasks.records.benchmark import ITEM
from tasks.records.ids import content_id

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

CONTEXT = "mlflow.data.context"
_TYPES = {pl.String: "string", pl.Int64: "long", pl.Float64: "double", pl.Boolean: "boolean"}


class DataSet(NamedTuple):
    """A table that a stage takes in."""

    name: str
    digest: str
    path: Path
    rows: int
    context: str

    def entity(self) -> "DatasetInput":
        """As MLflow logs it."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        schema = pl.read_parquet_schema(self.path)
        columns = [{"name": name, "type": _mlflow_type(kind)} for name, kind in schema.items()]
        dataset = Dataset(
            name=self.name,
            digest=self.digest,
            source_type="local",
            source=json.dumps({"uri": str(self.path.resolve())}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps({"num_rows": self.rows}),
        )
        return DatasetInput(dataset, [InputTag(CONTEXT, self.context)])


def file_set(name: str, path: Path, context: str) -> DataSet:
    """A whole file, known by its MD5, which is what dvc.lock calls it by."""
    return DataSet(name, md5(path), path, pl.scan_parquet(path).select(pl.len()).collect().item(), context)


def md5(path: Path) -> str:
    """A file's MD5 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def benchmark_sets(items: Path) -> list[DataSet]:
    """One data set a benchmark, known by the ids of its items."""
    table = read_table(items, {name: ITEM[name] for name in ("item_id", "benchmark")})
    return [
        DataSet(str(name), content_id("d", *sorted(group["item_id"])), items, group.height, "evaluation")
        for (name,), group in table.group_by("benchmark", maintain_order=True)
    ]


def _mlflow_type(kind: pl.DataType) -> str:
    return next((name for known, name in _TYPES.items() if kind == known), "string")
