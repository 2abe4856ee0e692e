"""What a stage reports of itself, as the flow and `limo status` read it: of this run only."""

import os
import subprocess
import sys
import time

import pytest

from flows import dag, running
from flows.running import Board, Watch, descends, lines, of_stage
from tasks.core.files import write_json
from tasks.sampling.progress import Progress, file_name

REPORTS = """
import sys, time
from pathlib import Path
from tasks.sampling.progress import Progress
with Progress(sys.argv[1], 8, Path(sys.argv[2])) as progress:
    progress.start(2, 1)
    print("begun", flush=True)
    progress.update(2, 9, 90, 5, 30)
    sys.stdin.read()
"""


@pytest.fixture
def stage(tmp_path):
    """Starts a process that reports a stage as its own until its input ends; the progress folder is `tmp_path`."""
    started = []

    def start(name):
        command = [sys.executable, "-c", REPORTS, name, str(tmp_path)]
        one = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(one)
        assert one.stdout.readline() == "begun\n"
        return one

    yield start
    for one in started:
        one.communicate()


class Recorder:
    """Shows progress in a list."""

    def __init__(self):
        self.seen = []

    @property
    def board(self):
        return Board(self.create, self.update)

    def create(self, label, share, words):
        self.seen.append(("create", label, share, words.rpartition(", ")[2]))
        return label

    def update(self, made, share, words):
        self.seen.append(("update", made, share, words.rpartition(", ")[2]))


def test_a_run_is_shown_from_its_first_word_to_its_end(stage, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "SHOW_SECONDS", 0)
    recorder = Recorder()
    watch = Watch("reason", recorder.board, tmp_path)
    one = stage("reason (careful)")
    watch.look(os.getpid())
    watch.look(os.getpid())
    one.communicate()
    watch.close()
    assert recorder.seen[0][:2] == ("create", "reason (careful)")
    assert recorder.seen[0][2] in (12.5, 25.0), "whether the second word was written depends on the clock"
    assert recorder.seen[-1] == ("update", "reason (careful)", 25.0, "done")


def test_other_stages_other_runs_and_earlier_ones_are_none_of_its_business(stage, tmp_path):
    since = time.time()
    other = subprocess.Popen(["sleep", "600"])
    try:
        mine, _ = stage("band"), stage("screen")
        assert [state.pid for state in of_stage("band", since, mine.pid, tmp_path)] == [mine.pid]
        assert of_stage("band", since, other.pid, tmp_path) == []
        assert of_stage("band", time.time() + 1, mine.pid, tmp_path) == []
    finally:
        other.kill()
        other.wait()


def test_status_has_a_line_for_what_runs_and_none_for_what_was_killed(stage, tmp_path):
    one, dead = stage("band"), stage("screen")
    dead.kill()
    dead.wait()
    (line,) = lines(tmp_path)
    assert line.startswith("running: band: ")
    assert "of 8 questions decided" in line
    one.communicate()
    assert lines(tmp_path) == []


def test_a_file_of_another_version_is_passed_over(tmp_path):
    write_json(tmp_path / file_name("band"), {"stage": "band"})
    (tmp_path / "screen.json").write_text("{")
    with Progress("reason", 1, tmp_path) as progress:
        progress.start(0, 0)
        assert len(lines(tmp_path)) == 1


def test_descent_is_found_over_generations():
    command = f"{sys.executable} -c 'import os; print(os.getpid(), flush=True); input()'; true"
    with subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as shell:
        pid = int(shell.stdout.readline())
        assert pid != shell.pid
        assert descends(pid, shell.pid)
        assert descends(pid, os.getpid())
        assert not descends(shell.pid, pid)
        shell.communicate("\n")
    assert not descends(pid, os.getpid())


def test_a_silent_process_is_waited_for_a_while_at_a_time():
    script = "print('one', flush=True); input(); print('1%\\r2%\\nend', end='')"
    said = []
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for line in dag._lines(process.stdout, 0.1):
            said.append(line)
            if said.count(None) == 3 and line is None:
                process.stdin.write(b"\n")
                process.stdin.flush()
    assert [line for line in said if line] == ["one", "2%", "end"]
    assert said.count(None) >= 3
