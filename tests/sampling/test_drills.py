"""Failure drills: the real `band` stage with real vLLM is killed, starved and stopped, and must end as if undisturbed.

After each drill the stage is run again: its tables must equal those of an undisturbed run, and no response may have
been generated twice. float32, so that a response does not depend on what else was in its batch.
"""

import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import polars as pl
import psutil
import pytest
import yaml

from tasks.core.files import read_json
from tasks.families import problems
from tasks.records.question import QUESTION
from tests.builders import SHIPPED, make_model, make_question, manifest_of, write_models

pytestmark = pytest.mark.slow(minutes=4)

SAMPLES, QUESTIONS = 8, 26
PATIENCE = 600
"""Seconds to wait for what must happen: the machine may be busy with other tests."""
PARAMS = {
    "engine": {
        "dtype": "float32",
        "max_model_len": 320,
        "max_num_seqs": 8,
        "kv_cache_gib": 0.25,
        "flush_responses": 16,
    },
    "chat": {},
    "band": {
        "model": "strong",
        "samples": SAMPLES,
        "max_solved": 3,
        "sampling": {"temperature": 1.0, "max_tokens": 200, "seed": 7},
    },
}
TABLES = ("attempts", "kept", "rejected")


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """The stage's input: some questions, and one that is longer than the context."""
    folder = tmp_path_factory.mktemp("stage")
    drawn = problems("days", QUESTIONS, 5, [3, 5, 8], "pool")
    questions = [make_question(one.question, one.answer) for one in drawn]
    questions.insert(3, make_question("Add all of these: " + "17 + 4 - 3 + " * 200 + "1.", "7"))
    pl.DataFrame(questions, schema=QUESTION).write_parquet(folder / "questions.parquet")
    write_models(folder / "models.json", make_model("strong", SHIPPED / "strong"))
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    return folder


class Run:
    """The stage in a process of its own, with its ledger and output in `folder`."""

    def __init__(self, stage, folder, log):
        paths = {"questions": stage / "questions.parquet", "models": stage / "models.json"}
        paths |= {"params": stage / "params.yaml", "ledger": folder / "ledger", "out": folder / "out"}
        options = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
        self.folder, self.log = folder, log
        with log.open("ab") as output:
            command = [sys.executable, "-m", "tasks.band", *options]
            self.process = psutil.Popen(command, stdout=output, stderr=output, start_new_session=True)

    def wait(self):
        """Its exit code."""
        return self.process.wait(PATIENCE)

    def progress(self):
        """Responses known in this run, but for the refused prompt's, and how many of them the ledger had."""
        file = self.folder / "progress" / "band.json"
        found = read_json(file) if file.exists() else {}
        mine = found.get("pid") == self.process.pid
        return (found["responses"] - SAMPLES, found["responses_from_ledger"]) if mine else (0, 0)

    def generated(self):
        """Responses generated so far."""
        known, from_ledger = self.progress()
        return known - from_ledger

    def until_generated(self, count):
        end = time.monotonic() + PATIENCE
        while self.generated() < count:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def family(self):
        """The stage's process, and all below it."""
        return [self.process, *self.process.children(recursive=True)]

    def engine(self):
        """The process that holds the model."""
        return max(self.family()[1:], key=lambda process: process.memory_info().rss)


@pytest.fixture
def start(stage, tmp_path):
    runs = []

    def start(folder=tmp_path):
        runs.append(Run(stage, folder, tmp_path / "stage.log"))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            os.killpg(run.process.pid, signal.SIGKILL)


def tables(folder):
    return {name: pl.read_parquet(folder / "out" / f"{name}.parquet") for name in TABLES}


def ledger_ids(folder):
    """The ids of all responses written, each as often as it was generated."""
    segments = list((folder / "ledger").glob("*/*.parquet"))
    return pl.concat([pl.read_parquet(path, columns=["response_id"]) for path in segments])["response_id"]


def last_run(folder):
    """What the last run did."""
    return read_json(folder / "progress/band.json")["run"]


def gone(processes):
    """Whether all these processes end."""
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE)
    return not alive


@pytest.fixture(scope="module")
def undisturbed(stage, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run = Run(stage, folder, folder / "stage.log")
    assert run.wait() == 0, run.log.read_text()
    found = tables(folder)
    assert found["rejected"]["reason"].value_counts().filter(reason="prompt_too_long")["count"].item() == 1
    assert found["kept"].height > 3
    assert manifest_of(folder / "out")["facts"]["too_long"] == SAMPLES
    return found


def assert_as_undisturbed(folder, undisturbed):
    found = tables(folder)
    for name in TABLES:
        assert found[name].equals(undisturbed[name]), name
    assert ledger_ids(folder).is_unique().all()


def test_disk_full_then_kill_9_then_sigterm_then_dead_engines_and_to_the_end(start, undisturbed, tmp_path):
    """Four starts of one stage, of which each resumes where the one before it was."""
    with small_disk(tmp_path / "small", "32m") as (folder, grow):
        run = start(folder)
        family, end = [], time.monotonic() + PATIENCE
        while run.process.poll() is None:
            assert time.monotonic() < end, run.log.read_text()
            family = run.family() if run.process.is_running() else family
            fill(folder, run.generated())
            time.sleep(0.05)
        log = run.log.read_text()
        assert run.wait() == 2, log
        assert log.count("no space left on the device") == 1
        assert "responses are safe in the journal; free some space and run again" in log
        assert "Traceback" not in log
        assert gone(family)
        grow()

        run = start(folder)
        run.until_generated(20)
        family, (known, _) = run.family(), run.progress()
        run.process.kill()
        assert gone(family)

        run = start(folder)
        run.until_generated(20)
        _, had = run.progress()
        assert had >= known
        family = run.family()
        run.process.terminate()
        assert run.wait() == 128 + signal.SIGTERM
        assert gone(family)
        kept = len(ledger_ids(folder))
        assert kept >= had + 20

        run = start(folder)
        lose_two_engines(run)
        assert run.wait() == 0, run.log.read_text()
        log = run.log.read_text()
        assert last_run(folder)["engine"]["restarts"] == 2, log
        assert "was killed by SIGKILL); restarted with up to 4 responses at once" in log
        assert log.count("ran out of memory") == 2
        assert "restarted with up to 2 responses at once" in log
        assert last_run(folder)["responses_generated"] == len(ledger_ids(folder)) - kept
        assert "Traceback" not in log
        assert_as_undisturbed(folder, undisturbed)


def lose_two_engines(run):
    """Kill the engine once it gives responses, and starve the one that comes in its place."""
    run.until_generated(20)
    run.engine().kill()
    before = run.generated()
    run.until_generated(before + 20)
    # No more memory than it has: its next step fails.
    engine = run.engine()
    resource.prlimit(engine.pid, resource.RLIMIT_AS, (engine.memory_info().vms // 2,) * 2)


def fill(folder, generated):
    """Once responses come, take all that is left of the disk."""
    ballast = folder / "ballast"
    if generated < 20 or ballast.exists():
        return
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return


@contextmanager
def small_disk(folder, size):
    """A folder on a disk of its own; `grow()` makes room on it again."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder, (folder / "ballast").unlink
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
