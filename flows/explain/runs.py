"""`limo compare`: which questions two runs answer differently, and whether the runs differ at all.

A run is a folder, a git revision, an MLflow run, or a version of a registered model. A revision has a dvc.lock and an
MLflow run a tag, which give the digests of the run's tables; those lead to DVC's cache, or to its remote. Nothing is
checked out, and the working tree stays as it is.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import yaml

from tasks.core.errors import LimoError
from tasks.core.files import one_line, read_table
from tasks.provenance.mlflow_run import COMPARED, PARENT, STAGE, STATE, TABLES
from tasks.records.benchmark import ANSWER, ITEM, VERDICT
from tasks.scoring.statistics import Comparison, compare
from tasks.tracking.store import git, mlflow_client

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


ARTIFACTS = Path("artifacts")
MODEL = "models:/"


class RunTables(NamedTuple):
    """Where the tables lie that two runs are compared by."""

    verdicts: Path
    items: Path
    answers: Path


def find_run(name: str) -> RunTables:
    """The tables of the run that is called `name`.

    A folder is looked for first, then a git revision, then MLflow, which takes seconds to open.

    Raises:
        LimoError: nothing is called so, or DVC does not have its tables.
    """
    folder = Path(name)
    if (folder / COMPARED["verdicts"]).exists():
        return RunTables(**{table: folder / path for table, path in COMPARED.items()})
    digests = _revision_digests(name) or _mlflow_digests(name)
    if digests is not None:
        return _cached_tables(name, digests)
    if folder.is_dir():
        raise LimoError(f"{name}: no {folder / COMPARED['verdicts']}; give the artifacts folder of a run")
    raise LimoError(
        f"{name}: no artifacts folder, git revision, or MLflow run (id or name) is called so; a registered model is "
        f"{MODEL}NAME@ALIAS"
    )


def _revision_digests(name: str) -> dict[str, str] | None:
    """The digests in the dvc.lock of a git revision; None where git knows none of this name."""
    commit = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if commit is None:
        return None
    text = git("show", f"{commit}:./dvc.lock")
    if text is None:
        raise LimoError(
            f"{name}: git commit {commit[:10]} has no dvc.lock; commit dvc.lock after a run to compare by it"
        )
    try:
        outs = [out for stage in yaml.safe_load(text)["stages"].values() for out in stage.get("outs", [])]
        known = {out["path"]: out["md5"] for out in outs if "md5" in out}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        raise LimoError(f"{name}: the dvc.lock of git commit {commit[:10]} is not one that DVC wrote") from None
    paths = {table: (ARTIFACTS / path).as_posix() for table, path in COMPARED.items()}
    lacking = [path for path in paths.values() if path not in known]
    if lacking:
        raise LimoError(
            f"{name}: the dvc.lock of git commit {commit[:10]} has no {lacking[0]}; its run was not finished"
        )
    return {table: known[path] for table, path in paths.items()}


def _mlflow_digests(name: str) -> dict[str, str] | None:
    """The digests in the tag of a run in MLflow; None where there is no such run, or no store."""
    if not os.environ.get("MLFLOW_TRACKING_URI") and not (ARTIFACTS / "mlflow" / "mlflow.db").exists():
        return None
    with mlflow_client(ARTIFACTS) as client:
        run = _run_of_version(client, name) if name.startswith(MODEL) else _mlflow_run(client, name)
    if run is None:
        return None
    if TABLES not in run.data.tags:
        raise LimoError(
            f"{name}: MLflow run {run.info.run_id} has no tag {TABLES}; "
            "`dvc repro -f -s lineage`, with its artifacts in place, adds it"
        )
    digests: dict[str, str] = json.loads(run.data.tags[TABLES])
    return digests


def _mlflow_run(client: "MlflowClient", name: str) -> "Run | None":
    """The parent run of an id (of it or of a stage's run) or of a name."""
    from mlflow import MlflowException

    if re.fullmatch("[0-9a-f]{32}", name):
        try:
            run = client.get_run(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return None
        return client.get_run(run.data.tags.get("mlflow.parentRunId", name))
    return _only(name, _parent_runs(client, f"attributes.run_name = '{name}'")) if "'" not in name else None


def _run_of_version(client: "MlflowClient", name: str) -> "Run":
    """The parent run that trained a version: models:/NAME@ALIAS or models:/NAME/NUMBER."""
    model, at, alias = name.removeprefix(MODEL).rpartition("@")
    if at:
        version = client.get_model_version_by_alias(model, alias)
    else:
        model, _, number = alias.rpartition("/")
        version = client.get_model_version(model, number)
    found = _only(name, _parent_runs(client, f"tags.`{STATE}` = '{version.tags.get('state', '')}'"))
    if found is None:
        raise LimoError(f"{name}: version {version.version} is there, the MLflow run that it came from is not")
    return found


def _parent_runs(client: "MlflowClient", which: str) -> list["Run"]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, f"{which} and tags.`{STAGE}` = '{PARENT}'"))


def _only(name: str, runs: list["Run"]) -> "Run | None":
    if len(runs) > 1:
        listed = ", ".join(run.info.run_id for run in runs)
        raise LimoError(f"{name}: {len(runs)} MLflow runs have this name; give the id of one: {listed}")
    return runs[0] if runs else None


def _cached_tables(name: str, digests: Mapping[str, str]) -> RunTables:
    """The tables of these digests in DVC's cache; what is not there is fetched from its remote.

    Raises:
        LimoError: one is in neither.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc_data.hashfile.hash_info import HashInfo

    why = "the remote has none either"
    try:
        with Repo() as repo:
            paths = {table: Path(repo.cache.local.oid_to_path(digest)) for table, digest in digests.items()}
            lacking = [digests[table] for table, path in paths.items() if not path.exists()]
            if lacking:
                repo.cloud.pull([HashInfo("md5", digest) for digest in lacking])
    except DvcException as error:
        why = one_line(error)
        paths = {}
    lost = [path for table, path in COMPARED.items() if table not in paths or not paths[table].exists()]
    if lost:
        raise LimoError(f"{name}: DVC's cache does not have its {lost[0]} ({why})")
    return RunTables(**paths)


ARMS = ("trained", "base")
END = 400
"""Characters of the end of a response that are printed."""
SHOWN = ("extracted", "verdict", "verdict_reason", "finish_reason", "response_id")


FLIPPED = pl.Schema(
    {
        **dict.fromkeys(("benchmark", "item_id", "question", "gold"), pl.String),
        **dict.fromkeys(("left", "right"), pl.Float64),
        **{f"{side}_{name}": pl.String for side in ("left", "right") for name in (*SHOWN, "text")},
    }
)


class Side(NamedTuple):
    """One arm of one run."""

    name: str
    arm: str
    tables: RunTables

    def __str__(self) -> str:
        """As it is named on the command line."""
        return f"{self.name}:{self.arm}"


class Flips(NamedTuple):
    """What differs between two sides."""

    table: pl.DataFrame
    """One row an item whose share of right answers differs: benchmark, item_id, question, gold, `left` and `right`
    (shares), and for each side extracted, verdict, reason and text of its first answer that differs."""
    tests: dict[str, Comparison]
    """By benchmark; `base` is the left side, `trained` the right one."""
    only_left: int
    only_right: int
    """Items that one side alone answered."""
    other_golds: int
    """Items of both whose gold differs between the runs."""
    graders: tuple[str, ...]
    """Versions of the grader: more than one where the sides were graded by different ones."""


def parse_side(text: str) -> Side:
    """A side of the command line: what a run is called, and after a colon the arm (trained where none is given).

    Raises:
        LimoError: the arm is none, or no run is called so.
    """
    name, colon, arm = text.rpartition(":")
    if not colon or arm.startswith("/"):
        # The colon of models:/NAME@ALIAS comes before no arm.
        name, arm = text, ARMS[0]
    if arm not in ARMS:
        raise LimoError(f"{text}: no arm `{arm}`; give {name}:trained or {name}:base")
    return Side(name, arm, find_run(name))


def find_flips(left: Side, right: Side, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0) -> Flips:
    """The items of both sides that flipped, the largest changes first, and the paired test of each benchmark.

    Raises:
        LimoError: a table is missing, or the sides share no item.
    """
    sides = [_verdicts(one) for one in (left, right)]
    shares = [one.group_by("benchmark", "item_id").agg((pl.col("verdict") == "correct").mean()) for one in sides]
    both = shares[0].join(shares[1], on=["benchmark", "item_id"], suffix="_right").sort("benchmark", "item_id")
    if both.is_empty():
        raise LimoError(f"{left} and {right} share no item; runs are compared on the same benchmarks")
    tests = {}
    for name in both["benchmark"].unique(maintain_order=True):
        kept = both.filter(pl.col("benchmark") == name)["item_id"]
        pair = [_matrix(one.filter(pl.col("item_id").is_in(kept.implode()))) for one in sides]
        tests[name] = compare(*pair, confidence=confidence, resamples=resamples, seed=seed)
    changed = both.filter(pl.col("verdict") != pl.col("verdict_right"))
    rows = _flip_rows(changed, left, right, sides)
    table = pl.DataFrame(rows, schema=FLIPPED)
    return Flips(
        table.sort((pl.col("right") - pl.col("left")).abs(), descending=True, maintain_order=True) if rows else table,
        tests,
        shares[0].height - both.height,
        shares[1].height - both.height,
        _other_golds(left, right),
        tuple(sorted({grader for one in sides for grader in one["grader"].unique()})),
    )


def _verdicts(one: Side) -> pl.DataFrame:
    verdicts = read_table(one.tables.verdicts, VERDICT).filter(pl.col("arm") == one.arm)
    return verdicts.sort("item_id", "sample_index")


def _other_golds(left: Side, right: Side) -> int:
    golds = [read_table(one.tables.items, ITEM).select("item_id", "gold") for one in (left, right)]
    both = golds[0].join(golds[1], on="item_id", suffix="_right")
    return both.filter(pl.col("gold") != pl.col("gold_right")).height


def _matrix(verdicts: pl.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    by_item = verdicts.group_by("item_id").agg((pl.col("verdict") == "correct").cast(pl.Int64)).sort("item_id")
    if by_item["verdict"].list.len().n_unique() != 1:
        name = verdicts.item(0, "benchmark")
        raise LimoError(f"limo compare: {name}: items have unequal numbers of answers; rerun `dvc repro grade`")
    return np.array(by_item["verdict"].to_list(), dtype=np.int64)


def _flip_rows(changed: pl.DataFrame, left: Side, right: Side, sides: list[pl.DataFrame]) -> list[dict[str, Any]]:
    """What `Flips.table` has of each changed item."""
    better = pl.col("verdict") > pl.col("verdict_right")
    items = _by_id(left.tables.items, ITEM, "item_id", changed["item_id"])
    rows = [
        {name: items[row["item_id"]][name] for name in ("benchmark", "item_id", "question", "gold")}
        | {"left": row["verdict"], "right": row["verdict_right"]}
        for row in changed.iter_rows(named=True)
    ]
    for name, one, graded, is_right in (("left", left, sides[0], better), ("right", right, sides[1], ~better)):
        wanted = changed.select("item_id", is_right=is_right)
        deciding = graded.join(wanted, on="item_id").filter((pl.col("verdict") == "correct") == pl.col("is_right"))
        first = deciding.unique("item_id", keep="first", maintain_order=True)
        shown = {row["item_id"]: row for row in first.iter_rows(named=True)}
        texts = _by_id(one.tables.answers, ANSWER, "response_id", first["response_id"])
        for row in rows:
            verdict = shown[row["item_id"]]
            row |= {f"{name}_{key}": verdict[key] for key in SHOWN}
            row[f"{name}_text"] = texts[verdict["response_id"]]["text"]
    return rows


def _by_id(path: Path, schema: pl.Schema, key: str, values: pl.Series) -> dict[str, dict[str, Any]]:
    """The rows of these ids.

    Raises:
        LimoError: one is not there.
    """
    table = read_table(path, schema).filter(pl.col(key).is_in(values.implode()))
    rows = {row[key]: row for row in table.iter_rows(named=True)}
    lost = [value for value in values if value not in rows]
    if lost:
        raise LimoError(f"{path}: has no {key} {lost[0]}, which the verdicts name; rerun `dvc repro grade`")
    return rows


def print_comparison(
    run_a: str, run_b: str, *, benchmark: str | None, limit: int, full: bool, out: Path | None
) -> None:
    """The command `limo compare`: print the questions that flipped between two runs, and the test of each benchmark.

    Args:
        limit: questions printed, the largest changes first.
        full: print responses in full, not their end.
        out: write every flipped question to this .jsonl or .parquet.

    Raises:
        LimoError: an unknown run or benchmark, or no such folder for `out`.
    """
    if out is not None and out.suffix not in (".jsonl", ".parquet"):
        raise LimoError(f"{out}: the name must end in .jsonl or .parquet")
    if out is not None and not out.parent.is_dir():
        raise LimoError(f"{out}: there is no folder {out.parent}; make it, or name another")
    left, right = parse_side(run_a), parse_side(run_b)
    found = find_flips(left, right)
    tests = {name: test for name, test in found.tests.items() if benchmark in (None, name)}
    if not tests:
        raise LimoError(f"limo compare: no benchmark `{benchmark}`; there are {', '.join(found.tests)}")
    rows = [row for row in found.table.iter_rows(named=True) if row["benchmark"] in tests]
    if found.only_left or found.only_right:
        print(f"not compared: {found.only_left} items of {left} alone, {found.only_right} of {right} alone")
    if found.other_golds:
        print(f"{found.other_golds} items have another gold in each run; the golds shown are those of {left}")
    if len(found.graders) > 1:
        print(f"graded by different graders, so verdicts may differ by that alone: {', '.join(found.graders)}")
    for row in rows[:limit]:
        print("\n".join(_flip_lines(row, full)))
    print(f"{len(rows)} questions flipped ({min(limit, len(rows))} shown): {left} against {right}")
    for name, test in tests.items():
        print(
            f"{name}: {100 * test.base:.1f} -> {100 * test.trained:.1f} of {test.items} items,"
            f" difference {100 * test.difference:+.1f} [{100 * test.low:+.1f}, {100 * test.high:+.1f}],"
            f" {test.gained} gained, {test.lost} lost, p {test.p_value:.2g} ({test.test})"
        )
    if out is not None:
        kept = found.table.filter([row["benchmark"] in tests for row in found.table.iter_rows(named=True)])
        kept.write_parquet(out) if out.suffix == ".parquet" else kept.write_ndjson(out)
        print(f"{out}: {kept.height} questions")


def _flip_lines(row: dict[str, Any], full: bool) -> list[str]:
    lines = [
        f"--- {row['benchmark']} {row['item_id']}: {row['left']:.2f} -> {row['right']:.2f} right",
        row["question"],
        f"gold: {row['gold']}",
    ]
    for name in ("left", "right"):
        reason = row[f"{name}_verdict_reason"]
        text = row[f"{name}_text"]
        shown = text if full or len(text) <= END else f"[...] {text[-END:]}"
        verdict = f"{row[f'{name}_verdict']}{f' ({reason})' if reason else ''}"
        lines += [f"{name}: {verdict}, answer {row[f'{name}_extracted']}, {row[f'{name}_response_id']}", shown]
    return [*lines, ""]
