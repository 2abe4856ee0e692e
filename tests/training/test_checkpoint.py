"""Checkpoints that cannot be saved, and starts without one; tests/test_train.py saves and loads real ones."""

import errno
from types import SimpleNamespace

import pytest

from tasks.core.errors import LimoError
from tasks.training.checkpoint import resume, save
from tasks.training.log import HARDWARE, Hardware, StepLog, StepRow

STEP_1 = StepRow(1, 1, 2.0, 1e-5, 0.5, 60, 40, 30.0, 2.0, 100.0, None)


@pytest.mark.parametrize(("saved", "reported"), [([], ""), ([15, 18], "no checkpoint of step 12 or before is left")])
def test_a_start_from_step_0_is_reported_where_later_checkpoints_are(tmp_path, capsys, saved, reported):
    for step in saved:
        (tmp_path / f"step-{step:08d}").mkdir()
    assert resume(SimpleNamespace(is_main_process=True), StepLog(Hardware("cpu", 1)), tmp_path, 12) == 0
    printed = capsys.readouterr().out
    assert reported in printed
    assert bool(printed) == bool(reported)


@pytest.mark.parametrize(
    ("free", "cause", "raised"),
    [
        (10**9, OSError(errno.ENOSPC, "No space left on device"), LimoError),
        (10**3, RuntimeError("unexpected pos 704 vs 598"), LimoError),
        (10**9, RuntimeError("unexpected pos 704 vs 598"), RuntimeError),
    ],
)
def test_a_full_disk_is_one_line_and_the_partial_checkpoint_removed(tmp_path, monkeypatch, free, cause, raised):
    from torch.distributed.checkpoint.api import CheckpointException

    def fill(folder):
        (tmp_path / folder / "shard").write_text("half of it")
        raise CheckpointException("written", {0: (cause, [])})

    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    accelerator = SimpleNamespace(is_main_process=True, wait_for_everyone=lambda: None, save_state=fill)
    log = SimpleNamespace(gather=lambda: None, save=lambda folder: None)
    line = "no space left on the device; free some and run again" if raised is LimoError else "unexpected pos"
    with pytest.raises(raised, match=line):
        save(accelerator, log, tmp_path, 3, keep=1)
    assert list(tmp_path.iterdir()) == []


def test_a_saved_log_has_what_its_steps_ran_on_whatever_loads_it(tmp_path):
    gpu, cpu = Hardware("NVIDIA H200", 8), Hardware("cpu", 1)
    log = StepLog(gpu)
    log.add(STEP_1, [])
    log.save(tmp_path)
    log = StepLog(cpu)
    log.load(tmp_path)
    assert (log.steps, log.hardware) == ([STEP_1], gpu)
    log.add(STEP_1._replace(step=2), [])
    assert log.hardware == cpu
    (tmp_path / HARDWARE).unlink()
    log = StepLog(cpu)
    log.load(tmp_path)
    assert log.hardware == cpu, "a checkpoint of an earlier version does not say"
