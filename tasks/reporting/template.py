"""A Jinja template filled in: all text escaped, a name that is missing refused."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def fill(template: Path, content: Mapping[str, Any], filters: Mapping[str, Callable[..., Any]] | None = None) -> str:
    """The template with `content` in it; `filters` by the names it uses."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters or {})
    return environment.get_template(template.name).render(content)
