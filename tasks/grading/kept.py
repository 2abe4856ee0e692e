"""Verdicts of the symbolic check, kept on disk by grader version: all others cost less than reading them back.

One file a version, a JSON line a verdict, appended whole, so that processes may share it. What was left open is not
kept: a timeout may pass on a quieter machine.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple


class Key(NamedTuple):
    """What a verdict depends on, and nothing else: graded once, however many responses share it."""

    gold: str
    answer: str
    rules: str


class Kept:
    """The verdicts of earlier runs, and of this one."""

    def __init__(self, folder: Path, grader: str) -> None:
        """Read what earlier runs of this version kept in `folder`, which need not be there."""
        self._path = folder / f"{hashlib.sha256(grader.encode()).hexdigest()[:16]}.jsonl"
        self._found = dict(_read(self._path))

    def get(self, key: Key) -> str | None:
        """`correct` or `incorrect`; None when it is not known."""
        return self._found.get(key)

    def add(self, verdicts: Mapping[Key, str]) -> None:
        """Keep these from now on; nothing is written where there are none."""
        fresh = {key: verdict for key, verdict in verdicts.items() if key not in self._found}
        if not fresh:
            return
        self._found |= fresh
        lines = "".join(json.dumps([*key, verdict]) + "\n" for key, verdict in fresh.items())
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("ab", buffering=0) as file:
            # A line that a killed process left unfinished must not swallow the first of these.
            file.write(("\n" + lines).encode())


def _read(path: Path) -> Iterator[tuple[Key, str]]:
    if not path.exists():
        return
    for line in path.read_bytes().splitlines():
        try:
            gold, answer, rules, verdict = json.loads(line)
        except (ValueError, TypeError):
            # Empty, or torn by a kill: graded again.
            continue
        yield Key(gold, answer, rules), verdict
