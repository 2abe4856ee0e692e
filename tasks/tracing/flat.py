"""Nested params and facts as the flat keys that MLflow takes."""

import json
import re
from collections.abc import Mapping
from typing import Any

LONGEST_VALUE = 6000


def key(name: str) -> str:
    """A name in the characters that MLflow allows: `pass@1` becomes `pass_at_1`."""
    return re.sub(r"[^\w\-. /]", "_", name.replace("@", "_at_"), flags=re.ASCII)[:250]


def flat_params(params: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Params as `section.key: text`; lists and texts as they are in JSON, cut at MLflow's longest value."""
    flat: dict[str, str] = {}
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            flat |= flat_params(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
            flat[key(f"{prefix}{name}")] = text[:LONGEST_VALUE]
    return flat


def flat_metrics(facts: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The numbers among the facts as `group.name: number`, those of a list by place; what is no number is left out."""
    flat: dict[str, float] = {}
    for name, value in facts.items():
        inside = dict(enumerate(value)) if isinstance(value, list) else value
        if isinstance(inside, Mapping):
            flat |= flat_metrics({str(place): each for place, each in inside.items()}, f"{prefix}{name}.")
        elif isinstance(value, int | float):
            flat[key(f"{prefix}{name}")] = float(value)
    return flat
