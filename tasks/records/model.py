"""A model on disk, known by the digest of its files."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tasks.errors import LimoError
from tasks.files import read_json


class Model(BaseModel):
    """A Hugging Face model folder; two folders with the same files have the same `model_id`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model_id: str
    """`m_` and the hash of the digests of all files that decide its output."""
    name: str
    """Its name in params.yaml, or `trained`."""
    path: str
    """The folder, relative to the project where it lies inside."""
    origin: str
    """Where it came from: `shipped:base`, `hub:Qwen/Qwen2.5-32B-Instruct@<revision>`, `path:...`, `trained`."""
    architecture: str
    parameters: int
    """Number of weights, tied ones once."""


def load_models(path: Path) -> dict[str, Model]:
    """The models of `artifacts/base/models.json`, by name.

    Raises:
        LimoError: the file is missing or malformed.
    """
    try:
        models = TypeAdapter(list[Model]).validate_python(read_json(path))
    except ValidationError as error:
        raise LimoError(f"{path}: not a list of models ({error.errors()[0]['msg']}); rerun `dvc repro base`") from None
    return {model.name: model for model in models}


def require_model(models: dict[str, Model], name: str, key: str) -> Model:
    """The model called `name`, whose folder exists.

    Raises:
        LimoError: no such model, named with the params key that asks for it; or its folder has gone.
    """
    if name not in models:
        raise LimoError(
            f"params.yaml: {key}: no model `{name}` under base.models, which has {', '.join(sorted(models))}"
        )
    if not Path(models[name].path).is_dir():
        raise LimoError(f"{models[name].path}: the folder of model `{name}` has gone; run `dvc repro -f -s base`")
    return models[name]
