"""Checkpoints that cannot be saved, and starts without one; tests/test_train.py saves and loads real ones."""

import errno
from types import SimpleNamespace

import pytest

from tasks.core.errors import LimoError
from tasks.training.checkpoint import resume, save
from tasks.training.log import Log


@pytest.mark.parametrize(("kept", "said"), [([], ""), ([15, 18], "no checkpoint of step 12 or before is left")])
def test_a_start_from_nothing_is_told_where_later_checkpoints_are(tmp_path, capsys, kept, said):
    for step in kept:
        (tmp_path / f"step-{step:08d}").mkdir()
    assert resume(SimpleNamespace(is_main_process=True), Log(), tmp_path, 12) == 0
    printed = capsys.readouterr().out
    assert said in printed
    assert bool(printed) == bool(said)


@pytest.mark.parametrize(
    ("free", "cause", "told"),
    [
        (10**9, OSError(errno.ENOSPC, "No space left on device"), LimoError),
        (10**3, RuntimeError("unexpected pos 704 vs 598"), LimoError),
        (10**9, RuntimeError("unexpected pos 704 vs 598"), RuntimeError),
    ],
)
def test_a_full_disk_is_one_line_and_the_torn_checkpoint_gone(tmp_path, monkeypatch, free, cause, told):
    from torch.distributed.checkpoint.api import CheckpointException

    def fill(folder):
        (tmp_path / folder / "shard").write_text("half of it")
        raise CheckpointException("written", {0: (cause, [])})

    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    accelerator = SimpleNamespace(is_main_process=True, wait_for_everyone=lambda: None, save_state=fill)
    log = SimpleNamespace(gather=lambda: None, write=lambda folder: None)
    line = "no space left on the device; free some and run again" if told is LimoError else "unexpected pos"
    with pytest.raises(told, match=line):
        save(accelerator, log, tmp_path, 3, keep=1)
    assert list(tmp_path.iterdir()) == []
