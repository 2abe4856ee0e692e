import pytest

from flows import profiles
from tasks.errors import LimoError
from tasks.params import read_tree


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(profiles, "FOLDER", tmp_path)
    (tmp_path / "default.yaml").write_text("profile: default\n# the pool\npull:\n  limit: 10\nband:\n  samples: 32\n")
    (tmp_path / "big.yaml").write_text("pull:\n  limit: 1000000\n")
    return tmp_path


def test_a_profile_states_whole_sections_and_takes_the_rest_from_default(folder):
    profiles.use("big", folder / "params.yaml")
    assert read_tree(folder / "params.yaml") == {"profile": "big", "pull": {"limit": 1000000}, "band": {"samples": 32}}


def test_comments_are_kept(folder):
    assert "# the pool" in profiles.render("default")


def test_an_unknown_profile_says_which_there_are(folder):
    with pytest.raises(LimoError, match="there are big, default"):
        profiles.use("bigger", folder / "params.yaml")


def test_edits_in_params_are_not_lost_unasked(folder):
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
