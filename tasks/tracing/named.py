"""The tables of a run, by what the run is called: folder, git revision, MLflow run, version of a registered model.

A git revision has a dvc.lock and a run in MLflow a tag, which give the tables' digests; those lead to DVC's cache, or
to its remote. Nothing is checked out, and the working tree stays as it is.
"""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import yaml

from tasks.errors import LimoError
from tasks.files import one_line
from tasks.tracing.commit import git
from tasks.tracing.mlflow_log import COMPARED, PARENT, STAGE, STATE, TABLES
from tasks.tracing.store import connected

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

ARTIFACTS = Path("artifacts")
MODEL = "models:/"


class Tables(NamedTuple):
    """Where the tables lie that two runs are compared by."""

    verdicts: Path
    items: Path
    answers: Path


def find_tables(name: str) -> Tables:
    """The tables of the run that is called `name`.

    A folder is looked for first, then a git revision, then MLflow, which takes seconds to open.

    Raises:
        LimoError: nothing is called so, or DVC does not have its tables.
    """
    folder = Path(name)
    if (folder / COMPARED["verdicts"]).exists():
        return Tables(**{table: folder / path for table, path in COMPARED.items()})
    digests = _of_revision(name) or _of_mlflow(name)
    if digests is not None:
        return _from_dvc(name, digests)
    if folder.is_dir():
        raise LimoError(f"{name}: no {folder / COMPARED['verdicts']}; give the artifacts folder of a run")
    raise LimoError(
        f"{name}: no artifacts folder, git revision, or MLflow run (id or name) is called so; a registered model is "
        f"{MODEL}NAME@ALIAS"
    )


def _of_revision(name: str) -> dict[str, str] | None:
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


def _of_mlflow(name: str) -> dict[str, str] | None:
    """The digests that a run in MLflow names; None where there is no such run, or no store."""
    if not os.environ.get("MLFLOW_TRACKING_URI") and not (ARTIFACTS / "mlflow" / "mlflow.db").exists():
        return None
    with connected(ARTIFACTS) as client:
        run = _of_version(client, name) if name.startswith(MODEL) else _run(client, name)
    if run is None:
        return None
    if TABLES not in run.data.tags:
        raise LimoError(
            f"{name}: MLflow run {run.info.run_id} has no tag {TABLES}; "
            "`dvc repro -f -s lineage`, with its artifacts in place, adds it"
        )
    digests: dict[str, str] = json.loads(run.data.tags[TABLES])
    return digests


def _run(client: "MlflowClient", name: str) -> "Run | None":
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
    return _only(name, _parents(client, f"attributes.run_name = '{name}'")) if "'" not in name else None


def _of_version(client: "MlflowClient", name: str) -> "Run":
    """The parent run that trained a version: models:/NAME@ALIAS or models:/NAME/NUMBER."""
    model, at, alias = name.removeprefix(MODEL).rpartition("@")
    if at:
        version = client.get_model_version_by_alias(model, alias)
    else:
        model, _, number = alias.rpartition("/")
        version = client.get_model_version(model, number)
    found = _only(name, _parents(client, f"tags.`{STATE}` = '{version.tags.get('state', '')}'"))
    if found is None:
        raise LimoError(f"{name}: version {version.version} is there, the MLflow run that it came from is not")
    return found


def _parents(client: "MlflowClient", which: str) -> list["Run"]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, f"{which} and tags.`{STAGE}` = '{PARENT}'"))


def _only(name: str, runs: list["Run"]) -> "Run | None":
    if len(runs) > 1:
        listed = ", ".join(run.info.run_id for run in runs)
        raise LimoError(f"{name}: {len(runs)} MLflow runs have this name; give the id of one: {listed}")
    return runs[0] if runs else None


def _from_dvc(name: str, digests: Mapping[str, str]) -> Tables:
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
    return Tables(**paths)
