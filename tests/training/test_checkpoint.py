"""Which checkpoint a run goes on from, where there is none to; tests/test_train.py goes on from real ones."""

from types import SimpleNamespace

import pytest

from tasks.training.checkpoint import resume
from tasks.training.log import Log


@pytest.mark.parametrize(("kept", "said"), [([], ""), ([15, 18], "no checkpoint of step 12 or before is left")])
def test_a_start_from_nothing_is_told_where_later_checkpoints_are(tmp_path, capsys, kept, said):
    for step in kept:
        (tmp_path / f"step-{step:08d}").mkdir()
    assert resume(SimpleNamespace(is_main_process=True), Log(), tmp_path, 12) == 0
    printed = capsys.readouterr().out
    assert said in printed
    assert bool(printed) == bool(said)
