"""dvc.yaml's deps are what each stage is made of, no more and no less."""

from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

from flows.contract import closure, code_deps, stage_module
from flows.dag import upstream

STAGES = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]


@pytest.mark.parametrize("name", STAGES)
def test_deps_equal_the_import_closure(name):
    stage = STAGES[name]
    assert code_deps(stage["deps"]) == closure(stage_module(stage["cmd"])), "run `make deps`"


@pytest.mark.parametrize("name", STAGES)
def test_every_artifact_on_the_command_line_is_a_dep(name):
    """What a stage is told to read is what DVC watches; work folders and the stage's own output are not inputs."""
    stage = STAGES[name]
    words = stage["cmd"].split()
    given = {word for word in words if word.startswith("artifacts/")}
    work = {"artifacts/ledger", "artifacts/checkpoints", "artifacts/sources", f"artifacts/{name}"}
    assert given - work <= set(stage["deps"])


@pytest.mark.parametrize("name", [name for name in STAGES if name != "check"])
def test_a_stage_has_one_name(name):
    """Module, stage and params section are called alike."""
    assert stage_module(STAGES[name]["cmd"]) == f"tasks.{name}"
    assert name in STAGES[name].get("params", []) or name == "check"


def test_everything_comes_after_the_check():
    needs = upstream()
    order = list(TopologicalSorter(needs).static_order())
    assert order[0] == "check"
    assert [name for name in order if not needs[name]] == ["check"]


def test_closure_follows_imports_strings_and_data_files(tmp_path):
    package = tmp_path / "tasks"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").write_text('"""Doc."""\n')
    (package / "lib" / "__init__.py").write_text('"""Doc."""\n')
    (package / "a.py").write_text('import tasks.b\nfrom tasks.lib import c\nWORKER = "tasks.lib.worker"\n')
    (package / "b.py").write_text('import json\nTABLE = "table.json"\n')
    (package / "table.json").write_text("{}")
    (package / "unused.py").write_text("")
    (package / "lib" / "c.py").write_text("")
    (package / "lib" / "worker.py").write_text("")
    assert closure("tasks.a", tmp_path) == {
        "tasks/a.py",
        "tasks/b.py",
        "tasks/table.json",
        "tasks/lib/c.py",
        "tasks/lib/worker.py",
    }
