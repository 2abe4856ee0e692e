"""Stages that sample right now, by their files in artifacts/progress."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tasks.sampling.progress import RUNNING, STARTING, Snapshot, describe

FOLDER = Path("artifacts/progress")
SILENT_SECONDS = 900.0
"""Ignore progress files older than this, even of a starting engine: the pid may have been reused."""
SHOW_SECONDS = 5.0


def snapshots(folder: Path = FOLDER) -> list[Snapshot]:
    """The last report of every stage, by file name."""
    found = [_read(path) for path in sorted(folder.glob("*.json"))]
    return [one for one in found if one is not None]


def _read(path: Path) -> Snapshot | None:
    try:
        return Snapshot(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        # Of another version, or deleted meanwhile.
        return None


def lines(folder: Path = FOLDER) -> list[str]:
    """A line for each stage that is sampling now, whoever started it."""
    return [
        f"running: {describe(one)}"
        for one in snapshots(folder)
        if _active(one) and alive(one.pid) and time.time() - one.updated < SILENT_SECONDS
    ]


def of_stage(name: str, since: float, root: int, folder: Path = FOLDER) -> list[Snapshot]:
    """What the stage `name` reported in a run of it that began at `since` as the process `root`.

    A stage may report in several files: `reason (careful)`, `reason (plain)`.
    """
    return [
        one
        for one in snapshots(folder)
        if one.stage.partition(" (")[0] == name
        and one.started >= since
        and (not _active(one) or descends(one.pid, root))
    ]


def _active(snapshot: Snapshot) -> bool:
    return snapshot.state in (STARTING, RUNNING)


def alive(pid: int) -> bool:
    """Whether there is a process of that number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def descends(pid: int, root: int) -> bool:
    """Whether a process is `root` or its descendant; without /proc, whether it is alive."""
    if not Path("/proc/self/stat").exists():
        return alive(pid)
    while pid > 1 and pid != root:
        try:
            # After the command's name, which may hold anything: state, parent.
            pid = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return False
    return pid == root


class Board(NamedTuple):
    """Where progress is shown: a bar that is created once and then updated."""

    create: Callable[[str, float, str], object]
    """Key, per cent, description; returns what `update` takes."""
    update: Callable[[object, float, str], None]


class Watch:
    """Shows the progress of one run of one stage, at most every SHOW_SECONDS."""

    def __init__(self, name: str, board: Board, folder: Path = FOLDER) -> None:
        """Watch a run of the stage `name` that begins now."""
        self._name, self._board, self._folder = name, board, folder
        self._since = time.time()
        self._bars: dict[str, object] = {}
        self._seen: dict[str, Snapshot] = {}
        self._due = 0.0

    def look(self, root: int) -> None:
        """Show what is new; may be called often. `root`: the process that runs the stage."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + SHOW_SECONDS
            self._look(root)

    def close(self) -> None:
        """Show how it ended."""
        self._look(0)

    def _look(self, root: int) -> None:
        for state in of_stage(self._name, self._since, root, self._folder):
            if self._seen.get(state.stage) == state:
                continue
            percent = 100 * state.decided / state.questions if state.questions else 100.0
            if state.stage not in self._bars:
                self._bars[state.stage] = self._board.create(state.stage, percent, describe(state))
            else:
                self._board.update(self._bars[state.stage], percent, describe(state))
            self._seen[state.stage] = state
