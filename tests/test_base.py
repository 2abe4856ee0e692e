"""The stage writes models.json and a manifest, or one line and nothing."""

import pytest

from tasks.base import BaseParams, run
from tasks.core.errors import LimoError
from tasks.core.params import section_errors
from tasks.records.model import load_models
from tests.builders import manifest_of
from tests.records.test_model import make_folder


def test_models_by_name(tmp_path):
    folders = {name: make_folder(tmp_path / name) for name in ("weak", "strong")}
    params = BaseParams(models={name: {"path": str(folder)} for name, folder in folders.items()})
    run(params, out=tmp_path / "out")
    models = load_models(tmp_path / "out" / "models.json")
    assert {name: model.path for name, model in models.items()} == {n: str(f) for n, f in folders.items()}
    assert models["weak"].model_id == models["strong"].model_id
    manifest = manifest_of(tmp_path / "out")
    assert (manifest["taken"], manifest["kept"]) == (2, 2)
    assert manifest["facts"]["parameters"] == {"weak": 24, "strong": 24}


def test_a_bad_model_leaves_nothing(tmp_path):
    folder = make_folder(tmp_path / "m")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(LimoError, match="lacks a tokenizer"):
        run(BaseParams(models={"m": {"path": str(folder)}}), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_mistakes_carry_their_key_paths():
    mistakes = section_errors("base", {"models": {"a": {}, "b": {"hub": {"repo": "x/y"}}}, "model": 1}, BaseParams)
    assert len(mistakes) == 3
    assert any(m.startswith("base.models.a: give exactly one of") for m in mistakes)
    assert "base.models.b.hub.revision: required but missing" in mistakes
    assert "base.model: unknown key" in mistakes
