"""Builders of records for tests: state what matters, default the rest."""

import shutil
from pathlib import Path

from tasks.core.files import manifest_path, read_json, write_json
from tasks.records.model import Model
from tasks.records.question import QUESTION, question_id

SHIPPED = Path("tasks/shipped")


def make_question(question="What is 3 + 4?", answer="7", source="made", domain=None, level=None, origin=""):
    """A row of QUESTION."""
    values = (question_id(source, question), source, question, answer, domain, level, origin)
    return dict(zip(QUESTION, values, strict=True))


def make_model(name="base", path="tasks/shipped/base", **fields):
    given = {"model_id": f"m_{name}", "origin": f"shipped:{name}", "architecture": "Qwen2ForCausalLM", "parameters": 1}
    return Model(name=name, path=str(path), **(given | fields))


def write_models(path, *models):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, [model.model_dump() for model in models])
    return path


def manifest_file(out):
    """Where the manifest of the stage that wrote the folder `out` lies."""
    return manifest_path(out.parent, out.name)


def manifest_of(out):
    """The manifest of the stage that wrote the folder `out`."""
    return read_json(manifest_file(out))


def forget(artifacts, stage):
    """As if the stage had not run."""
    shutil.rmtree(artifacts / stage)
    manifest_file(artifacts / stage).unlink(missing_ok=True)
