"""Logged models, and the registered version of the trained one.

Weights stay in their folders, which the model's digest and path name; MLflow holds a card a model, not a copy of 64 GB.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.records.model import Model

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL_ID = "limo.model_id"
CHALLENGER = "challenger"
CHAMPION = "champion"
PREVIOUS = "previous"


def log_models(client: "MlflowClient", experiment_id: str, run_id: str, models: Mapping[str, Model]) -> dict[str, str]:
    """MLflow's id of every model, by ours; those it does not have yet are logged.

    Args:
        run_id: the run they are logged under: training, which takes or makes them.
    """
    return {model_id: _logged_model(client, experiment_id, run_id, model) for model_id, model in models.items()}


def ensure_version(
    client: "MlflowClient", name: str, model: Model, logged_id: str, run_id: str, tags: Mapping[str, str]
) -> str:
    """The version of the registered model that is `model`, made when it is not there; its tags are brought up to date.

    It becomes the challenger, unless it is the champion, or was it before and has been replaced or rolled back.
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
