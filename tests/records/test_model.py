import pytest

from tasks.core.errors import LimoError
from tasks.records.model import load_models, require_model
from tests.builders import make_model, write_models


def test_models_are_read_by_name(tmp_path):
    path = write_models(tmp_path / "models.json", make_model("base"), make_model("teacher"))
    assert sorted(load_models(path)) == ["base", "teacher"]


def test_an_unknown_model_names_the_key_and_what_there_is(tmp_path):
    models = load_models(write_models(tmp_path / "models.json", make_model("base")))
    with pytest.raises(LimoError, match="screen.model: no model `weak` under base.models, which has base"):
        require_model(models, "weak", "screen.model")


def test_a_folder_that_has_gone_says_how_to_bring_it_back(tmp_path):
    models = load_models(write_models(tmp_path / "models.json", make_model("base", path=tmp_path / "gone")))
    with pytest.raises(LimoError, match="dvc repro -f -s base"):
        require_model(models, "base", "screen.model")


def test_a_malformed_file_is_one_line(tmp_path):
    (tmp_path / "models.json").write_text('[{"name": "base"}]')
    with pytest.raises(LimoError, match="rerun `dvc repro base`"):
        load_models(tmp_path / "models.json")
