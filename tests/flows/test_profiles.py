import pytest

from flows import profiles
from tasks.core.errors import LimoError
from tasks.core.params import read_tree
from tasks.training.data import EncodedSample, make_schedule
from tasks.training.recipe import Recipe


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "FOLDER", tmp_path)
    (tmp_path / "default.yaml").write_text("profile: default\n# the pool\npull:\n  limit: 10\nband:\n  samples: 32\n")
    (tmp_path / "big.yaml").write_text("pull:\n  limit: 1000000\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_profile_states_whole_sections_and_takes_the_rest_from_default(folder):
    profiles.use("big", folder / "params.yaml")
    assert read_tree(folder / "params.yaml") == {"profile": "big", "pull": {"limit": 1000000}, "band": {"samples": 32}}


def test_a_stage_without_a_section_gets_an_empty_one_since_dvc_wants_it(folder):
    (folder / "dvc.yaml").write_text("stages: {numeric: {cmd: python -m tasks.numeric, params: [numeric, band]}}")
    profiles.use("default", folder / "params.yaml")
    assert read_tree(folder / "params.yaml") == {
        "profile": "default",
        "pull": {"limit": 10},
        "band": {"samples": 32},
        "numeric": {},
    }


def test_params_written_before_there_was_a_stage_more_have_no_edits(folder):
    target = folder / "params.yaml"
    profiles.use("default", target)
    (folder / "dvc.yaml").write_text("stages: {numeric: {cmd: python -m tasks.numeric, params: [numeric]}}")
    profiles.use("default", target)
    assert read_tree(target)["numeric"] == {}


def test_comments_are_kept(folder):
    assert "# the pool" in profiles.render("default")


def test_an_unknown_profile_lists_those_there_are(folder):
    with pytest.raises(LimoError, match="there are big, default"):
        profiles.use("bigger", folder / "params.yaml")


def test_edits_in_params_are_lost_only_by_force(folder):
    target = folder / "params.yaml"
    profiles.use("default", target)
    target.write_text(target.read_text().replace("10", "20"))
    with pytest.raises(LimoError, match="--force"):
        profiles.use("big", target)
    assert read_tree(target)["pull"]["limit"] == 20
    profiles.use("big", target, force=True)
    assert read_tree(target)["profile"] == "big"


def test_switching_between_profiles_needs_no_force(folder):
    target = folder / "params.yaml"
    profiles.use("big", target)
    profiles.use("default", target)
    assert read_tree(target)["profile"] == "default"


@pytest.mark.parametrize(
    ("name", "batch", "weighting", "epoch"), [("limo-v1", 32, "example", 9), ("limo-v2", 64, "token", None)]
)
def test_the_papers_recipe_of_training(tmp_path, name, batch, weighting, epoch):
    profiles.use(name, tmp_path / "params.yaml")
    params = read_tree(tmp_path / "params.yaml")
    recipe = Recipe.model_validate({key: value for key, value in params["train"].items() if key != "base"})
    assert (recipe.global_batch, recipe.weighting, recipe.select_epoch) == (batch, weighting, epoch)
    assert (recipe.lr, recipe.scheduler, recipe.warmup_steps) == (5e-6, "cosine", 0)
    assert (recipe.epochs, recipe.steps, recipe.checkpoint_every) == (15, None, 1)
    assert (recipe.max_length, recipe.precision, recipe.attention) == (16384, "bf16", "flash_attention_2")
    assert params["base"]["models"][params["train"]["base"]]["hub"]["repo"] == "Qwen/Qwen2.5-32B-Instruct"
    assert params["select"]["count"] == {"limo-v1": 817, "limo-v2": 800}[name]


def test_v1_exports_the_step_that_the_paper_released():
    recipe = Recipe(global_batch=32, select_epoch=9)
    assert make_schedule([EncodedSample("c", [1, 2], 1)] * 817, recipe)[:3] == (26, 390, 234)
