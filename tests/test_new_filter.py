"""A new filter is a module and its entry in dvc.yaml: in a scratch copy of the project nothing else is edited."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

import tasks
from flows import check, dag
from flows.plan.numbers import read_measured
from tasks.core.files import manifest_path, read_json, write_json
from tasks.core.params import read_tree
from tasks.core.stage import read_manifest
from tasks.lineage import LineageParams
from tasks.lineage import run as lineage
from tasks.records.question import CLEANED
from tasks.reporting.numbers import funnel
from tasks.tracking.store import mlflow_client
from tests.artifacts import write_run, write_store
from tests.builders import make_question
from tests.closure import stage_module, wrong_deps
from tests.command import limo

pytestmark = pytest.mark.slow(minutes=0.5)

MODULE = '''"""Keep only questions whose answer is a short integer.

Reads CLEANED (from `clean`); writes kept.parquet and rejected.parquet (CLEANED) and a manifest.
"""

import polars as pl
from pydantic import PositiveInt

from tasks.core.filter import Filter, Rule, reject
from tasks.core.params import Params
from tasks.records.question import CLEANED


class NumericParams(Params):
    """What a short integer is."""

    most_digits: PositiveInt = 6
    """Digits of the longest answer kept."""


def decide(questions: pl.DataFrame, params: NumericParams) -> pl.DataFrame:
    """Reject what has another answer, with the answer as the evidence."""
    short = pl.col("answer").str.contains(rf"^-?[0-9]{{1,{params.most_digits}}}$")
    return reject(questions, [Rule("not_a_short_integer", ~short, pl.col("answer"))])


REASONS = {"not_a_short_integer": "its answer is no short integer"}
FILTER = Filter(decide, takes=CLEANED, keeps=CLEANED, unit="questions", reasons=REASONS)

if __name__ == "__main__":
    FILTER.main()
'''
REASON = "its answer is no short integer"
CLEAN, NUMERIC = "artifacts/clean/kept.parquet", "artifacts/numeric/kept.parquet"
ENTRY = {
    "desc": "answers that are short integers",
    "cmd": f"python -m tasks.numeric --questions {CLEAN} --out artifacts/numeric",
    "deps": [CLEAN, "tasks/numeric.py", "tasks/core", "tasks/records"],
    "params": ["numeric"],
    "outs": [NUMERIC, "artifacts/numeric/rejected.parquet", "artifacts/manifests/numeric.json"],
}
OTHER = make_question("What is 1 half?", "\\frac{1}{2}", origin="made:99")
"""The one question that the new filter drops."""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with the new filter between `clean` and `decontaminate`; the working directory."""
    root = tmp_path_factory.mktemp("project")
    for name in ("flows", "tasks", "profiles"):
        shutil.copytree(name, root / name, ignore=shutil.ignore_patterns("__pycache__", "shipped"))
    (root / "tasks" / "shipped").symlink_to(Path("tasks/shipped").absolute())
    (root / "tasks" / "numeric.py").write_text(MODULE)
    stages = {}
    for name, entry in dag.stage_entries().items():
        # The filter after it takes what it keeps; nothing else of dvc.yaml changes.
        stages |= {"numeric": ENTRY} if name == "decontaminate" else {}
        stages[name] = json.loads(json.dumps(entry).replace(CLEAN, NUMERIC)) if name == "decontaminate" else entry
    shutil.copy("params.yaml", root)
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setattr(tasks, "__path__", [*tasks.__path__, str(root / "tasks")])
        check.sections.cache_clear()
        python(root, "-m", "dvc", "init", "-q", "--no-scm")
        yield root
        check.sections.cache_clear()
        sys.modules.pop("tasks.numeric", None)


def python(project, *arguments):
    environment = dag.environment() | {"PYTHONPATH": str(project)}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def artifacts(project):
    """A run with the new filter in it, which drops one question of those that `clean` keeps."""
    artifacts = write_run(project / "artifacts")
    for stage in ("pull", "clean"):
        path = artifacts / stage / "kept.parquet"
        kept = pl.read_parquet(path)
        row = pl.DataFrame([OTHER | {"language": "en"}], schema=CLEANED).select(kept.columns)
        kept.vstack(row).write_parquet(path)
        change(artifacts, stage, add=1)
    limo("use", "default")
    python(project, "-m", "tasks.numeric", "--questions", CLEAN, "--out", "artifacts/numeric")
    change(artifacts, "decontaminate", takes="numeric")
    return artifacts


def change(artifacts, stage, *, add=0, takes=None):
    """Count questions of the source `made` that a stage kept beside those in its manifest; set whose rows it takes."""
    path = manifest_path(artifacts, stage)
    manifest = read_json(path)
    manifest["takes"] = takes or manifest["takes"]
    manifest["taken"], manifest["kept"] = manifest["taken"] + add, manifest["kept"] + add
    source = manifest["facts"]["sources"]["made"]
    source |= {name: source[name] + add for name in ("taken", "kept") if name in source}
    write_json(path, manifest)


def test_its_params_are_a_section_that_is_checked(artifacts):
    assert check.sections()["numeric"].__name__ == "NumericParams"
    assert read_tree(Path("params.yaml"))["numeric"] == {}
    assert limo("check").returncode == 0
    tree = read_tree(Path("params.yaml")) | {"numeric": {"most_digits": 0}}
    (error,) = check.tree_errors(tree)
    assert error.startswith("numeric.most_digits: ")


def test_dvc_and_prefect_have_it_in_its_place(project):
    needs = dag.upstream()
    assert needs["numeric"] == {"clean"}
    assert needs["decontaminate"] == {"numeric", "benchmarks"}
    assert needs["lineage"] >= {"numeric"}
    assert "numeric" in python(project, "-m", "dvc", "stage", "list", "--name-only").split()


def test_the_folders_it_lists_are_those_it_imports_from(project):
    assert wrong_deps(ENTRY["deps"], stage_module(ENTRY["cmd"])) == (set(), set())


def test_it_writes_what_it_kept_and_rejected_and_says_why(artifacts):
    manifest = read_manifest(artifacts, "numeric")
    assert (manifest.takes, manifest.taken - manifest.kept) == ("clean", 1)
    assert manifest.rejected == {"not_a_short_integer": 1}
    assert manifest.facts["sources"]["made"]["not_a_short_integer"] == 1
    rejected = pl.read_parquet(artifacts / "numeric" / "rejected.parquet")
    assert rejected.select("question_id", "evidence").row(0) == (OTHER["question_id"], OTHER["answer"])
    assert manifest.kept == read_manifest(artifacts, "decontaminate").taken


def test_status_why_sources_and_funnel_show_it(artifacts):
    (line,) = [line for line in limo("status").stdout.splitlines() if " numeric " in line]
    assert "1 not_a_short_integer" in line
    assert REASON in limo("why", OTHER["question_id"]).stdout
    sources = limo("sources")
    assert sources.returncode == 0, sources.stderr
    assert "Adds up: kept + rejected = taken at 6 filters" in sources.stdout
    assert "-1 not_a_short_integer" in sources.stdout
    row = next(row for row in funnel(artifacts) if row.stage == "numeric")
    assert (row.rejected, row.reasons) == ({"not_a_short_integer": 1}, {"not_a_short_integer": REASON})
    assert [row.stage for row in funnel(artifacts)][:4] == ["pull", "clean", "numeric", "decontaminate"]


def test_a_plan_by_what_was_measured_takes_the_questions_that_screen_got(artifacts):
    numbers = read_measured(artifacts, read_manifest(artifacts, "base").facts.get("parameters", {}), None).numbers
    for stage, before in (("screen", "decontaminate"), ("band", "screen")):
        assert numbers[f"{stage}.questions"].value == read_manifest(artifacts, before).kept
    assert numbers["decontaminate.questions"].value == read_manifest(artifacts, "numeric").kept


def test_mlflow_has_a_run_of_it(artifacts, tmp_path_factory):
    write_store(artifacts, tmp_path_factory)
    lineage(LineageParams(), artifacts=artifacts, params_file=Path("params.yaml"), out=artifacts / "lineage")
    runs = read_json(artifacts / "lineage" / "mlflow.json")["stage_runs"]
    with mlflow_client(artifacts) as client:
        run = client.get_run(runs["numeric"])
    assert run.data.metrics["rejected.not_a_short_integer"] == 1
    assert REASON in run.data.tags["mlflow.note.content"]
