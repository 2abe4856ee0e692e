"""Params of a stage: frozen pydantic models, read from one section of params.yaml, every mistake reported at once."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tasks.core.errors import LimoError

SYSTEM = "Please reason step by step, and put your final answer within \\boxed{}."


class Params(BaseModel):
    """Base of all params models: immutable, unknown keys refused, field docstrings kept as descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


P = TypeVar("P", bound=Params)


class NameOf(NamedTuple):
    """Says of a field that it holds a name defined elsewhere in params.yaml."""

    noun: str
    where: str
    """The section or `section.key` that defines the names: a mapping by name, or a list of entries with a `name`."""
    also: tuple[str, ...] = ()
    """Names that are allowed beside those."""


ModelName = Annotated[str, NameOf("model", "base.models")]
TRAINED = "trained"
"""The trained model's name, which no model of `base.models` may have."""
AnyModelName = Annotated[str, NameOf("model", "base.models", (TRAINED,))]
BenchmarkName = Annotated[str, NameOf("benchmark", "benchmarks.suite")]


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


def unknown_names(tree: Mapping[str, Any], sections: Mapping[str, type[Params]]) -> list[str]:
    """Every name of a model, a benchmark, ... (`NameOf`) that is not defined; all sections of `tree` are valid."""
    return [
        f"{key}: no {of.noun} `{name}` under {of.where}, which has {', '.join(known)}"
        for section, model in sections.items()
        for key, name, of in _names(model.model_validate(tree.get(section) or {}), model, section)
        if name not in (*(known := _defined(tree, of.where)), *of.also)
    ]


def _defined(tree: Mapping[str, Any], where: str) -> list[str]:
    section, _, key = where.partition(".")
    found = tree.get(section) or {}
    found = (found.get(key) or {}) if key else found
    return sorted(found) if isinstance(found, Mapping) else [entry["name"] for entry in found]


def _names(value: Any, hint: Any, key: str) -> Iterator[tuple[str, str, NameOf]]:
    """The names in a params value, each with its key path and what it names; `hint` is the type of the value."""
    options = get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        for option in options:
            if _fits(value, option):
                yield from _names(value, option, key)
                return
    elif get_origin(hint) is Annotated:
        yield from ((key, value, note) for note in options[1:] if isinstance(note, NameOf))
        yield from _names(value, options[0], key)
    elif isinstance(value, Params):
        for name, field in get_type_hints(type(value), include_extras=True).items():
            if name in type(value).model_fields:
                yield from _names(getattr(value, name), field, f"{key}.{name}")
        for name, entry in (value.__pydantic_extra__ or {}).items():
            yield from _names(entry, type(entry), f"{key}.{name}")
    elif isinstance(value, Mapping) and options:
        for name, entry in value.items():
            yield from _names(name, options[0], f"{key}.{name}")
            yield from _names(entry, options[1], f"{key}.{name}")
    elif isinstance(value, list | tuple) and options:
        each = options if len(options) == len(value) and options[-1] is not ... else (options[0],) * len(value)
        for place, (entry, option) in enumerate(zip(value, each, strict=True)):
            yield from _names(entry, option, f"{key}.{place}")


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of one of the types of a union."""
    plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    kind = get_origin(plain) or plain
    return isinstance(kind, type) and isinstance(value, kind)


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
