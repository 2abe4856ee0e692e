"""The whole tree at once: every shipped profile is valid, and every error in one is found."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows import profiles
from flows.check import NeedsParams, missing_needs, sections, tree_errors
from tasks.core.params import read_tree


@pytest.mark.parametrize("name", profiles.names())
def test_every_profile_is_valid(name):
    assert tree_errors(profiles.compose(name)) == []


def test_the_committed_params_are_the_default_profile():
    assert read_tree(Path("params.yaml")) == yaml.safe_load(profiles.render("default"))


def test_the_default_profile_states_every_section():
    assert set(profiles.compose("default")) - {"profile"} == set(sections())


@pytest.mark.slow
def test_three_errors_in_three_sections_are_all_listed(tmp_path):
    tree = yaml.safe_load(profiles.render("default"))
    tree["band"]["samples"] = "many"
    tree["select"]["cuont"] = 800
    tree["train"]["lr"] = -1
    keys = [error.split(":")[0] for error in tree_errors(tree)]
    assert keys == ["band.samples", "select.cuont", "train.lr"]
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(tree))
    paths = ["--params-file", tmp_path / "params.yaml", "--out", tmp_path / "out"]
    done = subprocess.run([sys.executable, "-m", "flows.check", *paths], capture_output=True, text=True)
    assert done.returncode == 2
    assert all(key in done.stderr for key in keys)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_an_unknown_section_and_a_missing_one_are_listed():
    tree = yaml.safe_load(profiles.render("default"))
    tree["selct"] = tree.pop("pull")
    assert [error.split(":")[0] for error in tree_errors(tree)] == ["selct", "pull.sources"]


def test_a_model_that_base_does_not_have_is_named_with_its_key():
    tree = yaml.safe_load(profiles.render("default"))
    tree["screen"]["model"] = "weak"
    assert [error.split(",")[0] for error in tree_errors(tree)] == ["screen.model: no model `weak` under base.models"]


def test_a_judge_that_base_does_not_have_is_named_with_its_key():
    tree = yaml.safe_load(profiles.render("default"))
    tree["grade"] = {"judge": {"model": "jury"}}
    found = [error.split(",")[0] for error in tree_errors(tree)]
    assert found == ["grade.judge.model: no model `jury` under base.models"]


def test_names_that_nothing_has_are_found_before_anything_starts():
    tree = yaml.safe_load(profiles.render("default"))
    tree["answer"]["benchmarks"] = {"AIME42": {"samples": 4, "temperature": 0.6}}
    tree["engine"]["models"] = {"nobody": {"tensor_parallel": 2}, "trained": {}}
    tree["base"]["models"]["trained"] = {"shipped": "base"}
    found = [error.split(":")[0] for error in tree_errors(tree)]
    assert found == ["base.models.trained", "engine.models.nobody", "answer.benchmarks.AIME42"]


def test_an_empty_section_is_an_error_not_a_crash():
    tree = yaml.safe_load(profiles.render("default"))
    tree["base"] = None
    assert tree_errors(tree) == ["base.models: required but missing"]


def test_a_machine_lacks_what_no_machine_has():
    needs = NeedsParams(gpus=10_000, gpu_gib=141, memory_gib=10**6, disk_gib=10**9, packages=("no_such_package",))
    missing = missing_needs(needs)
    assert [line.split(":")[0] for line in missing] == ["gpus", "memory", "disk", "package"]
    assert missing_needs(NeedsParams()) == []
