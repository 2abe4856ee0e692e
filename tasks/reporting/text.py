"""Text on a page: a Jinja template filled in, and texts of models and sources shortened."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def fill(template: Path, content: Mapping[str, Any], filters: Mapping[str, Callable[..., Any]] | None = None) -> str:
    """The template with `content` in it: all text escaped, a missing name an error; `filters` by the names it uses."""
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


def cut(text: str | None, longest: int) -> str:
    """The beginning of a text, with how much of it is left out."""
    text = text or ""
    return text if len(text) <= longest else f"{text[:longest]}\n… {len(text) - longest:,} more characters"


def shorten(text: object, width: int) -> str:
    """One line of at most `width` characters; without control characters."""
    line = printable(" ".join(str("" if text is None else text)[: 4 * width + 80].split()))
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def printable(line: str) -> str:
    """A line without what would move a terminal's cursor or change its colours."""
    return "".join(char for char in line if char.isprintable())
