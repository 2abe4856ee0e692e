"""A model on disk: complete or not, its digest, architecture and size, without loading a weight; models.json."""

import hashlib
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from tasks.core.errors import LimoError
from tasks.core.files import read_json
from tasks.records.ids import content_id


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
        LimoError: no such model, named with the params key that names it; or its folder is missing.
    """
    if name not in models:
        raise LimoError(
            f"params.yaml: {key}: no model `{name}` under base.models, which has {', '.join(sorted(models))}"
        )
    if not Path(models[name].path).is_dir():
        raise LimoError(f"{models[name].path}: the folder of model `{name}` is missing; run `dvc repro -f -s base`")
    return models[name]


TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "generation_config.json",
)
"""With config.json and the weights, every file that decides a model's output."""

NO_TOKENIZER = "a tokenizer (tokenizer.json, or tokenizer.model)"
NO_TEMPLATE = "a chat template (chat_template.jinja, or `chat_template` in tokenizer_config.json)"


def describe(folder: Path, name: str, origin: str) -> Model:
    """The model in `folder`, as later stages know it.

    Raises:
        LimoError: the folder lacks a part, or a part is torn; names the folder and the part.
    """
    check_complete(folder, name)
    config = read_json(folder / "config.json")
    architectures = config.get("architectures") or []
    if not architectures:
        raise LimoError(
            f"{folder}/config.json: model `{name}` names no `architectures`; take one saved by save_pretrained"
        )
    return Model(
        model_id=digest_folder(folder),
        name=name,
        path=str(_inside_project(folder)),
        origin=origin,
        architecture=architectures[0],
        parameters=count_parameters(folder, tied=bool(config.get("tie_word_embeddings"))),
    )


def check_complete(folder: Path, name: str) -> None:
    """Raise a `LimoError` that names all of config, tokenizer, chat template and weights that the folder lacks."""
    if not folder.is_dir():
        raise LimoError(f"{folder}: no such folder, named by base.models.{name}")
    missing = [part for part, there in _parts(folder).items() if not there]
    if missing:
        raise LimoError(f"{folder}: the folder of model `{name}` lacks {'; '.join(missing)}")


def digest_folder(folder: Path) -> str:
    """The `model_id`: a hash of the digests of all files that decide the model's output, whatever their names."""
    files = [folder / "config.json", *(folder / file for file in TOKENIZER_FILES), *weight_files(folder)]
    with ThreadPoolExecutor() as pool:
        digests = pool.map(digest_file, [file for file in files if file.exists()])
    return content_id("m", *sorted(digests))


def digest_file(path: Path, kind: str = "sha256") -> str:
    """The digest of a file, as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def count_parameters(folder: Path, tied: bool) -> int:
    """Number of weights, from the headers of the safetensors files; a tied output matrix stored twice counts once."""
    sizes: dict[str, int] = {}
    for file in weight_files(folder):
        sizes |= read_header(file)
    if tied and any(name.endswith("embed_tokens.weight") for name in sizes):
        sizes.pop("lm_head.weight", None)
    return sum(sizes.values())


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model folder."""
    return sorted(folder.glob("*.safetensors"))


def read_header(path: Path) -> dict[str, int]:
    """Name and number of elements of each tensor of a safetensors file.

    Raises:
        LimoError: the file is shorter or longer than its header says, or has no header.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > path.stat().st_size:
                raise ValueError("its header is cut off")
            header: dict[str, Any] = json.loads(file.read(length))
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
        if path.stat().st_size != 8 + length + end:
            raise ValueError(f"it has {path.stat().st_size} bytes, its header says {8 + length + end}")
    except (ValueError, KeyError, TypeError) as error:
        raise LimoError(f"{path}: not a whole safetensors file ({error}); download or convert it again") from None
    return {name: math.prod(entry["shape"]) for name, entry in tensors.items()}


def _parts(folder: Path) -> dict[str, bool]:
    tokenizer = any((folder / file).exists() for file in ("tokenizer.json", "tokenizer.model"))
    return {
        "config.json": (folder / "config.json").exists(),
        NO_TOKENIZER: tokenizer,
        NO_TEMPLATE: _has_template(folder),
        "weights (*.safetensors)": bool(weight_files(folder)),
    }


def _has_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").exists():
        return True
    settings = folder / "tokenizer_config.json"
    return settings.exists() and bool(read_json(settings).get("chat_template"))


def _inside_project(folder: Path) -> Path:
    absolute = folder.absolute()
    return absolute.relative_to(Path.cwd()) if absolute.is_relative_to(Path.cwd()) else absolute
