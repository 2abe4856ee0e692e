import shutil

import pytest

from tasks.core.errors import LimoError
from tasks.provenance.mlflow_run import link_weights
from tests.builders import make_model


def test_a_version_keeps_its_weights_when_the_next_model_takes_their_place(tmp_path):
    folder = tmp_path / "train" / "model"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text("first")
    links = link_weights(make_model("trained", model_id="m_1", path=folder), tmp_path)
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "model.safetensors").write_text("second")
    assert (links / "model.safetensors").read_text() == "first"
    assert link_weights(make_model("trained", model_id="m_2", path=folder), tmp_path) != links
    assert link_weights(make_model("trained", model_id="m_1", path=folder), tmp_path) == links
    assert (links / "model.safetensors").read_text() == "first"


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(LimoError, match="dvc checkout"):
        link_weights(make_model("trained", model_id="m_1", path=tmp_path / "gone"), tmp_path)
