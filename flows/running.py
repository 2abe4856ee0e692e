"""Stages that sample right now, as they tell it in artifacts/progress."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tasks.sampling.progress import RUNNING, STARTING, State, describe

FOLDER = Path("artifacts/progress")
SILENT_SECONDS = 900.0
"""Who has told nothing for so long, not even that the engine starts, is not believed: pids are used again."""
SHOW_SECONDS = 5.0


def states(folder: Path = FOLDER) -> list[State]:
    """What every stage last told, by file name."""
    found = [_read(path) for path in sorted(folder.glob("*.json"))]
    return [state for state in found if state is not None]


def _read(path: Path) -> State | None:
    try:
        return State(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        # Of another version, or gone in between.
        return None


def lines(folder: Path = FOLDER) -> list[str]:
    """A line for each stage that is sampling now, whoever started it."""
    return [
        f"running: {describe(state)}"
        for state in states(folder)
        if _goes_on(state) and alive(state.pid) and time.time() - state.updated < SILENT_SECONDS
    ]


def of_stage(name: str, since: float, root: int, folder: Path = FOLDER) -> list[State]:
    """What the stage `name` told in a run of it that began at `since` as the process `root`.

    A stage may tell in several files: `reason (careful)`, `reason (plain)`.
    """
    return [
        state
        for state in states(folder)
        if state.stage.partition(" (")[0] == name
        and state.started >= since
        and (not _goes_on(state) or descends(state.pid, root))
    ]


def _goes_on(state: State) -> bool:
    return state.state in (STARTING, RUNNING)


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
    """Whether a process is `root` or was started by it, at however many removes; where /proc tells, else: is alive."""
    if not Path("/proc/self/stat").exists():
        return alive(pid)
    while pid > 1 and pid != root:
        try:
            # After the command's name, which may hold anything: state, parent.
            pid = int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return False
    return pid == root


class Shown(NamedTuple):
    """Where progress is shown: a bar that is made once and moved then."""

    create: Callable[[str, float, str], object]
    """Key, per cent, words; returns what `update` takes."""
    update: Callable[[object, float, str], None]


class Watch:
    """Shows the progress of one run of one stage, as often as is worth while."""

    def __init__(self, name: str, shown: Shown, folder: Path = FOLDER) -> None:
        """The run of the stage `name` begins now."""
        self._name, self._shown, self._folder = name, shown, folder
        self._since = time.time()
        self._made: dict[str, object] = {}
        self._told: dict[str, State] = {}
        self._due = 0.0

    def look(self, root: int) -> None:
        """Show what is new; may be called often. `root`: the process that runs the stage."""
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + SHOW_SECONDS
            self._look(root)

    def last(self) -> None:
        """Show how it ended."""
        self._look(0)

    def _look(self, root: int) -> None:
        for state in of_stage(self._name, self._since, root, self._folder):
            if self._told.get(state.stage) != state:
                self._show(state)
                self._told[state.stage] = state

    def _show(self, state: State) -> None:
        share = 100 * state.decided / state.questions if state.questions else 100.0
        if state.stage not in self._made:
            self._made[state.stage] = self._shown.create(state.stage, share, describe(state))
        else:
            self._shown.update(self._made[state.stage], share, describe(state))
