"""Which folder `limo serve` serves: a model of params.yaml, the trained one, or any folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tasks.base import BaseParams
from tasks.engines.params import EngineParams
from tasks.engines.serve import serve as serve_folder
from tasks.errors import LimoError
from tasks.models.resolve import resolve
from tasks.params import load_section
from tasks.records.model import load_models

ARTIFACTS = Path("artifacts")
TRAINED = "trained"


class Served(NamedTuple):
    """A model folder, and the name that clients ask for it by."""

    name: str
    folder: Path


def serve(model: str, params: Path, *, name: str | None, host: str, ports: Sequence[int]) -> None:
    """Serve a model with the section `engine` of params until this process is ended.

    Raises:
        LimoError: no such model, or it does not start.
    """
    served = find_model(model, params, name)
    engine = load_section(params, "engine", EngineParams).of(served.name)
    serve_folder(served.name, served.folder, engine, host=host, ports=ports, logs=ARTIFACTS / "serve")


def find_model(model: str, params: Path, name: str | None = None, artifacts: Path = ARTIFACTS) -> Served:
    """The folder of a model as the stages know it; one that no stage has resolved yet is resolved alone.

    Raises:
        LimoError: params name no such model, and it is no folder either.
    """
    if "/" in model or (Path(model) / "config.json").exists():
        if not (Path(model) / "config.json").exists():
            raise LimoError(f"{model}: not a model folder: no config.json there")
        return Served(name or Path(model).resolve().name, Path(model))
    if model == TRAINED:
        return Served(name or model, Path(load_models(artifacts / "train" / "model.json")[TRAINED].path))
    sources = load_section(params, "base", BaseParams).models
    if model not in sources:
        raise LimoError(f"{params}: no model `{model}` under base.models, which has {', '.join(sorted(sources))}")
    known = artifacts / "base" / "models.json"
    found = load_models(known).get(model) if known.exists() else None
    if found is None or not Path(found.path).is_dir():
        found = resolve(model, sources[model], artifacts / "models")
    return Served(name or model, Path(found.path))
