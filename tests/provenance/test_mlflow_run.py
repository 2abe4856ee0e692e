import shutil

import pytest

from tasks.core.errors import LimoError
from tasks.provenance.mlflow_run import keep
from tests.builders import make_model


def test_a_version_keeps_its_weights_when_the_next_model_takes_their_place(tmp_path):
    folder = tmp_path / "train" / "model"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("first")
    kept = keep(make_model("trained", model_id="m_1", path=folder), tmp_path)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "model.safetensors").write_text("second")
    assert (kept / "model.safetensors").read_text() == "first"
    assert keep(make_model("trained", model_id="m_2", path=folder), tmp_path) != kept
    assert keep(make_model("trained", model_id="m_1", path=folder), tmp_path) == kept
    assert (kept / "model.safetensors").read_text() == "first"


def test_weights_that_have_gone_are_named(tmp_path):
    with pytest.raises(LimoError, match="dvc checkout"):
        keep(make_model("trained", model_id="m_1", path=tmp_path / "gone"), tmp_path)
