"""The hostile inputs of tests/grading/hostile.json, written out: long ones are stored there as a text to repeat."""

import json
from pathlib import Path
from typing import Any

HOSTILE: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "tests/grading/hostile.json").read_text(encoding="utf-8")
)


def answers() -> list[str]:
    """Every input in full."""
    return [
        each["answer"] if "answer" in each else each["before"] + each["repeat"] * each["times"] + each["after"]
        for each in HOSTILE
    ]
