"""The cell of a table as the text of an answer, whatever type a file gives it."""

import json
import math
from decimal import Decimal
from fractions import Fraction
from numbers import Integral
from typing import Any

MAX_NESTED = 20
"""Lists in lists deeper than this are no answer."""


def as_text(value: Any) -> str | None:
    """A cell as text: `27.0` as `27`, a list as its elements with commas between, None for what is not an answer.

    Lists within a list keep all their brackets, `[[1, 2], [3, 4]]`: what belongs together is part of the answer. An
    object of numbers is the list of them, in order.
    """
    if isinstance(value, str):
        return _unwrap_json(value.strip()) or None
    if hasattr(value, "tolist"):  # numpy's
        return as_text(value.tolist())
    if isinstance(value, bool | Fraction):
        return str(value)
    if isinstance(value, tuple):
        return f"({text})" if (text := as_text(list(value))) else None
    if isinstance(value, Integral | float | Decimal):
        return _number_text(value)
    members = _numbers(value) if isinstance(value, dict) else value
    return _list_text(members, any(isinstance(part, list) for part in members)) if isinstance(members, list) else None


def _numbers(value: dict[str, Any]) -> list[Any]:
    """The values of an object, none unless all are numbers: of others nobody knows which is the answer."""
    values = list(value.values())
    return values if all(isinstance(each, int | float) and not isinstance(each, bool) for each in values) else []


def _list_text(value: list[Any], brackets: bool, depth: int = 0) -> str | None:
    if depth > MAX_NESTED:
        return None
    parts = [_list_text(part, True, depth + 1) if isinstance(part, list) else as_text(part) for part in value]
    if not parts or None in parts:
        return None
    text = ", ".join(map(str, parts))
    return f"[{text}]" if brackets else text


def _number_text(value: Integral | float | Decimal) -> str | None:
    if isinstance(value, Integral):
        return str(value)
    if not math.isfinite(value):
        return None
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return str(int(value)) if value == int(value) and abs(value) < 2**53 else repr(value)


def _unwrap_json(text: str) -> str:
    """`["3"]` as `3`; anything else, such as the interval `[-1,0]`, as it is."""
    if not text.startswith('["'):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value[0].strip() if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) else text
