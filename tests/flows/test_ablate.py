"""The ablation's settings: valid as shipped, every mistake found before anything starts; its DVC file in order."""

import copy
from pathlib import Path

import pytest
import yaml

from flows import ablate
from tasks.core.errors import LimoError
from tasks.core.params import read_tree
from tests.closure import stage_module, wrong_deps

STAGES = {
    name: entry.get("do", entry)
    for name, entry in yaml.safe_load((ablate.FOLDER / "dvc.yaml").read_text(encoding="utf-8"))["stages"].items()
}


def broken(*keys, value):
    tree = copy.deepcopy(read_tree(ablate.PARAMS))
    place = tree
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return ablate.tree_errors(tree)


def test_the_shipped_settings_are_valid_and_ask_what_the_paper_asks():
    tree = ablate.require_valid()
    questions = {question["name"]: question for question in tree["ablation"]["questions"]}
    assert {"quality", "difficulty", "knowledge", "size", "samples", "curation", "score"} == set(questions)
    assert len(questions["quality"]["arms"]) == 5
    assert len(questions["difficulty"]["arms"]) == 3
    assert len(questions["size"]["arms"]) >= 3
    assert len(questions["samples"]["arms"]) >= 4
    assert len(tree["ablation"]["seeds"]) >= 3


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("extra",), {}, "extra: unknown section"),
        (
            ("arms", "curated", "base"),
            "huge",
            "arms.curated.base: no model `huge` under base.models, which has base, careful",
        ),
        (
            ("arms", "curated", "questions"),
            "odd",
            "arms.curated.questions: no group `odd`; there are all, band, simple",
        ),
        (("arms", "curated", "count"), -1, "arms.curated.count: Input should be greater than or equal to 0"),
        (
            ("ablation", "accuracy_over"),
            ["sums"],
            "ablation.accuracy_over.0: no benchmark `sums` under benchmarks.suite, which has buttons-hard",
        ),
        (("ablation", "predictors"), ["none"], "ablation.predictors.0: no arm `none` under arms"),
        (
            ("ablation", "questions", 0, "contrasts"),
            [["a", "quality-1"]],
            "ablation.questions.0.contrasts.0.0: no arm `a` under arms",
        ),
        (("band", "model"), "none", "band.model: no model `none`"),
        (("reason", "teachers", 1, "model"), "none", "reason.teachers.1.model: no model `none`"),
        (("train", "steps"), None, "train: steps and batch_tokens go together"),
    ],
)
def test_a_mistake_is_named_by_its_key(keys, value, said):
    (found,) = broken(*keys, value=value)
    assert found.startswith(said)


def test_mistakes_are_reported_at_once(monkeypatch, tmp_path):
    path = tmp_path / "params.yaml"
    tree = read_tree(ablate.PARAMS)
    tree["train"]["lr"] = 0
    tree["odd"] = {}
    path.write_text(yaml.safe_dump(tree))
    monkeypatch.setattr(ablate, "PARAMS", path)
    with pytest.raises(LimoError, match=r"(?s)2 errors.*odd: unknown section.*train.lr"):
        ablate.require_valid()


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_lists_the_folders_it_imports_from(name):
    assert wrong_deps(STAGES[name]["deps"], stage_module(STAGES[name]["cmd"])) == (set(), set())


@pytest.mark.parametrize("name", STAGES)
def test_what_a_stage_reads_is_a_dep_and_its_params_are_watched(name):
    stage = STAGES[name]
    words = stage["cmd"].split()
    given = {str(Path(word).parent) if Path(word).suffix else word for word in words if word.startswith("artifacts/")}
    assert given - {"artifacts/work", *stage["outs"]} <= set(stage["deps"])
    assert "--params" not in words
    assert all(isinstance(key, str) for key in stage["params"])


def test_responses_and_downloads_are_shared_with_the_pipeline():
    """So that none is drawn or fetched twice."""
    shared = {word for stage in STAGES.values() for word in stage["cmd"].split() if word.startswith("../")}
    assert shared == {"../artifacts/ledger", "../artifacts/sources"}
