"""Which folder `limo serve` serves."""

import pytest
import yaml

from flows.serve import find_model
from tasks.core.errors import LimoError
from tests.builders import SHIPPED, make_model, write_models


@pytest.fixture
def params(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"base": {"models": {"strong": {"shipped": "strong"}}}}))
    return path


def test_a_model_that_no_stage_has_resolved_yet(params, tmp_path):
    served = find_model("strong", params, artifacts=tmp_path)
    assert (served.name, (served.folder / "config.json").exists()) == ("strong", True)


def test_a_model_as_the_stages_know_it(params, tmp_path):
    write_models(tmp_path / "base/models.json", make_model("strong", tmp_path))
    assert find_model("strong", params, artifacts=tmp_path).folder == tmp_path


def test_any_folder_under_a_name_and_the_trained_model(params, tmp_path):
    assert find_model(str(SHIPPED / "base"), params).name == "base"
    assert find_model(str(SHIPPED / "base"), params, "mine").name == "mine"
    write_models(tmp_path / "train/model.json", make_model("trained", tmp_path))
    assert find_model("trained", params, artifacts=tmp_path).folder == tmp_path


@pytest.mark.parametrize(
    ("model", "said"), [("weak", "no model `weak` under base.models"), ("no/such", "no config.json")]
)
def test_what_is_no_model_is_one_line(params, model, said):
    with pytest.raises(LimoError, match=said):
        find_model(model, params)
