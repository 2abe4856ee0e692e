"""Params of a stage: frozen pydantic models, read from one section of params.yaml, every mistake reported at once."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.core.errors import LimoError

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


class Params(BaseModel):
    """Base of all params models: immutable, unknown keys refused, field docstrings kept as descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


P = TypeVar("P", bound=Params)


class ChatParams(Params):
    """How a question becomes a prompt: the model's own chat template with this system message."""

    system: str | None = SYSTEM
    """The system message; null: none, or the template's own. Paper: the default; DeepSeek-R1's authors advise none."""
    thinking: bool | None = None
    """Whether the model reasons before it answers, where its template has the switch `enable_thinking`, as Qwen3's has;
    null: as the template does by itself."""


def read_tree(path: Path) -> dict[str, Any]:
    """The whole of a params file as a dict of sections.

    Raises:
        LimoError: the file is missing, is not YAML (with the line), or is not a mapping.
    """
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LimoError(f"{path}: no such file; run from the project's folder") from None
    except OSError as error:
        raise LimoError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise LimoError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise LimoError(f"{path}: must be a mapping of sections such as `pull:`, found {type(tree).__name__}")
    return tree


def section_errors(name: str, value: Any, model: type[Params]) -> list[str]:
    """Every mistake in one section, each as `key.path: what is wrong`; empty when it validates."""
    try:
        model.model_validate({} if value is None else value)
    except ValidationError as error:
        return [_describe(name, detail) for detail in error.errors()]
    return []


def load_section(path: Path, name: str, model: type[P]) -> P:
    """The section `name` of the params file, validated.

    Raises:
        LimoError: all mistakes of the section, one a line, each with its key path.
    """
    tree = read_tree(path)
    mistakes = section_errors(name, tree.get(name), model)
    if mistakes:
        raise LimoError("\n".join(f"{path}: {mistake}" for mistake in mistakes))
    return model.model_validate(tree.get(name) or {})


def _describe(section: str, detail: Any) -> str:
    key = ".".join([section, *(str(part) for part in detail["loc"])])
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    if detail["type"] == "missing":
        return f"{key}: required but missing"
    message = detail["msg"].removeprefix("Value error, ")
    if isinstance(detail["input"], dict | list | tuple):
        return f"{key}: {message}"
    return f"{key}: {message} (found {detail['input']!r})"
