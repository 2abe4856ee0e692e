"""A model folder is complete or its missing parts are named; its id is that of the bytes of its files."""

import json
import shutil

import pytest

from tasks.core.errors import LimoError
from tasks.records.model import describe, digest_folder, load_models, require_model
from tests.builders import make_model, write_models


def make_folder(path, *, tied=False, tensors=("model.embed_tokens.weight", "lm_head.weight")):
    path.mkdir()
    config = {"architectures": ["Qwen2ForCausalLM"], "tie_word_embeddings": tied}
    (path / "config.json").write_text(json.dumps(config))
    (path / "tokenizer.json").write_text("{}")
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    write_safetensors(path / "model.safetensors", tensors)
    return path


def write_safetensors(path, names, shape=(3, 4)):
    size = shape[0] * shape[1] * 2
    header = {
        name: {"dtype": "BF16", "shape": shape, "data_offsets": [place * size, (place + 1) * size]}
        for place, name in enumerate(names)
    }
    raw = json.dumps(header).encode()
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(size * len(names)))


def test_describe_reads_architecture_and_size(tmp_path):
    model = describe(make_folder(tmp_path / "m"), "base", "path:m")
    assert (model.architecture, model.parameters, model.name, model.origin) == (
        "Qwen2ForCausalLM",
        24,
        "base",
        "path:m",
    )


def test_a_tied_output_matrix_counts_once(tmp_path):
    assert describe(make_folder(tmp_path / "m", tied=True), "base", "x").parameters == 12


def test_path_is_relative_to_the_project_inside_it(tmp_path, monkeypatch):
    folder = make_folder(tmp_path / "m")
    assert describe(folder, "base", "x").path == str(folder)
    monkeypatch.chdir(tmp_path)
    assert describe(folder, "base", "x").path == "m"


def test_digest_is_of_the_content_not_of_the_place(tmp_path):
    first = make_folder(tmp_path / "a")
    second = tmp_path / "b"
    shutil.copytree(first, second)
    (second / "README.md").write_text("says nothing to the model")
    assert digest_folder(first) == digest_folder(second)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
def test_digest_changes_with_one_byte(tmp_path, name):
    folder = make_folder(tmp_path / "m")
    before = digest_folder(folder)
    raw = bytearray((folder / name).read_bytes())
    raw[-1] ^= 1
    (folder / name).write_bytes(raw)
    assert digest_folder(folder) != before


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("config.json", "config.json"),
        ("tokenizer.json", "a tokenizer"),
        ("tokenizer_config.json", "a chat template"),
        ("model.safetensors", "weights"),
    ],
)
def test_what_is_missing_is_named_with_the_folder(tmp_path, lost, said):
    folder = make_folder(tmp_path / "m")
    (folder / lost).unlink()
    with pytest.raises(LimoError, match=f"{folder}.*`base` lacks .*{said}"):
        describe(folder, "base", "x")


def test_a_truncated_weights_file_is_named(tmp_path):
    folder = make_folder(tmp_path / "m")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-5])
    with pytest.raises(LimoError, match=r"model\.safetensors: not a whole safetensors file"):
        describe(folder, "base", "x")


def test_models_are_read_by_name(tmp_path):
    path = write_models(tmp_path / "models.json", make_model("base"), make_model("teacher"))
    assert sorted(load_models(path)) == ["base", "teacher"]


def test_an_unknown_model_names_the_key_and_what_there_is(tmp_path):
    models = load_models(write_models(tmp_path / "models.json", make_model("base")))
    with pytest.raises(LimoError, match="screen.model: no model `weak` under base.models, which has base"):
        require_model(models, "weak", "screen.model")


def test_a_missing_folder_says_how_to_restore_it(tmp_path):
    models = load_models(write_models(tmp_path / "models.json", make_model("base", path=tmp_path / "gone")))
    with pytest.raises(LimoError, match="dvc repro -f -s base"):
        require_model(models, "base", "screen.model")


def test_a_malformed_file_is_one_line(tmp_path):
    (tmp_path / "models.json").write_text('[{"name": "base"}]')
    with pytest.raises(LimoError, match="rerun `dvc repro base`"):
        load_models(tmp_path / "models.json")
