"""dvc.yaml's deps cover what each stage is made of, and list nothing in vain."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

from flows.dag import upstream
from tests.closure import closure, code_deps, imported, stage_module, wrong_deps

STAGES = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
ABLATION = yaml.safe_load(Path("ablations/dvc.yaml").read_text(encoding="utf-8"))["stages"]
STAGE_MODULES = {name: stage_module(stage["cmd"]) for name, stage in STAGES.items()}
SOURCES = [path for folder in ("flows", "tasks") for path in sorted(Path(folder).rglob("*.py"))]
DATASETS = Path("tasks/provenance/mlflow_run.py")
"""Its table by stage names the data sets that the MLflow run of a stage shows: one that is not in it shows none."""


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_lists_the_folders_it_imports_from(name):
    missing, vain = wrong_deps(STAGES[name]["deps"], STAGE_MODULES[name])
    assert not missing, f"dvc.yaml: {name}: add to deps: {', '.join(sorted(missing))}"
    assert not vain, f"dvc.yaml: {name}: imports nothing of {', '.join(sorted(vain))}; take it out of deps"


def test_what_stages_list_holds_nothing_that_no_stage_imports():
    """Else an edit there reruns stages that it cannot change."""
    entries = [entry.get("do", entry) for entry in (*STAGES.values(), *ABLATION.values())]
    used = {file for entry in entries for file in closure(stage_module(entry["cmd"]))}
    folders = {dep for entry in entries for dep in code_deps(entry["deps"]) if not dep.endswith(".py")} - {"tasks"}
    held = {str(path) for folder in folders for path in Path(folder).rglob("*.py") if path.name != "__init__.py"}
    assert held <= used, f"no stage imports {', '.join(sorted(held - used))}"


@pytest.mark.parametrize("path", [path for path in SOURCES if path.parts[0] == "tasks"], ids=str)
def test_no_stage_is_imported_by_another_or_by_a_library(path):
    ablation = {stage_module(entry.get("do", entry)["cmd"]) for entry in ABLATION.values()}
    others = {*STAGE_MODULES.values(), *ablation} - {".".join(path.with_suffix("").parts)}
    found = others.intersection(imported(path))
    assert not found, f"{path}: imports {', '.join(found)}; what both need belongs into a folder under tasks/"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_nothing_lists_stages_but_dvc_yaml(path):
    """A list of its own would be wrong once there is a stage more. Two stages of a kind are no list."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    literals = [node.elts for node in nodes if isinstance(node, ast.List | ast.Tuple | ast.Set)]
    if path != DATASETS:
        literals += [node.keys for node in nodes if isinstance(node, ast.Dict)]
    named = [{entry.value for entry in listed if isinstance(entry, ast.Constant)} & set(STAGES) for listed in literals]
    assert all(len(names) <= 2 for names in named), f"{path}: lists stages; read dvc.yaml (tasks.core.stage)"


def test_training_reruns_for_no_edit_of_sampling_grading_or_lineage():
    assert not code_deps(STAGES["train"]["deps"]) & {
        f"tasks/{name}" for name in ("engines", "sampling", "ledger", "grading", "provenance", "reporting")
    }


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


def test_closure_follows_imports_and_strings(tmp_path):
    package = tmp_path / "tasks"
    (package / "lib").mkdir(parents=True)
    (package / "__init__.py").write_text('"""Doc."""\n')
    (package / "lib" / "__init__.py").write_text('"""Doc."""\n')
    (package / "a.py").write_text('import tasks.b\nfrom tasks.lib import c\nWORKER = "tasks.lib.worker"\n')
    (package / "b.py").write_text("import json\n")
    (package / "unused.py").write_text("")
    (package / "lib" / "c.py").write_text("")
    (package / "lib" / "worker.py").write_text("")
    assert closure("tasks.a", tmp_path) == {"tasks/a.py", "tasks/b.py", "tasks/lib/c.py", "tasks/lib/worker.py"}
