"""Log a run of the pipeline to MLflow, from its artifacts: runs, data sets, models, and a registered version.

One parent run a state of the pipeline (trained model, data sets, scores, params), one child run a stage. The same state
logged again finds its runs and its version and adds none. A run that was logged in part is deleted and logged again.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from tasks.core.errors import LimoError
from tasks.core.files import read_table
from tasks.core.stage import Manifest, read_manifests, stage_entries
from tasks.provenance.edges import base_model_id, checkpoint_text, trained_model, training_job
from tasks.records.benchmark import ITEM, SCORE
from tasks.records.ids import content_id
from tasks.records.model import Model, load_models
from tasks.tracking.live import LIVE_RUN, live_run_id
from tasks.tracking.store import (
    MetricSource,
    as_metrics,
    commit_tags,
    ensure_experiment,
    flatten_metrics,
    flatten_params,
    log_metrics,
    mlflow_client,
    mlflow_key,
    step_metrics,
    store_uri,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric

CONTEXT = "mlflow.data.context"
_TYPES = {pl.String: "string", pl.Int64: "long", pl.Float64: "double", pl.Boolean: "boolean"}


class DataSet(NamedTuple):
    """A table that a stage takes, as MLflow records it: name, digest, rows, columns, path.

    The records stay where they are; `mlflow.data.from_polars` would read a pool of ten million questions to count its
    rows.
    """

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


def file_dataset(name: str, path: Path, context: str) -> DataSet:
    """A whole file, known by its MD5, which is what dvc.lock calls it by."""
    return DataSet(name, md5(path), path, pl.scan_parquet(path).select(pl.len()).collect().item(), context)


def md5(path: Path) -> str:
    """A file's MD5 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def benchmark_datasets(items: Path) -> list[DataSet]:
    """One data set a benchmark, known by the ids of its items."""
    table = read_table(items, {name: ITEM[name] for name in ("item_id", "benchmark")})
    return [
        DataSet(str(name), content_id("d", *sorted(group["item_id"])), items, group.height, "evaluation")
        for (name,), group in table.group_by("benchmark", maintain_order=True)
    ]


def _mlflow_type(kind: pl.DataType) -> str:
    return next((name for known, name in _TYPES.items() if kind == known), "string")


def link_weights(model: Model, artifacts: Path) -> Path:
    """The model's files in a folder of their own, `artifacts/models/<model_id>`, as hard links: no second copy.

    So a registered version has its weights after the next training replaces `artifacts/train/model`.

    Raises:
        LimoError: the model's folder is missing.
    """
    links = artifacts / "models" / model.model_id
    if links.is_dir():
        return links
    if not Path(model.path).is_dir():
        raise LimoError(
            f"{model.path}: the trained model's folder is missing; run `dvc checkout artifacts/train/model`"
        )
    scratch = links.with_name(f".{links.name}.{os.getpid()}")
    shutil.copytree(model.path, scratch, copy_function=os.link)
    scratch.rename(links)
    return links


MODEL_ID = "limo.model_id"
CHALLENGER = "challenger"
CHAMPION = "champion"
PREVIOUS = "previous"


def log_models(client: "MlflowClient", experiment_id: str, run_id: str, models: Mapping[str, Model]) -> dict[str, str]:
    """MLflow's id of every model, by ours; those it does not have yet are logged.

    Weights stay in their folders, which the model's digest and path name; MLflow holds a card a model, not a copy of 64
    GB.

    Args:
        run_id: the run they are logged under: training, which takes or makes them.
    """
    return {model_id: _logged_model(client, experiment_id, run_id, model) for model_id, model in models.items()}


def ensure_version(
    client: "MlflowClient", name: str, model: Model, logged_id: str, run_id: str, tags: Mapping[str, str]
) -> str:
    """The version of the registered model that is `model`, created when it does not exist; its tags are updated.

    It becomes the challenger, unless it is the champion, or was champion before and has been replaced or rolled back.
    """
    from mlflow import MlflowException

    try:
        registered = client.get_registered_model(name)
    except MlflowException:
        registered = client.create_registered_model(name, description="Models that LIMO trained.")
    found = client.search_model_versions(f"name='{name}' and tags.model_id='{model.model_id}'")
    if found:
        version = str(found[0].version)
    else:
        made = client.create_model_version(name, f"models:/{logged_id}", run_id, tags={"model_id": model.model_id})
        version = str(made.version)
    for tag, value in tags.items():
        client.set_model_version_tag(name, version, tag, value)
    if version not in {str(registered.aliases.get(alias)) for alias in (CHAMPION, PREVIOUS)}:
        client.set_registered_model_alias(name, CHALLENGER, version)
    return version


def _logged_model(client: "MlflowClient", experiment_id: str, run_id: str, model: Model) -> str:
    import mlflow

    found = client.search_logged_models([experiment_id], filter_string=f"tags.`{MODEL_ID}` = '{model.model_id}'")
    if found:
        return str(found[0].model_id)
    facts = {name: str(value) for name, value in model.model_dump().items()}
    tags = {MODEL_ID: model.model_id}
    made = mlflow.create_external_model(model.name, run_id, tags, facts, experiment_id=experiment_id)
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"# {model.name}", "", *(f"- {name}: {value}" for name, value in facts.items())]
        (Path(folder) / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        client.log_model_artifacts(made.model_id, folder)
    return str(made.model_id)


PARENT = "parent"
STATE, STAGE, TABLES = "limo.state", "limo.stage", "limo.tables"
NOTE = "mlflow.note.content"
COMPARED = {
    "verdicts": "grade/verdicts.parquet",
    "items": "benchmarks/items.parquet",
    "answers": "answer/answers.parquet",
}
"""The tables that runs are compared by. The parent's tag `TABLES` has their MD5, which DVC's cache calls them by."""
MOST_PARAMS = 100


class PipelineRun(NamedTuple):
    """The pipeline's state, read from its artifacts."""

    artifacts: Path
    params: Mapping[str, Any]
    trained: Model
    base_id: str
    models: dict[str, Model]
    sets: dict[str, list[DataSet]]
    """By the stage that takes them in."""
    scores: pl.DataFrame

    def state(self) -> str:
        """The id of this state: nothing of when or where it was made."""
        digests = [data.digest for listed in self.sets.values() for data in listed]
        settings = [f"{name}={value}" for name, value in sorted(flatten_params(self.params).items())]
        values = [f"{score}={value}" for score, value in sorted(self.scores.select("score_id", "value").iter_rows())]
        return content_id("run", self.trained.model_id, *digests, *values, *settings)


def log_run(
    artifacts: Path, params: Mapping[str, Any], edges: Path, experiment: str, registered: str
) -> dict[str, Any]:
    """Log the run whose outputs lie in `artifacts`, and register its trained model.

    Args:
        params: the sections of params.yaml.
        edges: the lineage as Parquet, which becomes an artifact of the parent run.

    Returns:
        What was created or found: tracking URI, experiment, run ids, logged models, registered version.
    """
    run = _read_run(artifacts, params)
    with mlflow_client(artifacts) as client:
        experiment_id = ensure_experiment(client, experiment, artifacts)
        runs = _find_logged(client, experiment_id, run.state(), read_manifests(artifacts).keys()) or _log_new(
            client, experiment_id, run, edges
        )
        digests = {table: md5(artifacts / path) for table, path in COMPARED.items()}
        client.set_tag(runs[PARENT], TABLES, json.dumps(digests))
        models = log_models(client, experiment_id, runs["train"], run.models)
        logged = models[run.trained.model_id]
        version = ensure_version(client, registered, run.trained, logged, runs["train"], _version_tags(run))
    stages = {name: run_id for name, run_id in runs.items() if name != PARENT}
    found = {"experiment": experiment, "experiment_id": experiment_id, "run_id": runs[PARENT], "stage_runs": stages}
    found |= {"logged_models": models, "registered_model": registered, "version": version}
    return {"tracking_uri": store_uri(artifacts), "state": run.state()} | found


def _read_run(artifacts: Path, params: Mapping[str, Any]) -> PipelineRun:
    trained = trained_model(artifacts)
    models = [*load_models(artifacts / "base" / "models.json").values(), trained]
    benchmarks = benchmark_datasets(artifacts / "benchmarks" / "items.parquet")
    sets = {
        "clean": [file_dataset("pool", artifacts / "pull" / "kept.parquet", "pool")],
        "reason": [file_dataset("band", artifacts / "band" / "kept.parquet", "pool")],
        "train": [file_dataset("samples", artifacts / "select" / "kept.parquet", "training")],
        "answer": benchmarks,
        "grade": benchmarks,
    }
    scores = read_table(artifacts / "grade" / "scores.parquet", SCORE)
    by_id = {model.model_id: model for model in models}
    return PipelineRun(artifacts, params, trained, base_model_id(artifacts), by_id, sets, scores)


def _find_logged(client: "MlflowClient", experiment_id: str, state: str, stages: AbstractSet[str]) -> dict[str, str]:
    """The run ids of this state by stage, the parent's among them; empty when it has not been logged completely."""
    found = client.search_runs([experiment_id], f"tags.`{STATE}` = '{state}'", max_results=1000)
    runs = {run.data.tags[STAGE]: run for run in found}
    if PARENT in runs and runs[PARENT].info.status == "FINISHED" and runs.keys() >= stages:
        return {name: run.info.run_id for name, run in runs.items()}
    for run in found:
        client.delete_run(run.info.run_id)
    return {}


def _log_new(client: "MlflowClient", experiment_id: str, run: PipelineRun, edges: Path) -> dict[str, str]:
    tags = {STATE: run.state(), MODEL_ID: run.trained.model_id, "limo.profile": str(run.params.get("profile", ""))}
    parent = client.create_run(
        experiment_id, tags=tags | commit_tags() | {STAGE: PARENT}, run_name=run.trained.model_id
    ).info.run_id
    runs = {PARENT: parent}
    manifests = read_manifests(run.artifacts)
    for stage, manifest in manifests.items():
        own = tags | {STAGE: stage, "mlflow.parentRunId": parent, NOTE: _in_words(manifest)}
        runs[stage] = client.create_run(experiment_id, tags=own, run_name=stage).info.run_id
        _log_params(client, runs[stage], _sections(run.params, stage))
        log_metrics(client, runs[stage], _counts(manifest))
        client.log_inputs(runs[stage], datasets=[data.entity() for data in run.sets.get(stage, [])])
    _log_params(client, runs["train"], {"checkpoint": checkpoint_text(run.artifacts)})
    if live := live_run_id(client, training_job(run.artifacts)):
        client.set_tag(runs["train"], LIVE_RUN, live)
    models = log_models(client, experiment_id, runs["train"], run.models)
    _log_params(client, parent, {name: value for name, value in run.params.items() if isinstance(value, Mapping)})
    client.log_inputs(parent, datasets=[data.entity() for data in _distinct(run.sets.values())])
    log_metrics(client, runs["train"], _curves(run.artifacts / "train" / "steps.parquet"))
    for logged in (parent, runs["grade"]):
        log_metrics(client, logged, _scores(run, logged, models))
    _link(client, runs, run, models)
    client.log_artifact(parent, str(edges), "lineage")
    client.log_artifact(runs["grade"], str(run.artifacts / "grade" / "verdicts.parquet"))
    # The parent last: once it is finished, all is there.
    for name in (*manifests, PARENT):
        client.set_terminated(runs[name])
    return runs


def _link(client: "MlflowClient", runs: Mapping[str, str], run: PipelineRun, models: Mapping[str, str]) -> None:
    """Which models each of the runs took in and gave out."""
    from mlflow.entities import LoggedModelInput, LoggedModelOutput

    base, trained = models[run.base_id], models[run.trained.model_id]
    client.log_inputs(runs["train"], models=[LoggedModelInput(base)])
    client.log_outputs(runs["train"], [LoggedModelOutput(trained, 0)])
    for stage in ("answer", "grade"):
        answered = [models[model_id] for model_id in run.scores["model_id"].unique(maintain_order=True)]
        client.log_inputs(runs[stage], models=[LoggedModelInput(logged) for logged in answered])


def _sections(params: Mapping[str, Any], stage: str) -> dict[str, Any]:
    """The params that a stage reads, by its entry in dvc.yaml: its own section, and shared ones under their names."""
    read = stage_entries().get(stage, {}).get("params", [])
    shared = {name: params[name] for name in read if name != stage and params.get(name)}
    return {**(params.get(stage) or {}), **shared}


def _in_words(manifest: Manifest) -> str:
    """The run's description: what the stage kept, and what it rejected for which reasons."""
    lines = [f"{manifest.kept:,} of {manifest.taken:,} {manifest.unit} kept"]
    lines += [f"- {count:,} `{name}`: {manifest.reasons[name]}" for name, count in manifest.rejected.items()]
    return "\n".join(lines)


def _counts(manifest: Manifest) -> Iterator["Metric"]:
    counts = {"taken": manifest.taken, "kept": manifest.kept, "rejected": manifest.rejected, **manifest.facts}
    return as_metrics(flatten_metrics(counts).items())


def _curves(steps: Path) -> Iterator["Metric"]:
    """Every number that training wrote a step, as a curve over steps."""
    return step_metrics(read_table(steps, pl.read_parquet_schema(steps)).iter_rows(named=True))


def _scores(run: PipelineRun, run_id: str, models: Mapping[str, str]) -> Iterator["Metric"]:
    """Scores and their intervals, each tied to its model and its benchmark."""
    benchmarks = {data.name: data for data in run.sets["grade"]}
    for row in run.scores.iter_rows(named=True):
        name = f"{row['arm']}/{row['benchmark']}/{row['metric']}"
        values = {name: row["value"], f"{name}.low": row["low"], f"{name}.high": row["high"]}
        data = benchmarks.get(row["benchmark"])  # None for the average over all of them
        source = MetricSource(models[row["model_id"]], data and data.name, data and data.digest, run_id)
        yield from as_metrics(((mlflow_key(name), value) for name, value in values.items()), source=source)


def _log_params(client: "MlflowClient", run_id: str, params: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    listed = [Param(name, value) for name, value in flatten_params(params).items()]
    for start in range(0, len(listed), MOST_PARAMS):
        client.log_batch(run_id, params=listed[start : start + MOST_PARAMS])


def _distinct(listed: Iterable[list[DataSet]]) -> list[DataSet]:
    return list({data.digest: data for sets in listed for data in sets}.values())


def _version_tags(run: PipelineRun) -> dict[str, str]:
    """What the gate of the registry compares, and what identifies the version."""
    tags = {"samples_digest": run.sets["train"][0].digest, "base_model_id": run.base_id}
    tags["checkpoint"] = checkpoint_text(run.artifacts)
    tags["path"] = str(link_weights(run.trained, run.artifacts))
    tags |= {"state": run.state(), "grader": ", ".join(sorted(run.scores["grader"].unique()))}
    for row in run.scores.iter_rows(named=True):
        name = mlflow_key(f"{'score' if row['arm'] == 'trained' else row['arm']}/{row['benchmark']}/{row['metric']}")
        tags[name] = json.dumps({bound: row[bound] for bound in ("value", "low", "high")})
    return tags
